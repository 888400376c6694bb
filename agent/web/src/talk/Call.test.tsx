import { Room } from "livekit-client";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { Call } from "./Call";

// without a browser nobody can say it
vi.mock("../parts/useOffline", () => ({ useOffline: () => false }));

function shown(mayType: boolean): string {
  const nothing = () => undefined;
  return renderToStaticMarkup(
    <Call room={new Room()} mayType={mayType} onEnded={nothing} draft="" onDraft={nothing} />,
  );
}

test("a field to type in is there for the client alone: the AI coach takes nobody else's words", () => {
  expect(shown(true)).toContain("Type a message");
  expect(shown(false)).not.toContain("Type a message");
  expect(shown(false)).toContain("Leave");
});
