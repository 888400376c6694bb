import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import type { Me } from "../api/shapes";
import { Mark } from "./Mark";
import { useScroll } from "./useScroll";

interface FrameProps {
  me: Me;
  talks: boolean;
  reads: boolean;
  onSignOut: () => void;
  children: ReactNode;
}

/** What surrounds each view: where one is, where one can go, who one is. */
export function Frame({ me, talks, reads, onSignOut, children }: FrameProps) {
  const [path] = useLocation();
  useScroll(path);
  const name = me.name ?? me.identity;
  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to content
      </a>
      <header className="masthead">
        <Link className="brand" href={talks ? "/" : "/sessions"}>
          <Mark /> voice-coach
        </Link>
        <nav aria-label="Main">
          {talks && <Tab href="/" current={path === "/"} label="Talk" />}
          {reads && (
            <Tab href="/sessions" current={path.startsWith("/sessions")} label="Sessions" />
          )}
        </nav>
        <div className="who">
          {name && <span className="who-name">{name}</span>}
          <button type="button" className="quiet" onClick={onSignOut}>
            Sign out
          </button>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Tab({ href, current, label }: { href: string; current: boolean; label: string }) {
  return (
    <Link href={href} aria-current={current ? "page" : undefined}>
      {label}
    </Link>
  );
}
