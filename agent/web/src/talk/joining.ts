/** Getting into a room: with a ticket of the API, and a microphone if there is one. */

import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { type LocalAudioTrack, Room, Track } from "livekit-client";
import { ticketFor } from "../api/client";
import type { Me } from "../api/shapes";
import type { Microphone } from "./useMicrophone";

/** Joining as a view does it: with its microphone, which becomes the room's. */
export function useJoin(me: Me, microphone: Microphone, onJoined: (room: Room) => void) {
  const isShown = useRef(true);
  useEffect(() => {
    isShown.current = true;
    return () => void (isShown.current = false);
  }, []);
  return useMutation({
    mutationFn: async (name: string) => {
      const track = microphone.track ?? (await microphone.open());
      const room = await join(name, me, track);
      microphone.handOver();
      return room;
    },
    // without a network at once an error, not a wait for one
    networkMode: "always",
    onSuccess: (room) => {
      if (isShown.current) onJoined(room);
      else void room.disconnect(); // one has gone elsewhere meanwhile
    },
  });
}

/** Join `room`; the microphone becomes the room's. Rejects with why not. */
async function join(name: string, me: Me, microphone: LocalAudioTrack | null): Promise<Room> {
  const ticket = await ticketFor(name, me);
  // a window that is closed or loaded anew has not left: its session waits for it a while
  const room = new Room({ stopLocalTrackOnUnpublish: true, disconnectOnPageLeave: false });
  try {
    await room.connect(ticket.server_url, ticket.participant_token);
    if (microphone) {
      await room.localParticipant.publishTrack(microphone, { source: Track.Source.Microphone });
    }
    // within the click that asked for it: later a browser may not let it be heard
    void room.startAudio().catch(() => undefined);
  } catch (error) {
    await room.disconnect();
    throw error;
  }
  return room;
}
