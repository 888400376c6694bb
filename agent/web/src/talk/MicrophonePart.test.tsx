import type { LocalAudioTrack } from "livekit-client";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { MicrophonePart } from "./MicrophonePart";
import type { Microphone } from "./useMicrophone";

const NONE: Microphone = {
  track: null,
  devices: [],
  chosen: "",
  problem: null,
  open: () => Promise.resolve(null),
  handOver: () => undefined,
};
const silence: unknown = {};
const HELD = { ...NONE, track: silence as LocalAudioTrack };

function shown(microphone: Microphone, mayType: boolean, taken: boolean): string {
  return renderToStaticMarkup(
    <MicrophonePart microphone={microphone} mayType={mayType} taken={taken} />,
  );
}

test("a microphone that is being taken into a room is not changed any more", () => {
  for (const microphone of [NONE, HELD]) {
    expect(shown(microphone, true, false)).not.toContain("disabled");
    expect(shown(microphone, true, true)).toContain("disabled");
  }
});

test("who has none is told what is left: to type, or to listen for whom nobody reads", () => {
  const problem = { ...NONE, problem: "No microphone was found." };
  expect(shown(problem, true, false)).toContain("join without one, and type.");
  expect(shown(problem, false, false)).toContain("join without one, and listen.");
  expect(shown(HELD, false, false)).not.toContain("join without one");
});
