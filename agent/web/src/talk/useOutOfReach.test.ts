import { ConnectionQuality, type Room, RoomEvent } from "livekit-client";
import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { watchReach } from "./useOutOfReach";

test("a coach from whom nothing comes is out of reach, until something does", () => {
  const room = new EventEmitter();
  const agent = { connectionQuality: ConnectionQuality.Good };
  const told: boolean[] = [];
  const stop = watchReach(room as unknown as Room, agent, (lost) => told.push(lost));
  for (const quality of [ConnectionQuality.Lost, ConnectionQuality.Poor]) {
    agent.connectionQuality = quality;
    room.emit(RoomEvent.ConnectionQualityChanged, quality, agent);
  }
  stop();
  expect(told).toEqual([false, true, false]);
  expect(room.listenerCount(RoomEvent.ConnectionQualityChanged)).toBe(0);
});
