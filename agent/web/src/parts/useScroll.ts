import { useEffect, useRef } from "react";

/** Show each view from its top; who goes back finds it as it was left, by the browser. */
export function useScroll(path: string): void {
  const wentBack = useRef(false);
  const shown = useRef(path);
  useEffect(() => {
    const noted = () => {
      // a step inside one view leads nowhere else
      wentBack.current = location.pathname !== shown.current;
    };
    window.addEventListener("popstate", noted);
    return () => window.removeEventListener("popstate", noted);
  }, []);
  useEffect(() => {
    if (shown.current === path) return;
    shown.current = path;
    if (!wentBack.current && !location.hash) window.scrollTo(0, 0);
    wentBack.current = false;
  }, [path]);
}
