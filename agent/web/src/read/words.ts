/** What the API's words mean to a person. */

import type { Completeness, Me, Role, Session, Status } from "../api/shapes";

export const STATUS: Record<Status, string> = {
  active: "Running",
  completed: "Completed",
  cancelled: "Cut off",
};

export const COMPLETENESS: Record<Completeness, string> = {
  complete: "Complete",
  recovered: "Recovered",
  partial: "Partial",
};

const END_REASON: Record<string, string> = {
  client_left: "The client left",
  coach_ended: "The coach ended it",
  completed_by_ai: "The AI coach ended it",
  room_deleted: "The room was closed",
  worker_shutdown: "The service was stopped",
  worker_lost: "The service was lost",
  max_duration: "The time was up",
  error: "Something failed",
};

export const ROLE: Record<Role, string> = { client: "Client", coach: "Coach", ai: "AI Coach" };

export function endReason(reason: string): string {
  return END_REASON[reason] ?? reason.replaceAll("_", " ");
}

export function speakerOf(message: { speakerName: string; speakerRole: Role }): string {
  return message.speakerName || ROLE[message.speakerRole];
}

export function clientOf(session: Session): string {
  return session.clientName || "Unknown client";
}

/** Whether this person may read sessions of more than one client. */
export function seesOthers(me: Me): boolean {
  return me.scopes.includes("admin") || me.scopes.includes("coach");
}

/** Whether the session is this person's: it is kept under their account, else under its identity. */
export function isOf(session: Session, me: Me): boolean {
  return [me.userId, me.identity].includes(session.clientId);
}
