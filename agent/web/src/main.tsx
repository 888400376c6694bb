import { QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { takeKey } from "./address";
import { makeQueries } from "./api/queries";
import { App } from "./App";
import "@fontsource-variable/instrument-sans/wght.css";
import "@fontsource-variable/newsreader/wght.css";
import "@fontsource-variable/newsreader/wght-italic.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/talk.css";
import "./styles/read.css";

const place = document.getElementById("page");
if (place) {
  createRoot(place).render(
    <QueryClientProvider client={makeQueries()}>
      <App linkKey={takeKey()} />
    </QueryClientProvider>,
  );
}
