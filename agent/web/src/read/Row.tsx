import { Link } from "wouter";
import type { Hit, Session } from "../api/shapes";
import { Badges } from "./Badges";
import { Marked } from "./Marked";
import { counted, lengthOf, timeOf } from "./times";
import { clientOf, ROLE } from "./words";

/** The API names no more messages of a session than these. */
const MOST_HITS = 20;

/** What a session's page is told by the list that led to it. */
export interface CameFrom {
  hits?: Hit[] | undefined;
  /** The list's filters, as they stand in its address. */
  search: string;
}

/** One session of the list, with what was said where the searched words are. */
export function Row({ session, search }: { session: Session; search: string }) {
  const start = new Date(session.startTime);
  const { hits = [] } = session;
  const state: CameFrom = { hits: session.hits, search };
  const many = hits.length >= MOST_HITS ? `${MOST_HITS} matches or more` : null;
  return (
    <li>
      <Link href={`/sessions/${session.id}`} state={state} className="row">
        <time dateTime={session.startTime}>{timeOf(start)}</time>
        <span className="row-name">{clientOf(session)}</span>
        <span className="row-facts">
          <span>
            {lengthOf(session.durationMinutes)}, {counted(session.messageCount, "message")}
            {session.coachName && ` · with ${session.coachName}`}
          </span>
          {hits.length > 0 && (
            <span className="badge">{many ?? counted(hits.length, "match", "matches")}</span>
          )}
          <Badges session={session} />
        </span>
      </Link>
      <Excerpts id={session.id} hits={hits} state={state} />
    </li>
  );
}

function Excerpts({ id, hits, state }: { id: string; hits: Hit[]; state: CameFrom }) {
  const shown = hits.filter((hit) => hit.excerpt);
  if (shown.length === 0) return null;
  return (
    <ul className="excerpts">
      {shown.map(({ messageId, speakerRole, excerpt }) => (
        <li key={messageId}>
          <Link href={`/sessions/${id}#${messageId}`} state={state} className="excerpt">
            <span className={`speaker ${speakerRole}`}>{ROLE[speakerRole]}</span>{" "}
            {excerpt && <Marked {...excerpt} />}
          </Link>
        </li>
      ))}
    </ul>
  );
}
