// The confusion matrix of the recent past: labels by prediction.

import { h, say, visible } from "./dom.js";
import { count, label, percent } from "./format.js";

const MOST = 10;

export class Confusion {
  constructor() {
    this.text = h("p", { class: "muted small" }, "no samples yet");
    this.box = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" });
    this.figures = h("dl", { class: "facts" });
    this.element = h("div", { class: "stack" }, h("div", {}, h("div", { class: "head" }, h("h2", {}, "Confusion")), this.box, this.text), this.figures);
  }

  // Show figures below it, as [name, text].
  describe(figures) {
    this.figures.replaceChildren(...figures.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
  }

  // Show weights by label and prediction. Of more labels the most frequent, the rest together.
  show(found) {
    if (!found || !found.weights.flat().some((x) => x > 0)) return;
    const { names, cells } = fewer(found);
    const sums = cells.map((row) => row.reduce((a, b) => a + b, 0));
    const head = h("tr", {}, h("th", { class: "corner", scope: "col" }, "true \\ predicted"),
      names.map((name) => h("th", { scope: "col", title: name }, h("span", {}, name))), h("th", { scope: "col" }, h("span", {}, "recall")));
    const rows = cells.map((row, i) => h("tr", {}, h("th", { scope: "row", title: names[i] }, names[i]), row.map((x, j) => {
      const share = sums[i] > 0 ? x / sums[i] : 0;
      const level = share < 0.005 ? 0 : Math.min(4, Math.ceil(share * (i === j ? 4 : 8)));
      return h("td", { class: level ? `${i === j ? "up" : "down"}-${level}` : false,
        title: `${percent(share)} of ${names[i]} predicted as ${names[j]}` }, count(x));
    }), h("td", {}, sums[i] > 0 ? percent(row[i] / sums[i], 1) : "–")));
    this.box.replaceChildren(h("table", { class: `confusion${names.length <= 3 ? " few" : ""}` }, h("thead", {}, head), h("tbody", {}, rows)));
    const frequent = found.labels.length > MOST ? `The ${MOST} most frequent labels` : "Samples";
    say(this.text, `${frequent} of the recent past, by weight: each sample counts 0.9999 times the one after it.`);
  }
}

function fewer({ labels, weights }) {
  const n = labels.length;
  const sums = weights.map((row) => row.reduce((a, b) => a + b, 0));
  const order = [...labels.keys()].sort((a, b) => sums[b] - sums[a]);
  const kept = (n > 2 ? order : [...labels.keys()]).slice(0, MOST);
  const names = kept.map((i) => visible(label(labels[i], i ? "+" : "−")));
  const rest = [...sums.keys()].filter((i) => !kept.includes(i));
  const pick = (row) => [...kept.map((j) => row[j]), rest.reduce((sum, j) => sum + row[j], 0)];
  const cells = kept.map((i) => pick(weights[i]));
  cells.push(rest.map((i) => pick(weights[i])).reduce((a, b) => a.map((x, k) => x + b[k]), Array(kept.length + 1).fill(0)));
  const isNeeded = cells.at(-1).some((x) => x > 0) || cells.some((row) => row.at(-1) > 0);
  if (isNeeded) names.push("others");
  return isNeeded ? { names, cells } : { names, cells: cells.slice(0, -1).map((row) => row.slice(0, -1)) };
}
