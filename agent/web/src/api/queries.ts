/** What the views ask for, kept and shared between them. */

import { QueryClient, queryOptions, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import * as api from "./client";
import { ApiError } from "./client";
import type { Me, Transcript } from "./shapes";

const SUMMARY_SECONDS = 120;
/** Below this many messages no summary is made. */
const SUMMARY_MESSAGES = 5;
const LOOK_MS = 1500;
const LOOKS = 20;
const LATE_LOOK_MS = 15_000;
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

export function useSessions(query: string, me: Me) {
  return useInfiniteQuery({
    queryKey: ["sessions", query],
    queryFn: ({ pageParam, signal }) => api.sessions(pageParam, me, signal),
    initialPageParam: query,
    getNextPageParam: (page) => page.next,
  });
}

/** The sessions that go on now, looked at again and again. */
export function useRunning(me: Me, wanted = true) {
  return useQuery({
    queryKey: ["running"],
    queryFn: ({ signal }) => api.sessions("?status=active&limit=100", me, signal),
    select: ({ sessions }) => sessions,
    enabled: wanted,
    refetchInterval: RUNNING_MS,
  });
}

export const transcriptKey = (id: string) => ["transcript", id];

/** A session with what was said; asked for again while its summary is on its way. */
export function useTranscript(id: string, me: Me) {
  return useQuery({
    queryKey: transcriptKey(id),
    queryFn: ({ signal }) => api.transcript(id, me, signal),
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

/** The session of the room with LiveKit's id `sid`; null until there is one. It may come late,
 * after a crash; an earlier one of the same name is another's. */
export function sessionOf(sid: string, me: Me) {
  return queryOptions({
    queryKey: ["session of", sid],
    queryFn: async ({ signal }) => {
      const { sessions } = await api.sessions("?limit=100", me, signal);
      return sessions.find((session) => session.roomSid === sid) ?? null;
    },
    enabled: sid !== "",
    gcTime: 0, // a room may have another session later
    refetchInterval: ({ state: { data, dataUpdateCount } }) =>
      !data && (dataUpdateCount < LOOKS ? LOOK_MS : LATE_LOOK_MS),
  });
}
