import { expect, test } from "vitest";
import { type Line, merged } from "./lines";

function line(id: string, text = id): Line {
  return { id, text, speaker: "coach", open: false, typed: false };
}

test("typed messages stand behind what had been said by then", () => {
  const typed = [
    { line: line("typed 1"), behind: 1 },
    { line: line("typed 2"), behind: 2 },
  ];
  const lines = merged([line("a"), line("b"), line("c")], typed);
  expect(lines.map(({ id }) => id)).toEqual(["a", "typed 1", "b", "typed 2", "c"]);
});

test("a caption without words is no line yet", () => {
  expect(merged([line("a", "")], [])).toEqual([]);
});
