/** What the views ask for, kept and shared between them. */

import { QueryClient, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import * as api from "./client";
import { ApiError } from "./client";
import type { Transcript } from "./shapes";

const SUMMARY_SECONDS = 120;
/** Below this many messages no summary is made. */
const SUMMARY_MESSAGES = 5;
const LOOK_MS = 1500;
const ROOM_LOOKS = 20;
const RUNNING_MS = 4000;

export function makeQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // what the API refused it refuses again
        retry: (count, error) => !(error instanceof ApiError && error.status >= 400) && count < 2,
        staleTime: 5_000,
      },
    },
  });
}

export function useSessions(query: string) {
  return useInfiniteQuery({
    queryKey: ["sessions", query],
    queryFn: ({ pageParam, signal }) => api.sessions(pageParam, signal),
    initialPageParam: query,
    getNextPageParam: (page) => page.next,
  });
}

/** The sessions that go on now, looked at again and again. */
export function useRunning(wanted = true) {
  return useQuery({
    queryKey: ["running"],
    queryFn: ({ signal }) => api.sessions("?status=active&limit=100", signal),
    select: ({ sessions }) => sessions,
    enabled: wanted,
    refetchInterval: RUNNING_MS,
  });
}

export const transcriptKey = (id: string) => ["transcript", id];

/** A session with what was said; asked for again while its summary is on its way. */
export function useTranscript(id: string) {
  return useQuery({
    queryKey: transcriptKey(id),
    queryFn: ({ signal }) => api.transcript(id, signal),
    refetchInterval: ({ state }) =>
      awaitsSummary(state.data, state.dataUpdatedAt) ? LOOK_MS : false,
  });
}

/** Whether a summary may still come, by what was known at `now`. */
export function awaitsSummary(session: Transcript | undefined, now: number): boolean {
  if (!session?.endTime || session.summary || session.status !== "completed") return false;
  const since = now - Date.parse(session.endTime);
  return session.messageCount >= SUMMARY_MESSAGES && since < SUMMARY_SECONDS * 1000;
}

/** The newest session of a room; an error if none appears soon. */
export function useSessionOf(room: string) {
  return useQuery({
    queryKey: ["session of", room],
    queryFn: async ({ signal }) => {
      const { sessions } = await api.sessions("?limit=100", signal);
      const found = sessions.find((session) => session.roomName === room);
      if (!found) throw new NotThereYetError("This conversation left no transcript.");
      return found;
    },
    retry: (count, error) => error instanceof NotThereYetError && count < ROOM_LOOKS,
    retryDelay: LOOK_MS,
  });
}

class NotThereYetError extends Error {}
