/** Times and lengths as a person reads them, in the browser's own zone. */

const DAY_MS = 86_400_000;

/** "Today", "Yesterday", or the day with its name; with the year if it is another one. */
export function dayOf(moment: Date, now: Date): string {
  const days = Math.round((startOfDay(now) - startOfDay(moment)) / DAY_MS);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const weekday = moment.toLocaleDateString("en-GB", { weekday: "long" });
  const year = moment.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  const date = moment.toLocaleDateString("en-GB", { day: "numeric", month: "long", ...year });
  return `${weekday}, ${date}`;
}

export function timeOf(moment: Date): string {
  return moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** Minutes and seconds from the session's start: 3:07. */
export function offsetOf(moment: string, start: string): string {
  const seconds = Math.max(0, Math.floor((Date.parse(moment) - Date.parse(start)) / 1000));
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
}

export function lengthOf(minutes: number): string {
  if (minutes < 1) return "Under a minute";
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${minutes / 60} h`;
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** A day of a date field as the moment at which it begins here; null for none. */
export function beginningOf(day: string, plusDays = 0): string | null {
  const [year, month, date] = day.split("-").map(Number);
  if (!year || !month || !date) return null;
  return new Date(year, month - 1, date + plusDays).toISOString();
}

function startOfDay(moment: Date): number {
  return Date.UTC(moment.getFullYear(), moment.getMonth(), moment.getDate());
}
