import { useTrackVolume } from "@livekit/components-react";
import type { LocalAudioTrack, Room } from "livekit-client";
import { type SyntheticEvent, useState } from "react";
import type { Me } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { messageOf, Problem } from "../parts/notices";
import { join } from "./joining";
import { type Microphone, useMicrophone } from "./useMicrophone";

interface LobbyProps {
  me: Me;
  /** The room to join, null if the person has to say which. */
  room: string | null;
  onJoined: (room: Room) => void;
}

/** Before the conversation: is the microphone the right one, and does it hear? */
export function Lobby({ me, room, onJoined }: LobbyProps) {
  const microphone = useMicrophone();
  const [name, setName] = useState(room ?? "");
  const [problem, setProblem] = useState<string | null>(null);
  const [joining, setJoining] = useState(false);

  const enter = async (event: SyntheticEvent) => {
    event.preventDefault();
    setJoining(true);
    setProblem(null);
    try {
      const track = microphone.track ?? (await microphone.open());
      const joined = await join(name, me, track);
      microphone.handOver();
      onJoined(joined);
    } catch (error) {
      setProblem(messageOf(error));
      setJoining(false);
    }
  };
  const asCoach = !me.scopes.includes("client");
  return (
    <form className="lobby" onSubmit={(event) => void enter(event)}>
      <Heading title="Talk">{asCoach ? "Join a conversation" : "What is on your mind?"}</Heading>
      <p className="lead">
        {asCoach
          ? "You join as the human coach. The client and the AI coach will hear you."
          : "Take a breath. Your coach listens, asks, and keeps every word for you to read again."}
      </p>
      {me.rooms !== null && me.rooms.length > 1 ? (
        <RoomChoice rooms={me.rooms} name={name} onChosen={setName} />
      ) : (
        room === null && <RoomField name={name} onTyped={setName} />
      )}
      <MicrophonePart microphone={microphone} />
      {problem && <Problem>{problem}</Problem>}
      <button type="submit" className="primary large" disabled={joining}>
        {joining ? "Joining…" : "Start talking"}
      </button>
    </form>
  );
}

function RoomChoice({
  rooms,
  name,
  onChosen,
}: {
  rooms: string[];
  name: string;
  onChosen: (name: string) => void;
}) {
  return (
    <label className="field">
      <span>Room</span>
      <select value={name} onChange={(event) => onChosen(event.target.value)}>
        {rooms.map((room) => (
          <option key={room}>{room}</option>
        ))}
      </select>
    </label>
  );
}

function RoomField({ name, onTyped }: { name: string; onTyped: (name: string) => void }) {
  return (
    <label className="field">
      <span>Room</span>
      <input
        required
        maxLength={128}
        value={name}
        onChange={(event) => onTyped(event.target.value)}
      />
    </label>
  );
}

function MicrophonePart({ microphone }: { microphone: Microphone }) {
  const { track, devices, chosen, problem, open } = microphone;
  return (
    <section className="microphone" aria-label="Microphone">
      {track ? (
        <>
          <label className="field">
            <span>Microphone</span>
            <select value={chosen} onChange={(event) => void open(event.target.value)}>
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
          <button type="button" onClick={() => void open()}>
            {problem ? "Try again" : "Check the microphone"}
          </button>
        </div>
      )}
      {problem && <p className="hint">You can join without one, and type.</p>}
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
