import {
  RoomAudioRenderer,
  RoomContext,
  StartAudio,
  useLocalParticipant,
} from "@livekit/components-react";
import { ConnectionState, type DisconnectReason, type Room, RoomEvent } from "livekit-client";
import { useEffect, useState } from "react";
import { Heading } from "../parts/Heading";
import { messageOf, Problem } from "../parts/notices";
import { Captions } from "./Captions";
import { Connection, useLost } from "./Connection";
import { DeviceChoice } from "./DeviceChoice";
import { explained } from "./explained";
import { LeaveIcon, MicrophoneIcon } from "./icons";
import { useLines } from "./lines";
import { Presence } from "./Presence";
import { TypedMessage } from "./TypedMessage";

interface CallProps {
  room: Room;
  /** Whether one may type: the AI coach takes what the client types, and nobody else's words. */
  mayType: boolean;
  /** With the room's name, and LiveKit's id of it, empty if it never came. */
  onEnded: (room: string, sid: string, reason: DisconnectReason | undefined) => void;
  draft: string;
  onDraft: (text: string) => void;
}

/** The conversation. It ends with the room, or with this view. */
export function Call({ onEnded, ...stage }: CallProps) {
  const { room } = stage;
  useEffect(() => {
    const name = room.name;
    let sid = "";
    void room.getSid().then(
      (known) => (sid = known),
      () => undefined, // it ended before
    );
    const ended = (reason?: DisconnectReason) => onEnded(name, sid, reason);
    room.on(RoomEvent.Disconnected, ended);
    if (room.state === ConnectionState.Disconnected) ended(); // before this view was there
    return () => {
      room.off(RoomEvent.Disconnected, ended);
      void room.disconnect();
    };
  }, [room, onEnded]);
  return (
    <RoomContext.Provider value={room}>
      <RoomAudioRenderer />
      <Stage {...stage} />
    </RoomContext.Provider>
  );
}

function Stage({ room, mayType, draft, onDraft }: Omit<CallProps, "onEnded">) {
  const { localParticipant, isMicrophoneEnabled } = useLocalParticipant();
  const [problem, setProblem] = useState<string | null>(null);
  const { lines, type } = useLines();
  const lost = useLost();
  const unheard = (error: unknown) => setProblem(explained(error));
  const toggle = () => {
    setProblem(null);
    localParticipant.setMicrophoneEnabled(!isMicrophoneEnabled).catch(unheard);
  };
  const send = async (text: string) => {
    setProblem(null);
    await type(text);
  };
  return (
    <div className="call">
      <div className="sr-only">
        <Heading title="In conversation">In conversation</Heading>
      </div>
      <Connection lost={lost} />
      <Presence muted={!isMicrophoneEnabled} lost={lost} />
      <Captions lines={lines} />
      {problem && <Problem>{problem}</Problem>}
      <StartAudio label="Let the coach be heard" className="start-audio primary" />
      <div className="controls" role="group" aria-label="Conversation">
        <MuteButton muted={!isMicrophoneEnabled} onToggle={toggle} />
        <DeviceChoice onProblem={unheard} />
        {mayType && (
          <TypedMessage
            text={draft}
            onText={onDraft}
            onSend={send}
            onProblem={(error) => setProblem(messageOf(error))}
          />
        )}
        <button type="button" className="leave" onClick={() => void room.disconnect()}>
          <LeaveIcon /> Leave
        </button>
      </div>
    </div>
  );
}

function MuteButton({ muted, onToggle }: { muted: boolean; onToggle: () => void }) {
  const label = muted ? "Unmute" : "Mute";
  return (
    <button
      type="button"
      className={muted ? "round off" : "round"}
      onClick={onToggle}
      aria-label={label}
      title={label}
    >
      <MicrophoneIcon off={muted} />
    </button>
  );
}
