import { useEffect, useRef } from "react";
import type { Line } from "./lines";

const NEAR_END = 80;

/** What both have said so far; stays at its end unless one reads further up. */
export function Captions({ lines }: { lines: Line[] }) {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    const element = box.current;
    if (element && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [lines]);
  const last = lines.length - 1;
  return (
    // not announced as it changes: what is said is heard already
    <div
      ref={box}
      className="captions"
      role="log"
      aria-live="off"
      aria-label="Captions"
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
      }}
    >
      {lines.length === 0 && <p className="captions-empty">What you both say appears here.</p>}
      {lines.map((line, index) => (
        <p
          key={line.id}
          className={["line", line.speaker, index === last && "last", line.open && "open"]
            .filter(Boolean)
            .join(" ")}
          data-speaker={line.speaker}
        >
          <span className="line-speaker">
            {line.name}
            {line.typed && <span className="tag">typed</span>}
          </span>
          <span className="line-text">{line.text}</span>
        </p>
      ))}
    </div>
  );
}
