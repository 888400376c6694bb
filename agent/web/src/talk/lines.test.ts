import { expect, test } from "vitest";
import { ParticipantKind } from "livekit-client";
import { type Line, merged, seenWith, speakerOf } from "./lines";

function line(id: string, text = id): Line {
  return { id, text, speaker: "coach", name: "Coach", open: false, typed: false };
}

test("typed messages stand behind what had been said by then", () => {
  const typed = [
    { line: line("typed 1"), behind: 1 },
    { line: line("typed 2"), behind: 2 },
  ];
  const lines = merged([line("a"), line("b"), line("c")], typed);
  expect(lines.map(({ id }) => id)).toEqual(["a", "typed 1", "b", "typed 2", "c"]);
});

test("a caption is one's own, another person's, or the AI's", () => {
  const person = (identity: string, name = "") => ({
    identity,
    name,
    kind: ParticipantKind.STANDARD,
  });
  const agent = { identity: "agent-1", name: "", kind: ParticipantKind.AGENT };
  const others = [agent, person("coach-carl", "Carl"), person("coach-eve")];
  const seen = seenWith(new Map(), others);
  const name = (identity: string) => speakerOf(identity, person("client-ada"), seen).name;
  expect(["client-ada", "agent-1", "coach-carl", "coach-eve", "agent-gone"].map(name)).toEqual([
    "You",
    "Coach",
    "Carl",
    "coach-eve",
    "Coach",
  ]);
});

test("who has left is called as before", () => {
  const ada = { identity: "client-ada", name: "Ada", kind: ParticipantKind.STANDARD };
  const carl = { identity: "coach-carl", name: "Carl", kind: ParticipantKind.STANDARD };
  const before = seenWith(new Map(), [carl]);
  const after = seenWith(before, []);
  expect(after).toBe(before);
  expect(speakerOf("coach-carl", ada, after)).toEqual({ speaker: "other", name: "Carl" });
  const renamed = seenWith(after, [{ ...carl, name: "Carl C." }]);
  expect(speakerOf("coach-carl", ada, renamed).name).toBe("Carl C.");
});

test("a caption without words is no line yet", () => {
  expect(merged([line("a", "")], [])).toEqual([]);
});
