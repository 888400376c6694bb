/** The list's filters, as they stand in the page's address and as the API takes them. */

import { beginningOf } from "./times";

export const FILTERS = ["text", "client", "coach", "status", "completeness", "from", "to"] as const;
export type Filter = (typeof FILTERS)[number];
export type Filters = Partial<Record<Filter, string>>;

export function filtersIn(search: string): Filters {
  const given = new URLSearchParams(search);
  const filters: Filters = {};
  for (const name of FILTERS) {
    const value = given.get(name)?.trim();
    if (value) filters[name] = value;
  }
  return filters;
}

/** The address' query, with its question mark; empty for no filter. */
export function asAddress(filters: Filters): string {
  return asQuery(Object.entries(filters));
}

/** The API's query: days become the moments at which they begin and end here. */
export function asRequest(filters: Filters): string {
  const { from, to, ...others } = filters;
  const since = from ? beginningOf(from) : null;
  const until = to ? beginningOf(to, 1) : null;
  return asQuery([...Object.entries(others), ["from", since], ["to", until]]);
}

function asQuery(pairs: [string, string | null | undefined][]): string {
  const query = new URLSearchParams(pairs.filter((pair): pair is [string, string] => !!pair[1]));
  return query.size ? `?${query.toString()}` : "";
}
