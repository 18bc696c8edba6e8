// The labels of a model of many classes, the most frequent first, with their figures.

import { ask, ofModel } from "./door.js";
import { h, named, say, visible } from "./dom.js";
import { NONE, count, label, percent } from "./format.js";

const SHOWN = 25;

export class Labels {
  // onLabels is called with all of them, the most frequent first.
  constructor(name, task, onLabels) {
    Object.assign(this, { name, onLabels, isMulticlass: task === "multiclass" });
    this.body = h("tbody", {});
    this.found = h("p", { class: "muted small" });
    const heads = ["Label", "Samples", "Recall, recent", "Precision, recent", "F1, recent"];
    if (this.isMulticlass) heads.push("Most confused with");
    this.element = h("div", {}, h("div", { class: "head" }, h("h2", { id: "labels-title" }, "Labels"), this.found),
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "labels-title" }, h("table", { "aria-labelledby": "labels-title" },
        h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col", class: i && i < 5 ? "number" : false }, text)))), this.body)));
  }

  async load() {
    const { labels, next } = await ask(ofModel(this.name, "/labels?count=1000"));
    labels.sort((a, b) => b.weight - a.weight);
    this.onLabels(labels.map((row) => row.label));
    this.body.replaceChildren(...labels.slice(0, SHOWN).map((row) => this.line(row)));
    const all = next === null ? count(labels.length) : `the first ${count(labels.length)}`;
    say(this.found, labels.length > SHOWN ? `the ${SHOWN} most frequent of ${all}` : all);
  }

  line(row) {
    const figures = [row.recent_recall, row.recent_precision, row.recent_f1].map((x) => h("td", { class: "number" }, percent(x)));
    const confused = row.confused_with === null ? NONE : visible(label(row.confused_with));
    return h("tr", {}, h("th", { scope: "row" }, named(label(row.label))), h("td", { class: "number" }, count(row.weight)), figures,
      this.isMulticlass ? h("td", { class: "muted" }, confused) : null);
  }
}
