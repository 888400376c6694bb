import { useMediaDeviceSelect } from "@livekit/components-react";

/** Another microphone during a conversation, where there is one. */
export function DeviceChoice({ onProblem }: { onProblem: (error: unknown) => void }) {
  const { devices, activeDeviceId, setActiveMediaDevice } = useMediaDeviceSelect({
    kind: "audioinput",
  });
  if (devices.length < 2) return null;
  return (
    <select
      className="device"
      aria-label="Microphone"
      value={activeDeviceId}
      onChange={(event) => void setActiveMediaDevice(event.target.value).catch(onProblem)}
    >
      {devices.map((device) => (
        <option key={device.deviceId} value={device.deviceId}>
          {device.label || "Microphone"}
        </option>
      ))}
    </select>
  );
}
