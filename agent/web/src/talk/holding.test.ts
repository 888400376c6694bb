import { expect, test, vi } from "vitest";
import { Holder } from "./holding";

function opening() {
  let resolve: (thing: { stop: () => void }) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const coming = new Promise<{ stop: () => void }>((...ends) => ([resolve, reject] = ends));
  return { ask: () => coming, resolve, reject, thing: { stop: vi.fn() } };
}

test("of two openings at once the later one is held, whichever comes first", async () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const holder = new Holder();
    const both = [opening(), opening()];
    const given = both.map(({ ask }) => holder.open(ask));
    for (const place of order) both[place]?.resolve(both[place].thing);
    const [first, second] = both.map(({ thing }) => thing);
    expect(await Promise.all(given)).toEqual([second, second]);
    expect(first?.stop).toHaveBeenCalledOnce();
    expect(second?.stop).not.toHaveBeenCalled();
    expect(holder.held).toBe(second);
  }
});

test("what comes after its view has gone is stopped", async () => {
  const holder = new Holder();
  const { ask, resolve, thing } = opening();
  const given = holder.open(ask);
  holder.release();
  resolve(thing);
  expect(await given).toBeNull();
  expect(thing.stop).toHaveBeenCalledOnce();
  expect(holder.held).toBeNull();
});

test("an opening that fails after another began is none of its concern", async () => {
  const holder = new Holder();
  const [early, late] = [opening(), opening()];
  const given = [holder.open(early.ask), holder.open(late.ask)];
  early.reject(new Error("busy"));
  late.resolve(late.thing);
  expect(await Promise.all(given)).toEqual([late.thing, late.thing]);
});

test("what was handed over is not stopped with its view", async () => {
  const holder = new Holder();
  const { ask, resolve, thing } = opening();
  resolve(thing);
  await holder.open(ask);
  holder.handOver();
  holder.release();
  expect(thing.stop).not.toHaveBeenCalled();
});
