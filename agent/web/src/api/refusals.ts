/** Notices when the key of this browser is good for nothing any more: expired, or revoked. */

import type { QueryClient } from "@tanstack/react-query";
import { ApiError } from "./client";

/** Tell `told` whenever the API does not know the caller; gives what ends this. */
export function watchRefusals(queries: QueryClient, told: () => void): () => void {
  const look = (error: unknown) => {
    if (error instanceof ApiError && error.status === 401) told();
  };
  const endings = [
    queries.getQueryCache().subscribe((event) => {
      if (event.type === "updated" && event.action.type === "error") look(event.action.error);
    }),
    queries.getMutationCache().subscribe((event) => {
      if (event.type === "updated" && event.action.type === "error") look(event.action.error);
    }),
  ];
  return () => endings.forEach((end) => end());
}
