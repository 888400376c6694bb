import { environmentManager, QueryObserver } from "@tanstack/react-query";
import { expect, test, vi } from "vitest";
import { withMessage } from "./follow";
import { awaitsSummary, makeQueries, sessionOf } from "./queries";
import type { Me, Message, Transcript } from "./shapes";

const END = "2026-11-21T09:30:00.000Z";
const ENDED: Transcript = {
  id: "1",
  clientId: "c",
  clientName: "Ada",
  startTime: "2026-11-21T09:00:00.000Z",
  endTime: END,
  durationMinutes: 30,
  messageCount: 8,
  status: "completed",
  messages: [],
};

const NOBODY = { userId: null, identity: null, name: null, scopes: [], rooms: null };

function said(id: string, second: number, seq: number): Message {
  const timestamp = `2026-11-21T09:00:0${second}.000Z`;
  return { id, seq, timestamp, content: id, speakerName: "Ada", speakerRole: "client" };
}

test("turns that land late or twice stand where they belong, once", () => {
  const landed = [said("b", 3, 2), said("c", 3, 3), said("a", 1, 4), said("b", 3, 2)];
  const { messages, messageCount } = landed.reduce(withMessage, ENDED);
  expect(messages.map(({ id }) => id)).toEqual(["a", "b", "c"]);
  expect(messageCount).toBe(3);
});

test("a summary is waited for while it may come, and no longer", () => {
  const soon = Date.parse(END) + 5_000;
  expect(awaitsSummary(ENDED, soon)).toBe(true);
  expect(awaitsSummary(ENDED, soon + 600_000)).toBe(false);
  expect(awaitsSummary({ ...ENDED, summary: "All well." }, soon)).toBe(false);
  expect(awaitsSummary({ ...ENDED, messageCount: 4 }, soon)).toBe(false);
  expect(awaitsSummary({ ...ENDED, status: "cancelled" }, soon)).toBe(false);
  expect(awaitsSummary(undefined, soon)).toBe(false);
});

test("a conversation's session is looked for until it is there, and is no earlier one", async () => {
  vi.useFakeTimers();
  environmentManager.setIsServer(() => false); // a server looks but once
  const me: Me = { ...NOBODY, csrfToken: "t" };
  const listed = [{ ...ENDED, id: "last week's", roomName: "own", roomSid: "RM_1" }];
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json(listed)));
  const observer = new QueryObserver(makeQueries(), sessionOf("RM_2", me));
  const stop = observer.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(observer.getCurrentResult().data).toBeNull();
  listed.unshift({ ...ENDED, id: "this", roomName: "own", roomSid: "RM_2" });
  await vi.advanceTimersByTimeAsync(16_000);
  expect(observer.getCurrentResult().data?.id).toBe("this");
  stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("a later conversation in a room that stayed open is not taken for the one before", async () => {
  vi.useFakeTimers();
  const listed = [{ ...ENDED, id: "before", roomSid: "RM_1" }];
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json(listed)));
  const queries = makeQueries();
  const look = () => new QueryObserver(queries, sessionOf("RM_1", { ...NOBODY, csrfToken: "t" }));
  const before = look();
  const leave = before.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(before.getCurrentResult().data?.id).toBe("before");
  leave();
  await vi.advanceTimersByTimeAsync(1_000);
  listed.unshift({ ...ENDED, id: "later", roomSid: "RM_1" });
  const later = look();
  const stop = later.subscribe(() => undefined);
  expect(later.getCurrentResult().data).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(later.getCurrentResult().data?.id).toBe("later");
  stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});
