/** A running session as it goes on: turns as they land, by server-sent events. */

import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { eventsOf } from "./client";
import { transcriptKey } from "./queries";
import type { Message, Transcript } from "./shapes";

/** Keeps a session's transcript up to date while `running`. */
export function useFollow(id: string, running: boolean): void {
  const queries = useQueryClient();
  useEffect(() => {
    if (!running) return;
    const source = new EventSource(eventsOf(id));
    source.addEventListener("turn", (event: MessageEvent<string>) => {
      const message = JSON.parse(event.data) as Message;
      queries.setQueryData<Transcript>(
        transcriptKey(id),
        (known) => known && withMessage(known, message),
      );
    });
    source.addEventListener("end", () => {
      source.close();
      void queries.invalidateQueries({ queryKey: transcriptKey(id) });
    });
    source.addEventListener("error", () => {
      // a break is mended by the browser; a refusal is not, and asking again says what it is
      if (source.readyState === EventSource.CLOSED) {
        void queries.invalidateQueries({ queryKey: transcriptKey(id) });
      }
    });
    return () => source.close();
  }, [id, running, queries]);
}

/** The transcript with `message` in its place: read by time, then by order of recording. */
export function withMessage(transcript: Transcript, message: Message): Transcript {
  const others = transcript.messages.filter((known) => known.id !== message.id);
  const messages = [...others, message].sort(
    (a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp) || (a.seq ?? 0) - (b.seq ?? 0),
  );
  return { ...transcript, messages, messageCount: messages.length };
}
