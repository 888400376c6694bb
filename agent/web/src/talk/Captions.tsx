import { useEffect, useRef, useState } from "react";
import type { Line } from "./lines";

const NEAR_END = 80;

/** What both have said so far; stays at its end unless one reads further up. */
export function Captions({ lines }: { lines: Line[] }) {
  const box = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  useEffect(() => {
    const element = box.current;
    if (element && atEnd) element.scrollTop = element.scrollHeight;
  }, [lines, atEnd]);
  const last = lines.length - 1;
  return (
    <div className="captions-place">
      {/* not announced as it changes: what is said is heard already */}
      <div
        ref={box}
        className="captions"
        role="log"
        aria-live="off"
        aria-label="Captions"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          setAtEnd(scrollHeight - scrollTop - clientHeight < NEAR_END);
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
      {!atEnd && (
        <button type="button" className="to-end" onClick={() => setAtEnd(true)}>
          Jump to latest
        </button>
      )}
    </div>
  );
}
