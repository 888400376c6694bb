import { Link } from "wouter";
import { useHistoryState } from "wouter/use-browser-location";
import { ApiError } from "../api/client";
import { useFollow } from "../api/follow";
import { useTranscript } from "../api/queries";
import type { Me, Transcript } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { messageOf, Notice, Problem, Waiting } from "../parts/notices";
import { Badges } from "./Badges";
import { Exports, Facts } from "./Facts";
import { asAddress } from "./filters";
import { LatencyPlot } from "./LatencyPlot";
import { RatingPart } from "./RatingPart";
import type { CameFrom } from "./Row";
import { Summary } from "./Summary";
import { counted, dayOf, lengthOf, timeOf } from "./times";
import { Turns } from "./Turns";
import { clientOf, seesOthers } from "./words";

export function SessionPage({ id, me }: { id: string; me: Me }) {
  const found = useTranscript(id, me);
  const from = useHistoryState<CameFrom | null>();
  useFollow(id, found.data?.status === "active");
  if (found.isPending) return <Waiting what="Opening" />;
  if (!found.data) return <Missing error={found.error} onAgain={() => void found.refetch()} />;
  const session = found.data;
  const hits = from?.hits ?? [];
  const sought = location.hash.slice(1) || hits[0]?.messageId;
  return (
    <article className="session">
      <Head session={session} me={me} search={from?.search ?? ""} />
      <div className="session-columns">
        <div className="session-main">
          <Summary session={session} asOf={found.dataUpdatedAt} />
          <section aria-label="Transcript">
            <Turns session={session} hits={hits} sought={sought} />
            {session.status === "active" && <Going />}
            {session.messages.length === 0 && session.status !== "active" && (
              <p className="nothing">Nothing was said.</p>
            )}
          </section>
        </div>
        <aside aria-label="About this session">
          <RatingPart session={session} me={me} />
          <LatencyPlot messages={session.messages} />
          <Facts session={session} />
          <Exports id={session.id} />
        </aside>
      </div>
    </article>
  );
}

function Head({ session, me, search }: { session: Transcript; me: Me; search: string }) {
  const start = new Date(session.startTime);
  const day = dayOf(start, new Date());
  return (
    <header className="session-head">
      <Link href={`/sessions${search}`} className="back">
        {search ? "Search results" : "All sessions"}
      </Link>
      <Heading title={`Session of ${clientOf(session)}`}>{clientOf(session)}</Heading>
      <p className="session-facts">
        <time dateTime={session.startTime}>
          {day}, {timeOf(start)}
        </time>
        <span>{lengthOf(session.durationMinutes)}</span>
        <span>{counted(session.messages.length, "message")}</span>
        {session.coachName && <span>with {session.coachName}</span>}
        <Badges session={session} />
        {session.clientId && seesOthers(me) && (
          <Link href={`/sessions${asAddress({ client: session.clientId })}`}>
            All their sessions
          </Link>
        )}
      </p>
    </header>
  );
}

function Going() {
  return (
    <p className="going" role="status">
      <span className="pulse" aria-hidden="true" /> Going on now. What is said appears here.
    </p>
  );
}

function Missing({ error, onAgain }: { error: Error | null; onAgain: () => void }) {
  if (error instanceof ApiError && [400, 404].includes(error.status)) {
    return (
      <Notice title="There is no such session">
        It may have been removed, or it is not yours to read.{" "}
        <Link href="/sessions">All sessions</Link>
      </Notice>
    );
  }
  return (
    <>
      <Heading>This session cannot be shown</Heading>
      <Problem onAgain={onAgain}>{messageOf(error)}</Problem>
    </>
  );
}
