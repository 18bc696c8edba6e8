// The strongest features each way, with a search by name.

import { Problem, ask, ofModel } from "./door.js";
import { bar, h, named, say, visible } from "./dom.js";
import { asText, count, label, signed } from "./format.js";

const TOP = 15;
const PAUSE_MS = 300;

export class Strongest {
  // isMany: the model has many classes, of which one is chosen.
  constructor(name, figures, isMany = false) {
    Object.assign(this, { name, isMany, position: null, isBusy: false });
    const known = Array.isArray(figures.labels) ? figures.labels : [];
    const sides = isMany ? ["for the label", "against it"]
      : figures.task === "ranking" ? ["ranks higher", "ranks lower"] : [`for ${label(known[1], "+")}`, `for ${label(known[0], "−")}`];
    this.sides = sides.map(visible);
    this.search = h("input", { type: "search", id: "features", placeholder: "Search names of features", maxlength: "200", autocomplete: "off",
      spellcheck: "false", oninput: () => this.later() });
    this.choice = h("select", { id: "of-label", onchange: () => this.load() });
    this.up = h("ul", { class: "weights", "aria-label": `Features ${this.sides[0]}` });
    this.down = h("ul", { class: "weights", "aria-label": `Features ${this.sides[1]}` });
    this.found = h("p", { class: "muted small", role: "status" });
    const choose = isMany ? [h("label", { class: "hidden-label", for: "of-label" }, "Label whose features are shown"), this.choice] : [];
    this.element = h("div", {}, h("div", { class: "head" }, h("h2", {}, "Strongest features"), this.found),
      h("div", { class: "stack" },
        h("div", { class: "row" }, h("label", { class: "hidden-label", for: "features" }, "Search features"), this.search, choose),
        h("div", { class: "sides" },
          h("div", {}, h("h3", { class: "side-up" }, this.sides[0]), this.up),
          h("div", {}, h("h3", { class: "side-down" }, this.sides[1]), this.down))));
  }

  // Offer labels to choose from.
  know(labels) {
    const texts = labels.slice(0, 500).map(asText);
    if (this.offered === texts.join("\n")) return;
    this.offered = texts.join("\n");
    const chosen = this.choice.value;
    this.choice.replaceChildren(...texts.map((text) => h("option", { value: text }, visible(text))));
    if (texts.includes(chosen)) this.choice.value = chosen;
    else if (this.isMany) this.load();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), PAUSE_MS);
  }

  // Show the strongest as of now; of several asked for at once the last.
  async load() {
    if (this.isMany && !this.choice.value) return;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const query = new URLSearchParams({ top: TOP, contains: this.search.value.trim() });
    if (this.isMany) query.set("label", this.choice.value);
    this.isBusy = true;
    try {
      const { strongest, features, position } = await ask(ofModel(this.name, `/inspect?${query}`));
      if (turn !== this.turn) return;
      this.position = position;
      this.show(strongest, features);
    } catch (error) {
      if (turn === this.turn && !(error instanceof Problem && error.code === "BUSY")) say(this.found, error.message);
    } finally {
      this.isBusy = turn !== this.turn && this.isBusy;
    }
  }

  show({ up, down, matches }, features) {
    const most = Math.max(...[...up, ...down].map(([, weight]) => Math.abs(weight)), 1e-9);
    const rows = (pairs) => pairs.map(([name, weight]) => h("li", {}, named(name), bar(Math.abs(weight) / most, weight < 0),
      h("span", { class: "value" }, signed(weight))));
    for (const [list, pairs] of [[this.up, up], [this.down, down]]) {
      list.replaceChildren(...(pairs.length ? rows(pairs) : [h("li", {}, h("span", { class: "muted small" }, "none"))]));
    }
    say(this.found, this.search.value.trim() ? `${count(matches)} of ${count(features)} features` : `${count(features)} features`);
  }
}
