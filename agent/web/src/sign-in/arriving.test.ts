import { afterEach, expect, test, vi } from "vitest";
import type { Me } from "../api/shapes";
import { arrive } from "./arriving";

const LINK = "vck_link";

afterEach(() => vi.unstubAllGlobals());

function who(identity: string, csrfToken = identity): Me {
  return { userId: null, identity, name: null, scopes: ["client"], rooms: null, csrfToken };
}

/** An API with `here` signed in and a link for `meant`; gives who was signed in by it. */
function answering(here: Me | null, meant: Me | null): string[] {
  const signedIn: string[] = [];
  vi.stubGlobal("fetch", (path: string, request: RequestInit) => {
    const asked = new Headers(request.headers).has("X-API-Key") ? meant : here;
    const answer = path === "/api/sign-in" ? meant : asked;
    if (path === "/api/sign-in") signedIn.push(meant?.identity ?? "");
    return Promise.resolve(Response.json(answer ?? {}, { status: answer ? 200 : 401 }));
  });
  return signedIn;
}

test("a link signs in where nobody is", async () => {
  const signedIn = answering(null, who("ada"));
  expect(await arrive(LINK)).toEqual({ me: who("ada"), other: null });
  expect(signedIn).toEqual(["ada"]);
});

test("a link for another person takes nobody's place unasked", async () => {
  const signedIn = answering(who("ada"), who("bea"));
  expect(await arrive(LINK)).toEqual({ me: who("ada"), other: who("bea") });
  expect(signedIn).toEqual([]);
});

test("a link with another key of the same person needs no question", async () => {
  const signedIn = answering(who("ada"), who("ada", "newer"));
  expect(await arrive(LINK)).toEqual({ me: who("ada", "newer"), other: null });
  expect(signedIn).toEqual(["ada"]);
});

test("a link that is used again, or good for nothing any more, changes nothing", async () => {
  for (const meant of [who("ada"), null]) {
    const signedIn = answering(who("ada"), meant);
    expect(await arrive(LINK)).toEqual({ me: who("ada"), other: null });
    expect(signedIn).toEqual([]);
  }
});
