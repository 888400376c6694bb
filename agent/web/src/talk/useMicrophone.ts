import { createLocalAudioTrack, type LocalAudioTrack } from "livekit-client";
import { useCallback, useEffect, useRef, useState } from "react";
import { explained } from "./explained";

export interface Microphone {
  track: LocalAudioTrack | null;
  devices: MediaDeviceInfo[];
  chosen: string;
  /** Why there is none. */
  problem: string | null;
  /** Ask for it, which may ask the person; gives the track, or null if there is none. */
  open: (device?: string) => Promise<LocalAudioTrack | null>;
  /** Let whoever took the track have it: it is not stopped with this view. */
  handOver: () => void;
}

/** The microphone before a conversation; opened unasked where the person has agreed before. */
export function useMicrophone(): Microphone {
  const [track, setTrack] = useState<LocalAudioTrack | null>(null);
  const [devices, setDevices] = useState<MediaDeviceInfo[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const held = useRef<LocalAudioTrack | null>(null);

  const open = useCallback(async (device?: string) => {
    held.current?.stop();
    try {
      const opened = await createLocalAudioTrack({
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        ...(device && { deviceId: { exact: device } }),
      });
      held.current = opened;
      setProblem(null);
    } catch (error) {
      held.current = null;
      setProblem(explained(error));
    }
    setTrack(held.current);
    setDevices(await inputs());
    return held.current;
  }, []);

  useEffect(() => {
    let wanted = true;
    void allowedBefore().then((allowed) => {
      if (wanted && allowed && !held.current) void open();
    });
    const changed = () => void inputs().then(setDevices);
    const media = navigator.mediaDevices as MediaDevices | undefined;
    media?.addEventListener("devicechange", changed);
    return () => {
      wanted = false;
      held.current?.stop();
      media?.removeEventListener("devicechange", changed);
    };
  }, [open]);

  const handOver = useCallback(() => {
    held.current = null;
  }, []);
  const chosen = track?.mediaStreamTrack.getSettings().deviceId ?? "";
  return { track, devices, chosen, problem, open, handOver };
}

async function allowedBefore(): Promise<boolean> {
  try {
    const name = "microphone" as PermissionName; // not every browser knows it
    return (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false;
  }
}

async function inputs(): Promise<MediaDeviceInfo[]> {
  const media = navigator.mediaDevices as MediaDevices | undefined;
  const all = (await media?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === "audioinput" && device.deviceId);
}
