import { expect, test } from "vitest";
import { withMessage } from "./follow";
import { awaitsSummary } from "./queries";
import type { Message, Transcript } from "./shapes";

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
