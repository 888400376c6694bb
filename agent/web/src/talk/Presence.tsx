import {
  useLocalParticipant,
  useMultibandTrackVolume,
  useTrackVolume,
  useVoiceAssistant,
} from "@livekit/components-react";
import { LocalAudioTrack, RemoteAudioTrack } from "livekit-client";
import type { CSSProperties } from "react";
import { useLate } from "./useLate";
import { useOutOfReach } from "./useOutOfReach";

const BANDS = { bands: 5, loPass: 4, hiPass: 120, updateInterval: 50 };
/** The middle band is the loudest, as in the mark. */
const ORDER = [3, 1, 0, 2, 4];

const SAYS: Record<string, string> = {
  listening: "Listening",
  thinking: "Thinking",
  speaking: "Speaking",
};

/** The coach, as one sees it: listening to you, thinking, speaking. */
export function Presence({ muted, lost }: { muted: boolean; lost: boolean }) {
  const { state, audioTrack, agent } = useVoiceAssistant();
  const { microphoneTrack } = useLocalParticipant();
  const own = microphoneTrack?.track;
  const heard = useTrackVolume(own instanceof LocalAudioTrack ? own : undefined);
  const voice = audioTrack?.publication.track;
  const bands = useMultibandTrackVolume(
    voice instanceof RemoteAudioTrack ? voice : undefined,
    BANDS,
  );
  const outOfReach = useOutOfReach(agent);
  const late = useLate(!agent && !lost);
  const present = agent && !outOfReach && !lost;
  const says = present ? (SAYS[state] ?? "Arriving") : absence({ lost, outOfReach, late });
  const near = { "--near": muted ? 0 : Math.min(1, heard * 2) } as CSSProperties;
  return (
    <div className="presence" data-state={present ? state : "waiting"}>
      <div className="orb" style={near} aria-hidden="true">
        {ORDER.map((band, place) => {
          const loud = state === "speaking" ? spread(bands[band] ?? 0) : 0;
          return <i key={place} style={{ "--loud": loud } as CSSProperties} />;
        })}
      </div>
      <p className="presence-says" role="status">
        {says}
        {muted && present && state === "listening" && <span>, but you are muted</span>}
      </p>
    </div>
  );
}

/** Why the coach is not there. */
function absence({ lost, outOfReach, late }: Record<"lost" | "outOfReach" | "late", boolean>) {
  if (lost) return "Not connected";
  if (outOfReach) return "Your coach is out of reach; wait a moment";
  if (late) return "Your coach has not come yet. It is being called again; you can wait, or leave.";
  return "Waiting for your coach";
}

/** The analyser's values lie close together: silence near 0.3, speech from 0.6 on. */
function spread(volume: number): number {
  return Math.max(0, Math.min(1, (volume - 0.35) / 0.5));
}
