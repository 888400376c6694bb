import { useEffect, useRef } from "react";
import type { Hit, Message, Places, Transcript } from "../api/shapes";
import { Marked } from "./Marked";
import { unheard } from "./marks";
import { offsetOf } from "./times";
import { speakerOf } from "./words";

const UNSURE = 0.75;

interface TurnsProps {
  session: Transcript;
  hits?: Hit[];
  /** The message to go to. */
  sought?: string | undefined;
}

/** What was said, in order, by speaker. */
export function Turns({ session, hits = [], sought }: TurnsProps) {
  const places = new Map(hits.map((hit) => [hit.messageId, hit.places]));
  return (
    <ol className="turns" aria-label="What was said">
      {session.messages.map((message, index) => (
        <Turn
          key={message.id}
          message={message}
          start={session.startTime}
          continues={speakerOf(message) === speakerBefore(session.messages, index)}
          places={places.get(message.id) ?? []}
          sought={message.id === sought}
        />
      ))}
    </ol>
  );
}

function speakerBefore(messages: Message[], index: number): string | null {
  const before = messages[index - 1];
  return before ? speakerOf(before) : null;
}

interface TurnProps {
  message: Message;
  start: string;
  /** Whether the same speaker goes on. */
  continues: boolean;
  places: Places;
  /** Whether this is the one that was asked for. */
  sought: boolean;
}

function Turn({ message, start, continues, places, sought }: TurnProps) {
  const place = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (!sought) return;
    place.current?.scrollIntoView({ block: "center" });
    place.current?.focus({ preventScroll: true });
  }, [sought]);
  return (
    <li
      ref={place}
      id={message.id}
      tabIndex={sought ? -1 : undefined}
      className={["turn", message.speakerRole, continues && "continues", sought && "sought"]
        .filter(Boolean)
        .join(" ")}
      data-role={message.speakerRole}
    >
      <div className="turn-head">
        <span className={continues ? "speaker sr-only" : "speaker"}>{speakerOf(message)}</span>
        {message.seq !== undefined && (
          <time dateTime={message.timestamp}>{offsetOf(message.timestamp, start)}</time>
        )}
        {message.source === "text" && <span className="tag">typed</span>}
        <Confidence of={message} />
      </div>
      <div>
        <p className="said">
          <Marked text={message.content} places={places} />
          <Meant message={message} />
        </p>
        <Cut message={message} />
      </div>
    </li>
  );
}

/** How sure the recogniser was; in words where it was not. */
function Confidence({ of: { confidence, source } }: { of: Message }) {
  if (confidence === undefined || source !== "voice") return null;
  const percent = Math.round(confidence * 100);
  const unsure = confidence < UNSURE;
  return (
    <span className={unsure ? "confidence unsure" : "confidence"}>
      {unsure && "unsure, "}
      {percent} %<span className="sr-only"> confidence</span>
    </span>
  );
}

/** The rest of an answer that was cut off: meant, and not heard. */
function Meant({ message }: { message: Message }) {
  const { generatedContent: meant, content } = message;
  const rest = meant === undefined ? null : unheard(content, meant);
  if (!rest?.trim()) return null;
  return (
    <del>
      <span className="sr-only"> Not heard: </span>
      {rest}
    </del>
  );
}

function Cut({ message }: { message: Message }) {
  const { generatedContent: meant, content, interrupted } = message;
  const otherwise = meant !== undefined && unheard(content, meant) === null;
  if (!interrupted && !otherwise) return null;
  return (
    <p className="cut">
      {interrupted && <span className="tag">interrupted</span>}
      {otherwise && <>Meant: {meant}</>}
    </p>
  );
}
