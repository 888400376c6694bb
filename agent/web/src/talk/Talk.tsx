import { DisconnectReason, type Room } from "livekit-client";
import { useCallback, useState } from "react";
import { useLocation } from "wouter";
import { roomInAddress } from "../address";
import type { Me } from "../api/shapes";
import { Notice } from "../parts/notices";
import { After } from "./After";
import { Call } from "./Call";
import { Lobby } from "./Lobby";
import { firstRoom, nextRoom } from "./rooms";

type Phase =
  | { at: "lobby"; room: string | null }
  | { at: "call"; room: Room }
  | { at: "after"; room: string; sid: string; reason: DisconnectReason | undefined };

/** A conversation from its beginning to what remains of it. */
export function Talk({ me }: { me: Me }) {
  const [, navigate] = useLocation();
  const [phase, setPhase] = useState<Phase>(() => ({
    at: "lobby",
    room: firstRoom(me, roomInAddress()),
  }));
  const [draft, setDraft] = useState(""); // outlives a call that is torn
  const joined = useCallback(
    (room: Room) => {
      // the room stands in the address: who loads the page anew comes back to it, and going back
      // from it does not hang up
      if (roomInAddress() !== room.name) navigate(`/?room=${encodeURIComponent(room.name)}`);
      setPhase({ at: "call", room });
    },
    [navigate],
  );
  const ended = useCallback(
    (room: string, sid: string, reason: DisconnectReason | undefined) => {
      if (!isLost(reason)) {
        setDraft("");
        navigate("/", { replace: true });
      }
      setPhase({ at: "after", room, sid, reason });
    },
    [navigate],
  );
  if (me.rooms?.length === 0 || (me.rooms === null && !choosesRooms(me))) return <NoRoom />;
  switch (phase.at) {
    case "lobby":
      return <Lobby me={me} room={phase.room} onJoined={joined} />;
    case "call":
      return (
        <Call
          room={phase.room}
          mayType={!me.scopes.includes("coach")}
          onEnded={ended}
          draft={draft}
          onDraft={setDraft}
        />
      );
    case "after":
      return (
        <After
          me={me}
          room={phase.room}
          sid={phase.sid}
          reason={phase.reason}
          lost={isLost(phase.reason)}
          onJoined={joined}
          onAgain={() => setPhase({ at: "lobby", room: nextRoom(me, phase.room) })}
        />
      );
  }
}

function NoRoom() {
  return (
    <Notice title="No room yet">
      Your key opens no room to talk in. Ask whoever gave it to you for one that does.
    </Notice>
  );
}

/** Whether nobody meant the connection to end: neither the person, nor who else could. */
function isLost(reason: DisconnectReason | undefined): boolean {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
    case DisconnectReason.DUPLICATE_IDENTITY:
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
    case DisconnectReason.PARTICIPANT_REMOVED:
      return false;
    default:
      return true;
  }
}

function choosesRooms(me: Me): boolean {
  return me.scopes.includes("coach") || me.scopes.includes("admin");
}
