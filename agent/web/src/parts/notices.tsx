import type { ReactNode } from "react";
import { Heading } from "./Heading";
import { useOffline } from "./useOffline";

/** A whole view that only says something. */
export function Notice({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="notice">
      <Heading>{title}</Heading>
      <p>{children}</p>
    </div>
  );
}

/** That something is on its way, or waits for the network; says so aloud, too. */
export function Waiting({ what }: { what: string }) {
  const offline = useOffline();
  return (
    <p className="waiting" role="status">
      <span className="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {offline ? "There is no network. Waiting for it" : what}…
    </p>
  );
}

/** That something failed, said aloud; `onAgain` tries it once more. */
export function Problem({ children, onAgain }: { children: ReactNode; onAgain?: () => void }) {
  return (
    <div className="problem" role="alert">
      <p>{children}</p>
      {onAgain && (
        <button type="button" onClick={onAgain}>
          Try again
        </button>
      )}
    </div>
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}
