import type { ReactNode } from "react";
import { Heading } from "./Heading";

/** A whole view that only says something. */
export function Notice({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="notice">
      <Heading>{title}</Heading>
      <p>{children}</p>
    </div>
  );
}

/** That something is on its way; says so aloud, too. */
export function Waiting({ what }: { what: string }) {
  return (
    <p className="waiting" role="status">
      <span className="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {what}…
    </p>
  );
}

export function Problem({ children }: { children: ReactNode }) {
  return (
    <p className="problem" role="alert">
      {children}
    </p>
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}
