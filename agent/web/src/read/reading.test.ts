import { expect, test } from "vitest";
import { summaryPieces } from "./citations";
import { asAddress, asRequest, filtersIn } from "./filters";
import { median } from "./median";
import { pieces, unheard } from "./marks";
import type { Me, Session } from "../api/shapes";
import { beginningOf, counted, dayOf, lengthOf, offsetOf } from "./times";
import { isOf } from "./words";

test("hits are marked where they are, and nonsense marks nothing", () => {
  expect(pieces("I sleep, I wake", [[2, 7]])).toEqual([
    { text: "I ", marked: false },
    { text: "sleep", marked: true },
    { text: ", I wake", marked: false },
  ]);
  // one character, two UTF-16 code units: the API counts as JavaScript does
  expect(pieces("😀 sleep", [[3, 8]])[1]).toEqual({ text: "sleep", marked: true });
  expect(pieces("short", [[3, 99]])).toEqual([{ text: "short", marked: false }]);
  expect(
    pieces("abc", [
      [1, 3],
      [0, 2],
    ]).map(({ text }) => text),
  ).toEqual(["ab", "c"]);
  expect(pieces("", [])).toEqual([]);
});

test("what was not heard is what follows what was", () => {
  expect(unheard("What would a good", "What would a good week look like?")).toBe(
    " week look like?",
  );
  expect(unheard("What would…", "What would a good week")).toBe(" a good week");
  expect(unheard("I ask.", "I ask. What would you like?")).toBe(" What would you like?");
  expect(unheard("Something else", "What would a good week")).toBeNull();
});

test("a summary leads to the turns that it cites, and to no others", () => {
  const turn = { speakerName: "", speakerRole: "client", content: "", timestamp: "" } as const;
  const messages = [
    { ...turn, id: "a", seq: 2 },
    { ...turn, id: "b", seq: 5 },
  ];
  expect(summaryPieces("She sleeps. [2, 5] In 2 days [9].", messages)).toEqual([
    { text: "She sleeps. " },
    { text: "[" },
    { text: "2", messageId: "a" },
    { text: ", " },
    { text: "5", messageId: "b" },
    { text: "]" },
    { text: " In 2 days " },
    { text: "[" },
    { text: "9" },
    { text: "]" },
    { text: "." },
  ]);
});

test("filters go into the address and come back", () => {
  const filters = { text: "good sleep", status: "completed", from: "2026-11-01" };
  expect(filtersIn(asAddress(filters))).toEqual(filters);
  expect(asAddress({})).toBe("");
  expect(filtersIn("?text=+&other=1")).toEqual({});
});

test("a day to which to look is looked at to its end, in this zone", () => {
  const query = new URLSearchParams(asRequest({ from: "2026-11-20", to: "2026-11-20" }));
  const span = Date.parse(query.get("to") ?? "") - Date.parse(query.get("from") ?? "");
  expect(span).toBe(86_400_000);
  expect(beginningOf("never")).toBeNull();
});

test("days, lengths and counts read as a person says them", () => {
  const now = new Date(2026, 10, 21, 0, 30);
  expect(dayOf(new Date(2026, 10, 21, 0, 10), now)).toBe("Today");
  expect(dayOf(new Date(2026, 10, 20, 23, 50), now)).toBe("Yesterday");
  expect(dayOf(new Date(2026, 10, 18), now)).toBe("Wednesday, 18 November");
  expect(dayOf(new Date(2025, 0, 1), now)).toBe("Wednesday, 1 January 2025");
  expect([0, 1, 60, 95].map(lengthOf)).toEqual(["Under a minute", "1 min", "1 h", "1 h 35 min"]);
  expect(counted(1, "message")).toBe("1 message");
  expect(offsetOf("2026-11-21T09:03:07.900Z", "2026-11-21T09:00:00.000Z")).toBe("3:07");
});

test("the middle of some values", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
});

test("a session is one's own by the account, or by the identity where there was none", () => {
  const me = { userId: "0193", identity: "client-ada" } as Me;
  const of = (clientId: string) => isOf({ clientId } as Session, me);
  expect(["0193", "client-ada", "client-bea"].map(of)).toEqual([true, true, false]);
});
