/** Text in pieces: what was searched for, and what of an answer was not heard. */

import type { Places } from "../api/shapes";

export interface Piece {
  text: string;
  marked: boolean;
}

/** Cut `text` at `places` (start and end in UTF-16 code units); what does not fit is left out. */
export function pieces(text: string, places: Places): Piece[] {
  const made: Piece[] = [];
  let at = 0;
  for (const [start, end] of [...places].sort((a, b) => a[0] - b[0])) {
    if (start < at || end <= start || end > text.length) continue;
    if (start > at) made.push({ text: text.slice(at, start), marked: false });
    made.push({ text: text.slice(start, end), marked: true });
    at = end;
  }
  if (at < text.length) made.push({ text: text.slice(at), marked: false });
  return made;
}

/** What of an answer was meant and not heard; null if it does not begin with what was heard. */
export function unheard(heard: string, meant: string): string | null {
  const said = [heard.trim(), heard.replace(/[\s.…]+$/u, "")].find((text) =>
    meant.startsWith(text),
  );
  return said === undefined ? null : meant.slice(said.length);
}
