import { useRoomContext } from "@livekit/components-react";
import { ConnectionQuality, type Participant, type Room, RoomEvent } from "livekit-client";
import { useEffect, useState } from "react";

/** Tells `told`, now and whenever it changes, whether nothing comes from `agent` any more. */
export function watchReach(
  room: Room,
  agent: Pick<Participant, "connectionQuality">,
  told: (outOfReach: boolean) => void,
): () => void {
  const look = () => told(agent.connectionQuality === ConnectionQuality.Lost);
  look();
  room.on(RoomEvent.ConnectionQualityChanged, look);
  return () => void room.off(RoomEvent.ConnectionQualityChanged, look);
}

/** Whether the coach is in the room for the server alone: it takes 20 s to see that one is gone. */
export function useOutOfReach(agent: Participant | undefined): boolean {
  const room = useRoomContext();
  const [outOfReach, setOutOfReach] = useState(false);
  useEffect(() => (agent ? watchReach(room, agent, setOutOfReach) : undefined), [room, agent]);
  return agent !== undefined && outOfReach;
}
