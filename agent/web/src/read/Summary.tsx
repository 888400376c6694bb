import { awaitsSummary } from "../api/queries";
import type { Transcript } from "../api/shapes";
import { Waiting } from "../parts/notices";
import { summaryPieces } from "./citations";

/** What the session came to, once that is written; `asOf` is when this was last heard of it. */
export function Summary({ session, asOf }: { session: Transcript; asOf: number }) {
  if (session.summary) {
    return (
      <section className="summary" aria-labelledby="summary">
        <h2 id="summary">Summary</h2>
        {session.summary.split(/\n+/).map((paragraph, index) => (
          <p key={index}>
            <Cited text={paragraph} session={session} />
          </p>
        ))}
      </section>
    );
  }
  return awaitsSummary(session, asOf) ? (
    <section className="summary" aria-label="Summary">
      <Waiting what="The summary is being written" />
    </section>
  ) : null;
}

/** Words of the summary, with a link to each turn that they cite. */
function Cited({ text, session }: { text: string; session: Transcript }) {
  return summaryPieces(text, session.messages).map((piece, index) =>
    "messageId" in piece ? (
      <a key={index} className="cited" href={`#${piece.messageId}`}>
        <span className="sr-only">turn </span>
        {piece.text}
      </a>
    ) : (
      piece.text
    ),
  );
}
