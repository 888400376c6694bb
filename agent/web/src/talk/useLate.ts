import { useEffect, useState } from "react";

/** How long a coach may take to come, or a session to end. */
const LATE_MS = 10_000;

/** Whether `waiting` has been true for so long that it is worth a word. */
export function useLate(waiting: boolean): boolean {
  const [late, setLate] = useState(false);
  if (late && !waiting) setLate(false);
  useEffect(() => {
    if (!waiting) return;
    const timer = setTimeout(() => setLate(true), LATE_MS);
    return () => clearTimeout(timer);
  }, [waiting]);
  return late;
}
