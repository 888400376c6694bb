import { expect, test } from "vitest";
import { keyIn, newRoom } from "./address";

test("a link's key is taken out of its fragment, and nothing else is", () => {
  expect(keyIn("#key=vck_abc")).toEqual({ key: "vck_abc", rest: "" });
  expect(keyIn("#at=3&key=vck_a%2Bb")).toEqual({ key: "vck_a+b", rest: "#at=3" });
  expect(keyIn("#content").key).toBeNull();
  expect(keyIn("")).toEqual({ key: null, rest: "" });
});

test("no two rooms have one name", () => {
  const names = new Set(Array.from({ length: 1000 }, newRoom));
  expect(names.size).toBe(1000);
});
