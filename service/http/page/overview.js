// The overview: what the daemon does, and its models in a list.

import { Chart } from "./chart.js";
import { ask } from "./door.js";
import { h, say, visible } from "./dom.js";
import { NONE, bytes, count, duration, milliseconds, percent, rate } from "./format.js";
import { Live } from "./live.js";
import { ranges } from "./ranges.js";
import { sparkline } from "./sparkline.js";
import { Tiles } from "./tiles.js";

const ROWS = 50;
const EVERY_MS = 2000;
const SORTS = { active: "Most active", name: "Name", samples: "Most samples", error: "Largest error" };

export class Overview {
  constructor(onState) {
    this.onState = onState;
    this.offset = 0;
    this.tiles = new Tiles(["Models", "Samples a second", "Requests a second", "Turn of the loop", "Memory", "Up for"], "The daemon");
    this.rates = new Chart("Samples and requests a second",
      [{ key: "samples_per_s", label: "samples", ink: 1 }, { key: "requests_per_s", label: "requests", ink: 3 }], rate);
    this.latency = new Chart("Latency",
      [{ key: "turn_ms", label: "turn, median", ink: 1 }, { key: "turn_99_ms", label: "99 %", ink: 3 },
        { key: "round_trip_ms", label: "as the door sees it", ink: 2 }], milliseconds);
    this.search = h("input", { type: "search", id: "search", placeholder: "Search by name", autocomplete: "off", spellcheck: "false",
      oninput: () => this.turn(0) });
    this.sort = h("select", { id: "sort", onchange: () => this.turn(0) },
      Object.entries(SORTS).map(([value, text]) => h("option", { value }, text)));
    this.body = h("tbody", {});
    this.found = h("p", { class: "muted small", role: "status" });
    this.back = h("button", { type: "button", onclick: () => this.turn(this.offset - ROWS) }, "Previous");
    this.next = h("button", { type: "button", onclick: () => this.turn(this.offset + ROWS) }, "Next");
    this.ranges = ranges((seconds) => {
      this.seconds = seconds;
      if (this.live) this.draw(this.live);
    });
    this.element = h("div", {},
      h("div", { class: "title" }, h("h1", {}, "Daemon"), this.chips = h("span", { class: "row" }), this.ranges),
      this.tiles.element,
      h("div", { class: "grid" },
        h("section", { class: "card wide-6" }, this.rates.element),
        h("section", { class: "card wide-6" }, this.latency.element),
        h("section", { class: "card" },
          h("div", { class: "head" }, h("h2", { id: "models-title" }, "Models"), this.found),
          h("div", { class: "row" },
            h("label", { class: "hidden-label", for: "search" }, "Search models"), this.search,
            h("label", { class: "hidden-label", for: "sort" }, "Order of models"), this.sort),
          h("div", { class: "scroll" }, h("table", { class: "models", "aria-labelledby": "models-title" },
            h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col", class: "wide-only" }, "Task"),
              h("th", { scope: "col", class: "number" }, "Samples"), h("th", { scope: "col", class: "number wide-only" }, "A second"),
              h("th", { scope: "col" }, "Last 10 min"), h("th", { scope: "col", class: "number" }, "Recent error"))),
            this.body)),
          h("div", { class: "pager" }, this.back, this.place = h("span", { class: "muted small" }), this.next))));
  }

  start() {
    this.live = new Live(null, (live) => this.draw(live), this.onState);
    this.list();
    this.timer = setInterval(() => this.list(), EVERY_MS);
  }

  stop() {
    this.live?.stop();
    clearInterval(this.timer);
    this.rates.remove();
    this.latency.remove();
    this.stopped = true;
  }

  draw({ daemon, status }) {
    this.rates.show(daemon.columns, this.seconds);
    this.latency.show(daemon.columns, this.seconds);
    this.tiles.show({
      "Models": count(status.models),
      "Samples a second": rate(daemon.newest("samples_per_s")),
      "Requests a second": rate(daemon.newest("requests_per_s")),
      "Turn of the loop": milliseconds(daemon.newest("turn_ms")),
      "Memory": bytes(daemon.newest("memory_bytes")),
      "Up for": duration(status.uptime_s),
    });
    const chips = [status.mode, status.version && `version ${status.version}`, status.log_error && `log: ${status.log_error}`];
    const texts = chips.filter(Boolean);
    if (this.chipped !== texts.join()) {
      this.chipped = texts.join();
      this.chips.replaceChildren(...texts.map((text) => h("span", { class: "chip" }, text)));
    }
  }

  turn(offset) {
    this.offset = Math.max(0, offset);
    this.list();
  }

  // Show a page of the list; of several asked for at once the last.
  async list() {
    const turn = (this.asked = (this.asked ?? 0) + 1);
    const query = new URLSearchParams({ search: this.search.value.trim(), sort: this.sort.value, offset: this.offset, limit: ROWS });
    let page;
    try {
      page = await ask(`v1/overview?${query}`);
    } catch {
      return; // the stream of figures says why
    }
    if (turn !== this.asked || this.stopped) return;
    if (this.offset && this.offset >= page.matches) {
      this.turn(Math.floor(Math.max(0, page.matches - 1) / ROWS) * ROWS);
      return;
    }
    this.show(page);
  }

  show({ count: all, seen, matches, rows }) {
    const focused = document.activeElement?.getAttribute("data-model");
    this.body.replaceChildren(...rows.map((row) => line(row)));
    if (focused) this.body.querySelector(`[data-model="${focused}"]`)?.focus();
    const searched = this.search.value.trim() !== "";
    say(this.found, searched ? `${count(matches)} of ${count(all)} models` : `${count(all)} models`);
    if (seen < all && seen >= 20000) say(this.found, `${this.found.textContent}; the list has the first ${count(seen)}`);
    const last = this.offset + rows.length;
    say(this.place, matches ? `${count(this.offset + 1)} – ${count(last)} of ${count(matches)}` : "none");
    this.back.disabled = this.offset === 0;
    this.next.disabled = last >= matches;
  }
}

function line(row) {
  const task = [row.task, row.rule].filter(Boolean).join(", ");
  const curve = sparkline(row.spark, `${rate(row.rate)} samples a second now, at most ${rate(Math.max(...row.spark))}`);
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#/m/${encodeURIComponent(row.name)}`, "data-model": row.name }, row.name),
      row.damage ? h("div", { class: "damaged small" }, visible(row.damage)) : null),
    h("td", { class: "wide-only muted" }, row.loaded ? task : "not in memory"),
    h("td", { class: "number" }, count(row.samples)),
    h("td", { class: "number wide-only" }, rate(row.rate)),
    h("td", {}, curve),
    h("td", { class: "number" }, row.error === null ? NONE : percent(row.error)));
}
