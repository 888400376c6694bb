import { expect, test, vi } from "vitest";
import { ApiError } from "./client";
import { makeQueries } from "./queries";
import { watchRefusals } from "./refusals";

test("a key that is good for nothing any more is noticed wherever it is used", async () => {
  const queries = makeQueries();
  const told = vi.fn();
  const stop = watchRefusals(queries, told);
  const failing = (status: number) => () => Promise.reject(new ApiError(status, "No."));
  const read = (status: number) =>
    queries.query({ queryKey: [status], queryFn: failing(status) }).catch(() => undefined);
  const change = () =>
    queries
      .getMutationCache()
      .build(queries, { mutationFn: failing(401) })
      .execute(undefined)
      .catch(() => undefined);
  await read(404);
  expect(told).not.toHaveBeenCalled();
  await read(401);
  expect(told).toHaveBeenCalledTimes(1);
  await change();
  expect(told).toHaveBeenCalledTimes(2);
  stop();
  await change();
  expect(told).toHaveBeenCalledTimes(2);
});
