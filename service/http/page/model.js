// One model: its figures, its curves, and what it has learned.

import { Calibration } from "./calibration.js";
import { Chart } from "./chart.js";
import { Confusion } from "./confusion.js";
import { ask, ofModel } from "./door.js";
import { h, say, visible } from "./dom.js";
import { NONE, bytes, count, duration, label, loss, milliseconds, percent, rate, short, shortPercent } from "./format.js";
import { Labels } from "./labels.js";
import { Live } from "./live.js";
import { ranges } from "./ranges.js";
import { Strongest } from "./strongest.js";
import { Tiles } from "./tiles.js";
import { Trial } from "./trial.js";

const EVERY_MS = 5000;
const MANY = ["multiclass", "multilabel"];

export class Model {
  constructor(name, onState) {
    this.name = name;
    this.onState = onState;
    this.tiles = new Tiles(["Samples", "Samples a second", "Recent error", "Error, all", "Calibration error", "Features", "Drifts"], "The model");
    this.error = new Chart("Error", [{ key: "recent_error", label: "recent", ink: 1 }, { key: "error", label: "all", ink: 2 }],
      percent, { tall: true, marks: { key: "drifts", label: "drift" }, top: 1, tick: shortPercent });
    this.loss = new Chart("Hinge loss", [{ key: "recent_loss", label: "recent", ink: 1 }, { key: "loss", label: "all", ink: 2 }],
      loss, { marks: { key: "drifts", label: "drift" }, tick: short });
    this.rates = new Chart("Samples a second", [{ key: "samples_per_s", label: "learned", ink: 1 }], rate);
    this.requests = new Chart("Requests a second, all models", [{ key: "requests_per_s", label: "requests", ink: 3 }], rate);
    this.latency = new Chart("Latency of the daemon",
      [{ key: "turn_ms", label: "turn, median", ink: 1 }, { key: "turn_99_ms", label: "99 %", ink: 3 }], milliseconds);
    this.charts = [this.error, this.loss, this.rates, this.requests, this.latency];
    this.calibration = new Calibration();
    this.confusion = new Confusion();
    this.ranges = ranges((seconds) => {
      this.seconds = seconds;
      if (this.live) this.draw(this.live);
    });
    this.chips = h("span", { class: "row" });
    this.facts = h("dl", { class: "facts" });
    this.grid = h("div", { class: "grid" });
    this.element = h("div", {}, h("div", { class: "title" }, h("h1", {}, name), this.chips, this.ranges), this.tiles.element, this.grid);
  }

  // Load the model, then follow it. Throws Problem.
  async start() {
    const figures = await ask(ofModel(this.name));
    if (this.stopped) return;
    this.isMany = MANY.includes(figures.task);
    this.trial = new Trial(this.name, figures, () => this.renew());
    this.strongest = figures.task === "ranking" || !this.isMany ? new Strongest(this.name, figures) : new Strongest(this.name, figures, true);
    this.labels = this.isMany ? new Labels(this.name, figures.task, (found) => {
      this.trial.know(found);
      this.strongest.know(found);
    }) : null;
    const card = (content, width = "") => h("section", { class: `card ${width}` }, content);
    const curves = [this.error, this.loss, this.rates].map((chart) => card(chart.element));
    const cards = [h("div", { class: "stack wide-7" }, curves), card(this.trial.element, "wide-5")];
    if (figures.task === "binary" || figures.task === "multiclass") {
      cards.push(card(this.calibration.element, "wide-5"), card(this.confusion.element, "wide-7"));
    }
    cards.push(card(this.strongest.element));
    if (this.labels) cards.push(card(this.labels.element));
    cards.push(card(this.requests.element, "wide-6"), card(this.latency.element, "wide-6"),
      card(h("details", {}, h("summary", {}, "Configuration and state"), this.facts)));
    this.grid.replaceChildren(...cards);
    this.describe(figures);
    this.live = new Live(this.name, (live) => this.draw(live), this.onState);
    this.timer = setInterval(() => this.renew(), EVERY_MS);
    await Promise.all([this.inspect(), this.strongest.load(), this.labels?.load()]);
  }

