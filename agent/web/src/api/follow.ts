/** A running session as it goes on: turns as they land, by server-sent events. */

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { ApiError, eventsOf } from "./client";
import { transcriptKey } from "./queries";
import type { Message, Transcript } from "./shapes";

const AGAIN_MS = 2_000;
const AGAIN_AT_MOST_MS = 60_000;

/** Keeps a session's transcript up to date while `running`. */
export function useFollow(id: string, running: boolean): void {
  const queries = useQueryClient();
  useEffect(() => (running ? follow(id, queries) : undefined), [id, running, queries]);
}

/** Put the turns of a session into its transcript as they land; gives what ends this. */
export function follow(id: string, queries: QueryClient): () => void {
  const queryKey = transcriptKey(id);
  let refusals = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let source = listen();

  function listen(): EventSource {
    const opened = new EventSource(eventsOf(id));
    opened.addEventListener("open", () => (refusals = 0));
    opened.addEventListener("turn", (event: MessageEvent<string>) => {
      const message = JSON.parse(event.data) as Message;
      // what is on its way was asked for before this turn, and would take its place
      void queries.cancelQueries({ queryKey });
      queries.setQueryData<Transcript>(queryKey, (known) => known && withMessage(known, message));
    });
    opened.addEventListener("end", () => {
      opened.close();
      void queries.invalidateQueries({ queryKey });
    });
    opened.addEventListener("error", () => {
      // a break is mended by the browser, a refusal is not
      if (opened.readyState === EventSource.CLOSED) listenAgain();
    });
    return opened;
  }

  function listenAgain(): void {
    void queries.invalidateQueries({ queryKey }); // it may have ended, or say why it is refused
    const wait = Math.min(AGAIN_MS * 2 ** refusals, AGAIN_AT_MOST_MS);
    refusals += 1;
    timer = setTimeout(() => {
      if (!isGone(queries.getQueryState(queryKey)?.error)) source = listen();
    }, wait);
  }

  return () => {
    clearTimeout(timer);
    source.close();
  };
}

/** Whether a transcript is not there any more, or not for this reader. */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && [401, 403, 404].includes(error.status);
}

/** The transcript with `message` in its place: read by time, then by order of recording. */
export function withMessage(transcript: Transcript, message: Message): Transcript {
  const others = transcript.messages.filter((known) => known.id !== message.id);
  const messages = [...others, message].sort(
    (a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp) || (a.seq ?? 0) - (b.seq ?? 0),
  );
  return { ...transcript, messages, messageCount: messages.length };
}
