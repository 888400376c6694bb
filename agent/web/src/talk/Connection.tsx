import { useConnectionState } from "@livekit/components-react";
import { ConnectionState } from "livekit-client";
import { useEffect, useState } from "react";
import { useOffline } from "../parts/useOffline";

/** How long it is said that the connection is back. */
const BACK_MS = 4000;

/** Whether the network is away, or LiveKit is being sought. */
export function useLost(): boolean {
  const state = useConnectionState();
  // LiveKit takes up to 15 s to notice; the browser often knows at once
  const offline = useOffline();
  return (
    offline ||
    state === ConnectionState.Reconnecting ||
    state === ConnectionState.SignalReconnecting
  );
}

/** Says, aloud too, that the connection is gone and sought, and when it is back. */
export function Connection({ lost }: { lost: boolean }) {
  const back = useJustBack(lost);
  return (
    <div role="alert" className="connection">
      {lost && (
        <p className="lost">The connection is lost. Reconnecting… What was said so far is kept.</p>
      )}
      {back && <p>You are connected again.</p>}
    </div>
  );
}

/** True for a while after `lost` has become false again. */
function useJustBack(lost: boolean): boolean {
  const [state, setState] = useState<"steady" | "lost" | "back">("steady");
  if (lost && state !== "lost") setState("lost");
  if (!lost && state === "lost") setState("back");
  useEffect(() => {
    if (state !== "back") return;
    const timer = setTimeout(() => setState("steady"), BACK_MS);
    return () => clearTimeout(timer);
  }, [state]);
  return state === "back";
}
