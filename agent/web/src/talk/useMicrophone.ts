import { createLocalAudioTrack, type LocalAudioTrack } from "livekit-client";
import { useCallback, useEffect, useState } from "react";
import { explained } from "./explained";
import { Holder } from "./holding";

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
  const [holder] = useState(() => new Holder<LocalAudioTrack>());

  const open = useCallback(
    async (device?: string) => {
      try {
        await holder.open(() =>
          createLocalAudioTrack({
            echoCancellation: true,
            noiseSuppression: true,
            autoGainControl: true,
            ...(device && { deviceId: { exact: device } }),
          }),
        );
        setProblem(null);
      } catch (error) {
        setProblem(explained(error));
      }
      setTrack(holder.held);
      setDevices(await inputs());
      return holder.held;
    },
    [holder],
  );

  useEffect(() => {
    let wanted = true;
    void allowedBefore().then((allowed) => {
      if (wanted && allowed && !holder.isUsed) void open();
    });
    const changed = () => void inputs().then(setDevices);
    const media = navigator.mediaDevices as MediaDevices | undefined;
    media?.addEventListener("devicechange", changed);
    return () => {
      wanted = false;
      holder.release();
      media?.removeEventListener("devicechange", changed);
    };
  }, [holder, open]);

  const handOver = useCallback(() => holder.handOver(), [holder]);
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
