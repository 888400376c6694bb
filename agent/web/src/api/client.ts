/** Calls to the API. Who calls is in a cookie that no script sees; beside it goes the token that
 * this page was told. It keeps other sites from changing anything, and this page from taking what
 * is another person's who signed in meanwhile, in another window. */

import type { Me, Rating, Session, Ticket, Transcript } from "./shapes";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export interface Page {
  sessions: Session[];
  /** The query of the next page, null on the last one. */
  next: string | null;
}

const CSRF_HEADER = "X-CSRF-Token";
const KEY_HEADER = "X-API-Key";

export function signIn(key: string): Promise<Me> {
  return post("/api/sign-in", { key }).then(json<Me>);
}

/** Sign this browser out; a key that holds no longer has nothing to sign out of. */
export async function signOut(): Promise<void> {
  const me = await whoAmI();
  if (me) await post("/api/sign-out", undefined, me);
}

/** Who is signed in, or whose `key` this is; null if nobody is, or nobody's. */
export async function whoAmI(key?: string): Promise<Me | null> {
  const headers = key === undefined ? undefined : { [KEY_HEADER]: key };
  try {
    return await call("/api/me", { headers }).then(json<Me>);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}

export function ticketFor(room: string, me: Me): Promise<Ticket> {
  return post("/api/livekit/token", { room_name: room }, me).then(json<Ticket>);
}

export function rate(sessionId: string, rating: Rating, me: Me): Promise<Rating> {
  return post(`/api/sessions/${sessionId}/rating`, rating, me).then(json<Rating>);
}

/** One page of the sessions; `query` begins with a question mark, or is empty. */
export async function sessions(query: string, me: Me, signal?: AbortSignal): Promise<Page> {
  const answer = await get(`/api/admin/transcripts${query}`, me, signal);
  return { sessions: await json<Session[]>(answer), next: nextQuery(answer.headers.get("Link")) };
}

export function transcript(sessionId: string, me: Me, signal?: AbortSignal): Promise<Transcript> {
  return get(`/api/admin/transcripts/${sessionId}`, me, signal).then(json<Transcript>);
}

/** Where a session goes on as server-sent events. */
export function eventsOf(sessionId: string): string {
  return `/api/admin/transcripts/${sessionId}/events`;
}

export function exportOf(sessionId: string, format: string): string {
  return `/api/admin/transcripts/${sessionId}/export?format=${format}`;
}

/** The query of the page that a Link header calls next; null without one. */
export function nextQuery(link: string | null): string | null {
  const next = link?.match(/<([^>]+)>;\s*rel="next"/)?.[1];
  return next === undefined ? null : new URL(next, "http://any").search;
}

/** Whether both are one person, with another key perhaps. */
export function isSame(one: Me, other: Me): boolean {
  return one.identity !== null && one.identity === other.identity;
}

function get(path: string, me: Me, signal?: AbortSignal): Promise<Response> {
  return callAs(me, path, { signal });
}

function post(path: string, body: unknown, me?: Me): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body ?? {}) };
  return me ? callAs(me, path, request) : call(path, request);
}

/** Call as whom this page is for, who may have signed in with another key meanwhile, in another
 * window: then with the token that goes with that one. */
async function callAs(me: Me, path: string, request: RequestInit): Promise<Response> {
  const as = ({ csrfToken }: Me) => {
    const headers = new Headers(request.headers);
    headers.set(CSRF_HEADER, csrfToken);
    return call(path, { ...request, headers });
  };
  try {
    return await as(me);
  } catch (error) {
    const now = error instanceof ApiError && error.status === 401 ? await whoAmI() : null;
    if (now === null || !isSame(me, now)) throw error;
    return as(now);
  }
}

async function call(path: string, request: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!answer.ok) throw new ApiError(answer.status, await reason(answer));
  return answer;
}

async function json<Shape>(answer: Response): Promise<Shape> {
  return (await answer.json()) as Shape;
}

async function reason(answer: Response): Promise<string> {
  const said = (await answer.json().catch(() => null)) as { details?: unknown } | null;
  return typeof said?.details === "string" ? sentence(said.details) : `Error ${answer.status}.`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
