import { type RefObject, useEffect, useMemo, useRef } from "react";
import { useLocation, useSearch } from "wouter";
import { useSessions } from "../api/queries";
import type { Me, Session } from "../api/shapes";
import { Heading } from "../parts/Heading";
import { messageOf, Problem, Waiting } from "../parts/notices";
import { FilterBar } from "./FilterBar";
import { asAddress, asRequest, type Filters, filtersIn } from "./filters";
import { Row } from "./Row";
import { counted, dayOf } from "./times";

export function SessionsPage({ me }: { me: Me }) {
  const search = useSearch();
  const [, navigate] = useLocation();
  const filters = useMemo(() => filtersIn(search), [search]);
  const list = useSessions(asRequest(filters), me);
  const end = useRef<HTMLDivElement>(null);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = list;
  // what failed is tried again when the person says so: else it would be at once, and so on
  const wanted = hasNextPage && !isFetchingNextPage && !list.isError;
  useInView(end, wanted, () => void fetchNextPage());
  const stuck = list.isFetchNextPageError && !isFetchingNextPage;
  const found = list.data?.pages.flatMap((page) => page.sessions) ?? [];
  return (
    <div className="sessions">
      <Heading>Sessions</Heading>
      <FilterBar
        filters={filters}
        me={me}
        onChange={(next) => navigate(`/sessions${asAddress(next)}`, { replace: true })}
      />
      {list.isPending && <Waiting what="Looking" />}
      {list.error && !list.isFetchNextPageError && (
        <Problem onAgain={() => void list.refetch()}>{messageOf(list.error)}</Problem>
      )}
      {list.data && <Found sessions={found} filters={filters} more={hasNextPage} />}
      <div ref={end} className="list-end">
        {stuck && <Problem onAgain={() => void fetchNextPage()}>{messageOf(list.error)}</Problem>}
        {hasNextPage && !stuck && (
          <button type="button" onClick={() => void fetchNextPage()} disabled={isFetchingNextPage}>
            {isFetchingNextPage ? "Loading…" : "Show more"}
          </button>
        )}
      </div>
    </div>
  );
}

function Found({
  sessions,
  filters,
  more,
}: {
  sessions: Session[];
  filters: Filters;
  more: boolean;
}) {
  const filtered = Object.keys(filters).length > 0;
  return (
    <>
      <p className="found" role="status">
        {sessions.length === 0
          ? filtered
            ? "Nothing matches. Try fewer words, or a longer time."
            : "No sessions yet. They appear here as soon as somebody talks."
          : filtered && `${counted(sessions.length, "session")}${more ? " so far" : ""}`}
      </p>
      {byDay(sessions).map(([day, those]) => (
        <section key={day} aria-label={day} className="day">
          <h2>{day}</h2>
          <ol>
            {those.map((session) => (
              <Row key={session.id} session={session} search={asAddress(filters)} />
            ))}
          </ol>
        </section>
      ))}
    </>
  );
}

function byDay(sessions: Session[]): [string, Session[]][] {
  const now = new Date();
  const days = new Map<string, Session[]>();
  for (const session of sessions) {
    const day = dayOf(new Date(session.startTime), now);
    days.set(day, [...(days.get(day) ?? []), session]);
  }
  return [...days];
}

/** Calls `onSeen` when `place` comes near the window, as often as `wanted` becomes true. */
function useInView(
  place: RefObject<HTMLElement | null>,
  wanted: boolean,
  onSeen: () => void,
): void {
  const seen = useRef(onSeen);
  useEffect(() => {
    seen.current = onSeen;
  });
  useEffect(() => {
    const element = place.current;
    if (!wanted || !element) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) seen.current();
      },
      { rootMargin: "400px" },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [place, wanted]);
}
