import type { Session } from "../api/shapes";
import { COMPLETENESS, STATUS } from "./words";

/** What is out of the ordinary about a session. */
export function Badges({ session }: { session: Session }) {
  const { status, completeness } = session;
  return (
    <>
      {status !== "completed" && <span className={`badge ${status}`}>{STATUS[status]}</span>}
      {completeness && completeness !== "complete" && (
        <span className={`badge ${completeness}`}>{COMPLETENESS[completeness]}</span>
      )}
    </>
  );
}
