import { expect, test } from "vitest";
import { ParticipantKind } from "livekit-client";
import { type Line, merged, speakerOf } from "./lines";

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
  const name = (identity: string) => speakerOf(identity, person("client-ada"), others).name;
  expect(["client-ada", "agent-1", "coach-carl", "coach-eve", "agent-gone"].map(name)).toEqual([
    "You",
    "Coach",
    "Carl",
    "coach-eve",
    "Coach",
  ]);
});

test("a caption without words is no line yet", () => {
  expect(merged([line("a", "")], [])).toEqual([]);
});
