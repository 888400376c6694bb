import { Component, type ReactNode } from "react";
import { Heading } from "./Heading";

/** Stands in for a view that broke, or whose file is gone since the page was renewed. */
export class Rescue extends Component<{ children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <div className="notice">
        <Heading>This view cannot be shown</Heading>
        <p>The page may have been renewed since you opened it, or the network is away.</p>
        <div>
          <button type="button" className="primary" onClick={() => location.reload()}>
            Load the page again
          </button>
        </div>
      </div>
    );
  }
}
