/** What is said in the room, as lines: captions of both sides and what was typed, in order. */

import {
  useLocalParticipant,
  useRemoteParticipants,
  useTranscriptions,
  useVoiceAssistant,
} from "@livekit/components-react";
import { type Participant, ParticipantKind } from "livekit-client";
import { useCallback, useMemo, useState } from "react";

const SEGMENT = "lk.segment_id";
const FINAL = "lk.transcription_final";
const CHAT = "lk.chat";

export interface Line {
  id: string;
  speaker: "you" | "coach" | "other";
  /** As one calls the speaker. */
  name: string;
  text: string;
  /** Whether it is still being heard. */
  open: boolean;
  typed: boolean;
}

/** A typed message, and behind how many captions it came. */
export interface Typed {
  line: Line;
  behind: number;
}

export interface Lines {
  lines: Line[];
  /** Send a typed message to the coach; rejects, in words for a person, if it cannot be. */
  type: (text: string) => Promise<void>;
}

export function useLines(): Lines {
  const { localParticipant } = useLocalParticipant();
  const seen = useSeen();
  const captions = useTranscriptions();
  const [typed, setTyped] = useState<Typed[]>([]);
  const { agent } = useVoiceAssistant();
  const behind = captions.length;

  const type = useCallback(
    async (text: string) => {
      if (!agent) throw new Error("Your coach is not here yet: send it in a moment.");
      const { id } = await localParticipant.sendText(text, { topic: CHAT }).catch(() => {
        throw new Error("This could not be sent. It is still here: try again.");
      });
      const line: Line = { id, ...YOU, text, open: false, typed: true };
      setTyped((before) => [...before, { line, behind }]);
    },
    [localParticipant, agent, behind],
  );

  const lines = useMemo(() => {
    const said = captions.map(({ text, participantInfo, streamInfo }): Line => {
      const who = speakerOf(participantInfo.identity, localParticipant, seen);
      const open = who.speaker !== "coach" && streamInfo.attributes?.[FINAL] !== "true";
      const id = streamInfo.attributes?.[SEGMENT] ?? streamInfo.id;
      return { id, ...who, text: text.trim(), open, typed: false };
    });
    return merged(said, typed);
  }, [captions, typed, localParticipant, seen]);
  return { lines, type };
}

type Speaker = Pick<Line, "speaker" | "name">;
type Known = Pick<Participant, "identity" | "name" | "kind">;
type Seen = ReadonlyMap<string, Known>;

const YOU: Speaker = { speaker: "you", name: "You" };
const COACH: Speaker = { speaker: "coach", name: "Coach" };

/** Who else is or was in the room: whoever has left is still called by their name. */
function useSeen(): Seen {
  const others = useRemoteParticipants();
  const [seen, setSeen] = useState<Seen>(new Map());
  const now = seenWith(seen, others);
  if (now !== seen) setSeen(now);
  return now;
}

/** Those `seen` so far and those who are here now; the same map if it says all of that. */
export function seenWith(seen: Seen, others: Known[]): Seen {
  const fresh = others.filter(({ identity, name, kind }) => {
    const known = seen.get(identity);
    return known?.name !== name || known?.kind !== kind;
  });
  if (fresh.length === 0) return seen;
  const noted = fresh.map(
    ({ identity, name, kind }) => [identity, { identity, name, kind }] as const,
  );
  return new Map([...seen, ...noted]);
}

/** Whose caption it is: one's own, another person's, else the AI's. */
export function speakerOf(identity: string, local: Known, seen: Seen): Speaker {
  if (identity === local.identity) return YOU;
  const other = seen.get(identity);
  if (!other || other.kind === ParticipantKind.AGENT) return COACH;
  return { speaker: "other", name: other.name || identity };
}

/** Captions with the typed messages between them; a caption without text yet is no line. */
export function merged(captions: Line[], typed: Typed[]): Line[] {
  const lines: Line[] = [];
  for (let place = 0; place <= captions.length; place += 1) {
    lines.push(...typed.filter(({ behind }) => behind === place).map(({ line }) => line));
    const caption = captions[place];
    if (caption?.text) lines.push(caption);
  }
  return lines;
}
