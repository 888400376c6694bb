/** What the page's address says: the key in its fragment, the room to join in its query. */

/** The key of a sign-in link, and the fragment without it; a fragment never leaves the browser. */
export function keyIn(fragment: string): { key: string | null; rest: string } {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const key = parts.get("key");
  parts.delete("key");
  const rest = parts.toString();
  return { key, rest: rest && `#${rest}` };
}

/** Take the key out of the address, and out of the browser's history with it. */
export function takeKey(): string | null {
  const { key, rest } = keyIn(location.hash);
  if (key !== null) history.replaceState(null, "", location.pathname + location.search + rest);
  return key;
}

/** The room that the address names, null for none. */
export function roomInAddress(): string | null {
  return new URLSearchParams(location.search).get("room");
}

/** A room's name that nobody else has. */
export function newRoom(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  return `coaching-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
