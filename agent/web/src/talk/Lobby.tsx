import type { Room } from "livekit-client";
import { type SyntheticEvent, useState } from "react";
import { roomInAddress } from "../address";
import { useRunning } from "../api/queries";
import type { Me } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { messageOf, Problem } from "../parts/notices";
import { useJoin } from "./joining";
import { MicrophonePart } from "./MicrophonePart";
import { RoomPart } from "./RoomPart";
import { useMicrophone } from "./useMicrophone";

interface LobbyProps {
  me: Me;
  /** The room to join, null if the person has to say which. */
  room: string | null;
  onJoined: (room: Room) => void;
}

const WORDS = {
  coach: {
    title: "Join a conversation",
    lead: "You join as the human coach. The client and the AI coach will hear you.",
    button: "Join",
  },
  open: {
    title: "You were in the middle of it.",
    lead: "Your conversation is still open, and your coach waits for you.",
    button: "Go on talking",
  },
  new: {
    title: "What is on your mind?",
    lead: "Take a breath. Your coach listens, asks, and keeps every word for you to read again.",
    button: "Start talking",
  },
};

/** Before the conversation: is the microphone the right one, and does it hear? */
export function Lobby({ me, room, onJoined }: LobbyProps) {
  const microphone = useMicrophone();
  const [name, setName] = useState(room ?? "");
  const joining = useJoin(me, microphone, onJoined);
  const asCoach = me.scopes.includes("coach");
  const isOpen = useIsOpen(me, room, !asCoach && (me.rooms !== null || room === roomInAddress()));
  const words = WORDS[asCoach ? "coach" : isOpen ? "open" : "new"];
  const enter = (event: SyntheticEvent) => {
    event.preventDefault();
    joining.mutate(name);
  };
  return (
    <form className="lobby" onSubmit={enter}>
      <Heading title="Talk">{words.title}</Heading>
      <p className="lead">{words.lead}</p>
      {(room === null || (me.rooms?.length ?? 0) > 1) && (
        <RoomPart me={me} name={name} onChosen={setName} />
      )}
      <MicrophonePart microphone={microphone} mayType={!asCoach} taken={joining.isPending} />
      {joining.error && <Problem>{messageOf(joining.error)}</Problem>}
      <button type="submit" className="primary large" disabled={joining.isPending}>
        {joining.isPending ? "Joining…" : words.button}
      </button>
    </form>
  );
}

/** Whether a session goes on in `room`: one that this person dropped out of. A new room, that
 * neither the address nor the key names, has none. */
function useIsOpen(me: Me, room: string | null, wanted: boolean): boolean {
  const running = useRunning(me, wanted && room !== null);
  return running.data?.some((session) => session.roomName === room) ?? false;
}