  stop() {
    this.stopped = true;
    this.live?.stop();
    clearInterval(this.timer);
    for (const chart of this.charts) chart.remove();
  }

  draw({ model, daemon }) {
    for (const chart of [this.error, this.loss, this.rates]) chart.show(model.columns, this.seconds);
    for (const chart of [this.requests, this.latency]) chart.show(daemon.columns, this.seconds);
    if (model.columns.t.length) {
      this.tiles.show({
        "Samples": count(model.newest("samples")),
        "Samples a second": rate(model.newest("samples_per_s")),
        "Recent error": percent(model.newest("recent_error")),
        "Error, all": percent(model.newest("error")),
        "Calibration error": percent(model.newest("calibration_error")),
        "Features": count(model.newest("features")),
        "Drifts": count(model.newest("drifts")),
      });
    }
  }

  // Ask for the figures that come with no event. What fails is tried again later.
  async renew() {
    if (document.hidden) return;
    try {
      const figures = await ask(ofModel(this.name));
      if (this.stopped) return;
      this.describe(figures);
      await Promise.all([this.inspect(), this.labels?.load()]);
      if (figures.position !== this.strongest.position && !this.strongest.isBusy) await this.strongest.load();
    } catch {
      // the stream of figures says why
    }
  }

  async inspect() {
    const found = await ask(ofModel(this.name, "/inspect?top=0"));
    this.calibration.show(found.calibration, this.isMany);
    this.confusion.show(found.confusion);
  }

  // The figures that say most of a task, by name.
  quality(figures) {
    const known = { Precision: figures.recent_precision, Recall: figures.recent_recall, F1: figures.recent_f1,
      "Balanced error": figures.recent_balanced_error, "Micro F1": figures.recent_micro_f1, "Macro F1": figures.recent_macro_f1 };
    const shown = Object.entries(known).filter(([, x]) => x !== undefined).map(([name, x]) => [name, percent(x)]);
    if (figures.recent_auc !== undefined) shown.push(["Area under the curve", figures.recent_auc?.toFixed(4) ?? NONE]);
    return shown;
  }

  describe(figures) {
    const { config } = figures;
    const labels = typeof figures.labels === "number" ? `${count(figures.labels)} labels`
      : figures.labels?.filter((one) => one !== null).map((one) => label(one)).join(" / ");
    const chips = [figures.task, figures.rule, labels, figures.reads_text ? "reads text" : null].filter(Boolean);
    if (this.chipped !== chips.join()) {
      this.chipped = chips.join();
      this.chips.replaceChildren(...chips.map((text) => h("span", { class: "chip" }, visible(text))));
    }
    if (!this.live?.model.columns.t.length) {
      this.tiles.show({
        "Samples": count(figures.position), "Recent error": percent(figures.recent_error), "Error, all": percent(figures.progressive_error),
        "Calibration error": percent(figures.recent_calibration_error), "Features": count(figures.features), "Drifts": count(figures.drifts),
      });
    }
    this.confusion.describe(this.quality(figures));
    const rows = {
      "Snapshot is old": duration(figures.snapshot_age_s), "Samples in it": count(figures.snapshot_position),
      "Held samples": count(figures.held), "Producers": count(figures.producers), "Kernel": figures.kernel,
      "Samples since a drift": count(figures.samples_since_drift), "Features left out": count(figures.refused_features),
      "Prunes": count(figures.prunes), "Memory of all models": bytes(figures.models_bytes),
      ...config,
    };
    this.facts.replaceChildren(...Object.entries(rows).map(([name, value]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")),
      h("dd", {}, value === null || value === undefined ? NONE : typeof value === "object" ? JSON.stringify(value) : String(value)))));
    say(this.element.querySelector("h1"), this.name);
  }
}
