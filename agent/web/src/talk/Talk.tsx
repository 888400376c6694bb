import type { DisconnectReason, Room } from "livekit-client";
import { useCallback, useState } from "react";
import { newRoom } from "../address";
import type { Me } from "../api/shapes";
import { After } from "./After";
import { Call } from "./Call";
import { Lobby } from "./Lobby";

type Phase =
  | { at: "lobby"; room: string | null }
  | { at: "call"; room: Room }
  | { at: "after"; room: string; reason: DisconnectReason | undefined };

/** A conversation from its beginning to what remains of it. */
export function Talk({ me }: { me: Me }) {
  const [phase, setPhase] = useState<Phase>(() => ({ at: "lobby", room: firstRoom(me) }));
  const ended = useCallback(
    (room: string, reason: DisconnectReason | undefined) => setPhase({ at: "after", room, reason }),
    [],
  );
  switch (phase.at) {
    case "lobby":
      return (
        <Lobby me={me} room={phase.room} onJoined={(room) => setPhase({ at: "call", room })} />
      );
    case "call":
      return <Call room={phase.room} onEnded={ended} />;
    case "after":
      return (
        <After
          me={me}
          room={phase.room}
          reason={phase.reason}
          onAgain={() => setPhase({ at: "lobby", room: nextRoom(me, phase.room) })}
        />
      );
  }
}

/** The room that the address names, else the only one that the key has, else a new one. */
function firstRoom(me: Me): string | null {
  return new URLSearchParams(location.search).get("room") ?? nextRoom(me, me.rooms?.[0] ?? null);
}

/** Another room for who may have any; the same one for who has but that. */
function nextRoom(me: Me, last: string | null): string | null {
  return me.rooms === null && me.scopes.includes("client") ? newRoom() : last;
}
