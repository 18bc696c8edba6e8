// Tiles: a row of figures with their names.

import { h, say } from "./dom.js";

export class Tiles {
  // names: of the figures, in order.
  constructor(names, label) {
    this.values = new Map(names.map((name) => [name, h("dd", {}, "–")]));
    this.element = h("dl", { class: "tiles", "aria-label": label },
      [...this.values].map(([name, value]) => h("div", { class: "tile" }, h("dt", {}, name), value)));
  }

  // Show figures, as texts by name.
  show(figures) {
    for (const [name, text] of Object.entries(figures)) say(this.values.get(name), text);
  }
}
