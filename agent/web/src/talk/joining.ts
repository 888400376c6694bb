/** Getting into a room: with a ticket of the API, and a microphone if there is one. */

import { type LocalAudioTrack, Room, Track } from "livekit-client";
import { ticketFor } from "../api/client";
import type { Me } from "../api/shapes";

/** Join `room`; the microphone becomes the room's. Rejects with why not. */
export async function join(
  name: string,
  me: Me,
  microphone: LocalAudioTrack | null,
): Promise<Room> {
  const ticket = await ticketFor(name, me);
  const room = new Room({ stopLocalTrackOnUnpublish: true });
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
