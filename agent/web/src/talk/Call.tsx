import {
  RoomAudioRenderer,
  RoomContext,
  StartAudio,
  useConnectionState,
  useLocalParticipant,
  useMediaDeviceSelect,
} from "@livekit/components-react";
import { ConnectionState, type DisconnectReason, type Room, RoomEvent } from "livekit-client";
import { type SyntheticEvent, useEffect, useState } from "react";
import { Heading } from "../parts/Heading";
import { messageOf, Problem } from "../parts/notices";
import { Captions } from "./Captions";
import { useLines } from "./lines";
import { LeaveIcon, MicrophoneIcon, SendIcon } from "./icons";
import { Presence } from "./Presence";

interface CallProps {
  room: Room;
  onEnded: (room: string, reason: DisconnectReason | undefined) => void;
}

/** The conversation. It ends with the room, or with this view. */
export function Call({ room, onEnded }: CallProps) {
  useEffect(() => {
    const name = room.name;
    const ended = (reason?: DisconnectReason) => onEnded(name, reason);
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
      <Stage room={room} />
    </RoomContext.Provider>
  );
}

function Stage({ room }: { room: Room }) {
  const { localParticipant, isMicrophoneEnabled } = useLocalParticipant();
  const [problem, setProblem] = useState<string | null>(null);
  const { lines, type } = useLines();
  const told = (error: unknown) => setProblem(messageOf(error));
  const toggle = () => {
    setProblem(null);
    localParticipant.setMicrophoneEnabled(!isMicrophoneEnabled).catch(told);
  };
  return (
    <div className="call">
      <div className="sr-only">
        <Heading title="In conversation">In conversation</Heading>
      </div>
      <Connection />
      <Presence muted={!isMicrophoneEnabled} />
      <Captions lines={lines} />
      {problem && <Problem>{problem}</Problem>}
      <StartAudio label="Let the coach be heard" className="start-audio" />
      <div className="controls" role="group" aria-label="Conversation">
        <button
          type="button"
          className={isMicrophoneEnabled ? "round" : "round off"}
          onClick={toggle}
          aria-label={isMicrophoneEnabled ? "Mute" : "Unmute"}
          title={isMicrophoneEnabled ? "Mute" : "Unmute"}
        >
          <MicrophoneIcon off={!isMicrophoneEnabled} />
        </button>
        <DeviceChoice />
        <TypedMessage onSend={(text) => void type(text).catch(told)} />
        <button type="button" className="leave" onClick={() => void room.disconnect()}>
          <LeaveIcon /> Leave
        </button>
      </div>
    </div>
  );
}

/** Says when the connection is gone, and that it is being sought. */
function Connection() {
  const state = useConnectionState();
  const lost =
    state === ConnectionState.Reconnecting || state === ConnectionState.SignalReconnecting;
  return (
    <div role="alert" className="connection">
      {lost && <p>The connection was lost. Reconnecting; what was said is kept.</p>}
    </div>
  );
}

function DeviceChoice() {
  const { devices, activeDeviceId, setActiveMediaDevice } = useMediaDeviceSelect({
    kind: "audioinput",
  });
  if (devices.length < 2) return null;
  return (
    <select
      className="device"
      aria-label="Microphone"
      value={activeDeviceId}
      onChange={(event) => void setActiveMediaDevice(event.target.value)}
    >
      {devices.map((device) => (
        <option key={device.deviceId} value={device.deviceId}>
          {device.label || "Microphone"}
        </option>
      ))}
    </select>
  );
}

function TypedMessage({ onSend }: { onSend: (text: string) => void }) {
  const [text, setText] = useState("");
  const send = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!text.trim()) return;
    onSend(text.trim());
    setText("");
  };
  return (
    <form className="typed" onSubmit={send}>
      <input
        aria-label="Type a message"
        placeholder="Or type…"
        autoComplete="off"
        maxLength={4000}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" aria-label="Send" title="Send" disabled={!text.trim()}>
        <SendIcon />
      </button>
    </form>
  );
}
