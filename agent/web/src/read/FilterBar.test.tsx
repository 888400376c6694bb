import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import type { Me, Scope } from "../api/shapes";
import { FilterBar } from "./FilterBar";

function shown(...scopes: Scope[]): string {
  return renderToStaticMarkup(
    <FilterBar filters={{}} me={{ scopes } as unknown as Me} onChange={() => undefined} />,
  );
}

test("people are chosen by who sees several: coaches among clients, administrators among both", () => {
  const fields = ["<span>Client<", "<span>Coach<"];
  const offered = (html: string) => fields.filter((field) => html.includes(field));
  expect(offered(shown("admin"))).toEqual(fields);
  expect(offered(shown("coach"))).toEqual(["<span>Client<"]);
  expect(offered(shown("client"))).toEqual([]);
});
