// An explanation: texts shaded by what each token adds, then the strongest parts.

import { bar, h, named, visible } from "./dom.js";
import { signed } from "./format.js";

const SHOWN = 12;
const LONGEST_TEXT = 20000;

// The elements of an explanation. sides: what parts above and below 0 speak for; about: of many
// classes, the label whose score is explained.
export function explained({ fields, contributions, bias, margin }, { up, down }, about) {
  const texts = fields.filter((field) => field.text.length);
  const most = Math.max(...texts.flatMap((field) => field.text.map((part) => Math.abs(part.contribution))), 1e-9);
  const parts = contributions.filter((part) => part.contribution !== 0);
  parts.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const legend = h("p", { class: "small" }, about === null ? "" : "Why: ", h("span", { class: "up-3 key" }, visible(up)), " ",
    h("span", { class: "down-3 key" }, visible(down)));
  return h("div", { class: "stack" }, texts.length || parts.length ? legend : h("p", { class: "muted small" }, "The model knows none of these features."),
    texts.map((field) => shaded(field, most)), parts.length ? weights(parts.slice(0, SHOWN), parts.length) : "",
    h("p", { class: "muted small" }, `Margin ${signed(margin)}, of it bias ${signed(bias)}`));
}

function shaded(field, most) {
  let left = LONGEST_TEXT;
  const spans = [];
  for (const { text, contribution } of field.text) {
    if (left <= 0) break;
    const level = Math.round((4 * Math.abs(contribution)) / most);
    const side = contribution > 0 ? "up" : "down";
    const shown = text.slice(0, left);
    spans.push(level ? h("span", { class: `${side}-${level}`, title: signed(contribution) }, shown) : shown);
    left -= text.length;
  }
  const name = field.field ? h("h3", {}, visible(field.field)) : null;
  return h("div", {}, name, h("div", { class: "shaded", tabindex: "0", role: "group", "aria-label": "The text, shaded by what each part adds" }, spans));
}

// Parts with their bars, the strongest first.
function weights(parts, all) {
  const most = Math.abs(parts[0].contribution);
  const rows = parts.map(({ name, contribution }) => h("li", {}, named(name), bar(Math.abs(contribution) / most, contribution < 0),
    h("span", { class: "value" }, signed(contribution))));
  const more = all > parts.length ? h("p", { class: "muted small" }, `and ${all - parts.length} more`) : null;
  return h("div", {}, h("ul", { class: "weights", "aria-label": "Strongest parts" }, rows), more);
}
