import { useQuery } from "@tanstack/react-query";
import { DisconnectReason, type Room } from "livekit-client";
import { Link } from "wouter";
import { useFollow } from "../api/follow";
import { sessionOf, useTranscript } from "../api/queries";
import type { Me } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { messageOf, Problem, Waiting } from "../parts/notices";
import { RatingPart } from "../read/RatingPart";
import { Summary } from "../read/Summary";
import { counted, lengthOf } from "../read/times";
import { Turns } from "../read/Turns";
import { useJoin } from "./joining";
import { useLate } from "./useLate";
import { useMicrophone } from "./useMicrophone";

interface AfterProps {
  me: Me;
  room: string;
  /** LiveKit's id of the room; empty if it ended before that was known. */
  sid: string;
  reason: DisconnectReason | undefined;
  /** Whether nobody meant it to end. */
  lost: boolean;
  onJoined: (room: Room) => void;
  onAgain: () => void;
}

const LOOKING = "Looking for the transcript";

/** What remains of a conversation: its transcript, its summary, and how it was. */
export function After({ me, room, sid, reason, lost, onJoined, onAgain }: AfterProps) {
  const found = useQuery(sessionOf(sid, me));
  const late = useLate(!found.data);
  return (
    <div className="after">
      <Heading title={lost ? "Connection lost" : "After the conversation"}>
        {farewell(reason)}
      </Heading>
      {lost && <Rejoin me={me} room={room} onJoined={onJoined} />}
      {found.data ? (
        <Kept key={found.data.id} id={found.data.id} me={me} lost={lost} />
      ) : found.error ? (
        <Problem onAgain={() => void found.refetch()}>{messageOf(found.error)}</Problem>
      ) : sid === "" ? (
        <p className="lead">What was said is among your sessions, as soon as it is kept.</p>
      ) : (
        <Waiting what={late ? "There is no transcript yet. Still looking" : LOOKING} />
      )}
      <div className="after-ways">
        {!lost && (
          <button type="button" onClick={onAgain}>
            Talk again
          </button>
        )}
        {found.data && <Link href={`/sessions/${found.data.id}`}>Open the full record</Link>}
      </div>
    </div>
  );
}

/** The way back into a conversation from which the network has torn one. */
function Rejoin({ me, room, onJoined }: Pick<AfterProps, "me" | "room" | "onJoined">) {
  const microphone = useMicrophone();
  const joining = useJoin(me, microphone, onJoined);
  return (
    <section className="rejoin" aria-label="Join again">
      <p className="lead">
        It could not be found again. What was said is kept, and your coach waits a little while for
        you.
      </p>
      {joining.error && <Problem>{messageOf(joining.error)}</Problem>}
      <button
        type="button"
        className="primary large"
        disabled={joining.isPending}
        onClick={() => joining.mutate(room)}
      >
        {joining.isPending ? "Joining…" : "Join again"}
      </button>
    </section>
  );
}

function Kept({ id, me, lost }: { id: string; me: Me; lost: boolean }) {
  const found = useTranscript(id, me);
  const goesOn = found.data?.status === "active";
  useFollow(id, goesOn);
  // who has left waits for the end, a moment: then all of it is there at once, and nothing moves
  const late = useLate(goesOn && !lost);
  if (found.error && !found.data) return <Problem>{messageOf(found.error)}</Problem>;
  if (!found.data || (goesOn && !lost && !late)) return <Waiting what="Opening the transcript" />;
  const session = found.data;
  return (
    <>
      <p className="lead">
        {lengthOf(session.durationMinutes)}, {counted(session.messages.length, "message")}.{" "}
        {session.receipt?.kept && "Every word of it is kept."}
      </p>
      <RatingPart session={session} me={me} />
      <Summary session={session} asOf={found.dataUpdatedAt} />
      <section aria-labelledby="said">
        <h2 id="said">What was said</h2>
        <Turns session={session} />
      </section>
    </>
  );
}

function farewell(reason: DisconnectReason | undefined): string {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return "Thank you for talking.";
    case DisconnectReason.DUPLICATE_IDENTITY:
      return "You joined from another place.";
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
    case DisconnectReason.PARTICIPANT_REMOVED:
      return "The conversation was ended.";
    default:
      return "The connection was lost.";
  }
}
