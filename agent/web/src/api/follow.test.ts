import { QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiError } from "./client";
import { follow } from "./follow";
import { transcriptKey } from "./queries";
import type { Message, Transcript } from "./shapes";

const ID = "0193";
const KEY = transcriptKey(ID);
const RUNNING = { id: ID, status: "active", messages: [] } as unknown as Transcript;
const TURN: Message = {
  id: "a",
  timestamp: "2026-11-21T09:00:01.000Z",
  content: "Hello.",
  speakerName: "Ada",
  speakerRole: "client",
};

class Source extends EventTarget {
  static readonly CLOSED = 2;
  static opened: Source[] = [];
  readyState = 1;

  constructor() {
    super();
    Source.opened.push(this);
  }

  close(): void {
    this.readyState = Source.CLOSED;
  }

  refuse(): void {
    this.close();
    this.dispatchEvent(new Event("error"));
  }

  tell(message: Message): void {
    this.dispatchEvent(new MessageEvent("turn", { data: JSON.stringify(message) }));
  }
}

let queries: QueryClient;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  Source.opened = [];
  queries = new QueryClient();
  queries.setQueryData(KEY, RUNNING);
  stop = follow(ID, queries);
});

afterEach(() => {
  stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function refuse(): void {
  Source.opened.at(-1)?.refuse();
}

test("a stream that is refused is asked for again, later each time, until nobody follows", () => {
  refuse();
  vi.advanceTimersByTime(2_000);
  expect(Source.opened).toHaveLength(2);
  refuse();
  vi.advanceTimersByTime(2_000);
  expect(Source.opened).toHaveLength(2);
  vi.advanceTimersByTime(2_000);
  expect(Source.opened).toHaveLength(3);
  refuse();
  stop();
  vi.runAllTimers();
  expect(Source.opened).toHaveLength(3);
});

test("a stream of a session that is not there any more is asked for no more", async () => {
  refuse();
  const gone = () => Promise.reject(new ApiError(404, "There is no such session."));
  await queries.query({ queryKey: KEY, queryFn: gone, retry: false }).catch(() => undefined);
  vi.runAllTimers();
  expect(Source.opened).toHaveLength(1);
});

test("what was asked for before a turn landed does not take its place", async () => {
  let answer: (known: Transcript) => void = () => undefined;
  const queryFn = () => new Promise<Transcript>((resolve) => (answer = resolve));
  const asking = queries.query({ queryKey: KEY, queryFn }).catch(() => undefined);
  Source.opened[0]?.tell(TURN);
  answer(RUNNING);
  await asking;
  expect(queries.getQueryData<Transcript>(KEY)?.messages).toEqual([TURN]);
});
