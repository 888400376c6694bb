/** A summary's text in pieces: its words, and the turns that they rest on, as in "[2, 5]". */

import type { Message } from "../api/shapes";

export type SummaryPiece = { text: string } | { text: string; messageId: string };

const CITED = /(\[\d+(?:, ?\d+)*\])/;
const NUMBER = /(\d+)/;

/** Cut `text` where it cites messages by their order of recording; unknown ones stay words. */
export function summaryPieces(text: string, messages: Message[]): SummaryPiece[] {
  const bySeq = new Map(messages.map(({ seq, id }) => [String(seq), id]));
  return text.split(CITED).flatMap((part, index) => {
    const parts = index % 2 ? part.split(NUMBER) : [part];
    return parts.filter(Boolean).map((piece) => {
      const messageId = index % 2 ? bySeq.get(piece) : undefined;
      return messageId === undefined ? { text: piece } : { text: piece, messageId };
    });
  });
}
