/** Which room a person talks in. */

import { newRoom } from "../address";
import type { Me } from "../api/shapes";

/** The room that the address names, if the key opens it; else the key's first, else a new one. */
export function firstRoom(me: Me, named: string | null): string | null {
  if (named !== null && (me.rooms === null || me.rooms.includes(named))) return named;
  return nextRoom(me, me.rooms?.[0] ?? null);
}

/** Another room for who may have any; the same one for who has but that. */
export function nextRoom(me: Me, last: string | null): string | null {
  if (me.rooms !== null) return last;
  return me.scopes.includes("coach") ? null : newRoom();
}
