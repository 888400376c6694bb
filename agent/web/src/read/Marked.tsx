import type { Places } from "../api/shapes";
import { pieces } from "./marks";

/** Text with what was searched for marked in it; the text itself is never markup. */
export function Marked({ text, places }: { text: string; places: Places }) {
  return pieces(text, places).map((piece, index) =>
    piece.marked ? <mark key={index}>{piece.text}</mark> : piece.text,
  );
}
