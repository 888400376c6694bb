import { expect, test } from "vitest";
import type { Me, Scope } from "../api/shapes";
import { firstRoom } from "./rooms";

function having(rooms: string[] | null, ...scopes: Scope[]): Me {
  return { userId: null, identity: "ada", name: null, scopes, rooms, csrfToken: "t" };
}

test("the address names the room, where the key opens it", () => {
  expect(firstRoom(having(null, "client"), "theirs")).toBe("theirs");
  expect(firstRoom(having(["a", "b"], "client"), "b")).toBe("b");
  expect(firstRoom(having(["a", "b"], "client"), "theirs")).toBe("a");
});

test("without one it is the key's first, a new one, or a coach's choice", () => {
  expect(firstRoom(having(["a", "b"], "client"), null)).toBe("a");
  expect(firstRoom(having(null, "client", "admin"), null)).toMatch(/^coaching-/);
  expect(firstRoom(having(null, "coach"), null)).toBeNull();
});
