// How much of the last hour the curves show.

import { h } from "./dom.js";

const RANGES = [[300, "5 min"], [900, "15 min"], [3600, "1 hour"]];
const KEY = "onlinesvm-range";

// Buttons for the range; onChoice is called with its seconds, at once too.
export function ranges(onChoice) {
  const kept = Number(sessionStorage.getItem(KEY)) || 300;
  const buttons = RANGES.map(([seconds, text]) => h("button", { type: "button", "aria-pressed": String(seconds === kept),
    onclick: (event) => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      sessionStorage.setItem(KEY, seconds);
      onChoice(seconds);
    } }, text));
  onChoice(kept);
  return h("div", { class: "ranges", role: "group", "aria-label": "Time shown" }, buttons);
}
