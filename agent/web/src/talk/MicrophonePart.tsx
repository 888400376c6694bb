import { useTrackVolume } from "@livekit/components-react";
import type { LocalAudioTrack } from "livekit-client";
import type { Microphone } from "./useMicrophone";

interface MicrophonePartProps {
  microphone: Microphone;
  /** Whether one may type instead. */
  mayType: boolean;
  /** Whether it is being taken into a room, and is not to change any more. */
  taken: boolean;
}

/** Which microphone, and whether it hears. */
export function MicrophonePart({ microphone, mayType, taken }: MicrophonePartProps) {
  const { track, devices, chosen, problem, open } = microphone;
  return (
    <section className="microphone" aria-label="Microphone">
      {track ? (
        <>
          <label className="field">
            <span>Microphone</span>
            <select
              value={chosen}
              disabled={taken}
              onChange={(event) => void open(event.target.value)}
            >
              {devices.map((device) => (
                <option key={device.deviceId} value={device.deviceId}>
                  {device.label || "Microphone"}
                </option>
              ))}
            </select>
          </label>
          <Level track={track} />
        </>
      ) : (
        <div className="microphone-ask">
          <p>{problem ?? "The browser will ask whether this page may hear you."}</p>
          <button type="button" disabled={taken} onClick={() => void open()}>
            {problem ? "Try again" : "Check the microphone"}
          </button>
        </div>
      )}
      {problem && (
        <p className="hint">You can join without one, and {mayType ? "type" : "listen"}.</p>
      )}
    </section>
  );
}

const BARS = 28;
/** What speech at a normal distance comes to, of the analyser's full scale. */
const LOUD = 0.8;

function Level({ track }: { track: LocalAudioTrack }) {
  const level = Math.min(1, useTrackVolume(track) / LOUD);
  const lit = Math.round(level * BARS);
  return (
    <div
      className="level"
      role="meter"
      aria-label="Microphone level"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(level * 100)}
    >
      {Array.from({ length: BARS }, (_, index) => (
        <i key={index} className={index < lit ? "lit" : ""} />
      ))}
    </div>
  );
}
