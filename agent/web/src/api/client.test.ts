import { afterEach, expect, test, vi } from "vitest";
import { ApiError, nextQuery, rate, sessions, transcript, whoAmI } from "./client";
import type { Me } from "./shapes";

const ME: Me = {
  userId: null,
  identity: "client-a",
  name: null,
  scopes: ["client"],
  rooms: null,
  csrfToken: "t",
};

afterEach(() => vi.unstubAllGlobals());

function answering(status: number, body: unknown, headers: Record<string, string> = {}) {
  const fetched = vi.fn(() => Promise.resolve(Response.json(body, { status, headers })));
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

test("the next page is behind the Link header's query, whatever its host", () => {
  const link = '<http://inside:8000/api/admin/transcripts?text=a+b&cursor=x%3D>; rel="next"';
  expect(nextQuery(link)).toBe("?text=a+b&cursor=x%3D");
  expect(nextQuery(null)).toBeNull();
});

test("the last page has none behind it", async () => {
  answering(200, []);
  expect(await sessions("?limit=5", ME)).toEqual({ sessions: [], next: null });
});

test("who has no key is nobody, and that is no error", async () => {
  answering(401, { error: "unauthorized", details: "this route needs a key" });
  expect(await whoAmI()).toBeNull();
});

test("what changes something carries the token", async () => {
  const fetched = answering(201, { rating: 4 });
  await rate("0193", { rating: 4 }, ME);
  const [[path, request]] = fetched.mock.calls as unknown as [[string, RequestInit]];
  expect(path).toBe("/api/sessions/0193/rating");
  expect(new Headers(request.headers).get("X-CSRF-Token")).toBe("t");
});

test("what is read is read as who this page is for", async () => {
  const fetched = answering(200, []);
  await sessions("", ME);
  await transcript("0193", ME);
  for (const [, request] of fetched.mock.calls as unknown as [string, RequestInit][]) {
    expect(new Headers(request.headers).get("X-CSRF-Token")).toBe("t");
  }
  expect(fetched).toHaveBeenCalledTimes(2);
});

/** An API that knows whoever is signed in by `known` alone, and says who that is; gives its calls. */
function signedInAs(known: Me) {
  const fetched = vi.fn((path: string, request: RequestInit) => {
    if (path === "/api/me") return Promise.resolve(Response.json(known));
    const isKnown = new Headers(request.headers).get("X-CSRF-Token") === known.csrfToken;
    return Promise.resolve(Response.json([], { status: isKnown ? 200 : 401 }));
  });
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

test("who signed in with another key, in another window, goes on here", async () => {
  signedInAs({ ...ME, csrfToken: "newer" });
  expect(await sessions("", ME)).toEqual({ sessions: [], next: null });
});

test("where another person signed in, nothing of theirs is taken", async () => {
  const fetched = signedInAs({ ...ME, identity: "client-b", csrfToken: "theirs" });
  await expect(sessions("", ME)).rejects.toThrow();
  expect(fetched.mock.calls.map(([path]) => path)).toEqual(["/api/admin/transcripts", "/api/me"]);
});

test("an error says what the API said", async () => {
  answering(409, { error: "conflict", details: "this session is rated already" });
  const refused = rate("0193", { rating: 4 }, ME);
  await expect(refused).rejects.toEqual(new ApiError(409, "This session is rated already."));
});

test("an answer that is none of the API's is an error all the same", async () => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("<html>", { status: 502 })));
  await expect(whoAmI()).rejects.toEqual(new ApiError(502, "Error 502."));
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("refused")));
  await expect(whoAmI()).rejects.toThrow("cannot be reached");
});
