/** What is opened for a view, and closed with it. */

interface Stoppable {
  stop: () => void;
}

/** Holds the last thing that was asked for. What an earlier opening still brings, or one that
 * comes after its release, is stopped: nothing stays open that nobody holds. */
export class Holder<Held extends Stoppable> {
  held: Held | null = null;
  private openings = 0;
  private latest: Promise<Held | null> = Promise.resolve(null);

  /** Whether anything was ever asked for. */
  get isUsed(): boolean {
    return this.openings > 0;
  }

  /** Let go of what is held, and hold what `ask` brings, or what is asked for meanwhile; gives
   * that, null if it was released. Rejects as `ask` does. */
  open(ask: () => Promise<Held>): Promise<Held | null> {
    this.release();
    const opening = this.openings;
    this.latest = ask().then(
      (opened) => {
        if (opening === this.openings) return (this.held = opened);
        opened.stop();
        return this.latest;
      },
      (error: unknown) => {
        if (opening === this.openings) throw error;
        return this.latest;
      },
    );
    return this.latest;
  }

  /** Stop what is held, and what is on its way. */
  release(): void {
    this.openings += 1;
    this.held?.stop();
    this.held = null;
    this.latest = Promise.resolve(null);
  }

  /** Leave what is held to whoever took it. */
  handOver(): void {
    this.held = null;
  }
}
