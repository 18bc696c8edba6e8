// The trial: a sample is typed, predicted and explained, and the model taught its label.

import { Problem, ask, ofModel } from "./door.js";
import { bar, h, say, visible } from "./dom.js";
import { explained } from "./explanation.js";
import { chance, label, signed } from "./format.js";
import { sampleOf } from "./sample.js";

const PAUSE_MS = 300;
const SHOWN = 5;

export class Trial {
  // figures: of the model; onTaught is called once it has learned a sample from here.
  constructor(name, figures, onTaught) {
    Object.assign(this, { name, onTaught, task: figures.task });
    this.readsText = figures.reads_text;
    this.known = Array.isArray(figures.labels) ? figures.labels.filter((one) => one !== null) : [];
    const hint = this.readsText ? 'A text; or JSON, as ["free", "prize"] or {"text": "free", "length": 2.5}'
      : 'Names, as free prize:2; or JSON, as ["free", "prize"] or {"length": 2.5}';
    this.input = h("textarea", { id: "sample", spellcheck: "false", "aria-describedby": "sample-hint",
      placeholder: this.readsText ? "Type a text to see what the model makes of it" : "Type the names of features",
      oninput: () => this.later() });
    this.fault = h("p", { class: "fault small", role: "alert", hidden: true });
    this.answer = h("div", { class: "answer" });
    this.spoken = h("p", { class: "hidden-label", role: "status" });
    this.said = h("p", { class: "said small", role: "status", hidden: true });
    this.buttons = h("span", { class: "row" });
    this.list = h("datalist", { id: "known-labels" });
    this.label = h("input", { id: "label", list: "known-labels", autocomplete: "off", spellcheck: "false",
      placeholder: this.task === "multilabel" ? "labels, with commas between" : "another label" });
    const form = h("form", { class: "row", onsubmit: (event) => {
      event.preventDefault();
      if (this.label.value.trim()) this.teach(this.typed());
    } }, h("label", { class: "hidden-label", for: "label" }, "Label to learn"), this.label, this.list,
    h("button", { class: "main fixed", type: "submit" }, "Learn"));
    this.lesson = h("div", { class: "teach", hidden: true }, h("h3", {}, "What is right? The model learns it at once"), this.buttons, form, this.said);
    this.element = h("div", { class: "stack" },
      h("div", {}, h("div", { class: "head" }, h("h2", {}, h("label", { for: "sample" }, "Try it"))), this.input,
        h("p", { class: "muted small", id: "sample-hint" }, hint)),
      this.fault, this.spoken, this.answer, this.lesson);
    this.offer();
  }

  // Know labels, the most frequent first.
  know(labels) {
    this.known = labels;
    this.offer();
  }

  offer() {
    this.list.replaceChildren(...this.known.slice(0, 200).map((one) => h("option", { value: label(one) })));
  }

  typed() {
    const text = this.label.value.trim();
    return this.task === "multilabel" ? text.split(",").map((one) => one.trim()).filter(Boolean) : text;
  }

  later() {
    clearTimeout(this.timer);
    this.said.hidden = true;
    this.explains = null;
    this.timer = setTimeout(() => this.predict(), PAUSE_MS);
  }

  // Predict and explain what is typed; of several asked for at once the last is shown.
  async predict() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const text = this.input.value;
    this.fault.hidden = true;
    if (!text.trim()) {
      this.answer.replaceChildren();
      this.lesson.hidden = true;
      return;
    }
    try {
      const features = sampleOf(text, this.readsText);
      const predicted = await this.predicted(features);
      const about = this.explains === null || this.explains === undefined ? {} : { label: this.explains };
      const explanation = await ask(ofModel(this.name, "/explain"), { body: { features, ...about } });
      if (turn !== this.turn) return;
      this.shown = predicted;
      this.show(predicted, explanation);
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
  }

  // The labels with their probabilities, the best first, and those that are predicted.
  async predicted(features) {
    const path = ofModel(this.name, "/predict");
    if (this.task === "ranking") {
      const { margin } = await ask(path, { body: { features, output: "margin" } });
      return { margin, labels: [], pairs: [] };
    }
    const found = await ask(path, { body: { features, top: SHOWN } });
    let pairs = found.probabilities ?? [[found.label, found.probability]];
    let labels = pairs.length && pairs[0][0] !== null ? [pairs[0][0]] : [];
    if (this.task === "multilabel") {
      const { label: best, probabilities } = await ask(path, { body: { features } });
      labels = probabilities ? probabilities.map(([one]) => one) : best === null ? [] : [best];
    } else if (this.task === "binary" && pairs.length === 1) {
      const other = this.known.find((one) => String(one) !== String(pairs[0][0]));
      if (other !== undefined && labels.length) pairs = [pairs[0], [other, 1 - pairs[0][1]]];
    }
    return { labels, pairs: pairs.filter(([one]) => one !== null) };
  }

  show({ labels, pairs, margin }, explanation) {
    const isMany = this.task === "multiclass" || this.task === "multilabel";
    const verdict = this.task === "ranking" ? `score ${signed(margin)}` : labels.length ? labels.map(label).join(", ") : "no label";
    const about = isMany ? label(this.explains ?? explanation.label) : null;
    const sure = pairs.length && labels.length === 1 ? `with ${chance(pairs[0][1])}` : "";
    this.answer.replaceChildren(
      h("div", { class: "verdict" }, h("span", { class: "muted" }, this.task === "ranking" ? "Ranked by its" : "Predicted"),
        h("strong", { id: "verdict" }, visible(verdict)), h("span", { class: "muted" }, sure)),
      pairs.length ? h("ul", { class: "chances", "aria-label": "Probabilities" }, pairs.map((pair) => this.chance(pair, about))) : "",
      explained(explanation, isMany ? { up: about, down: "against it" } : this.sides(), about));
    say(this.spoken, `Predicted ${visible(verdict)} ${sure}`);
    this.lesson.hidden = this.task === "ranking";
    this.offerButtons(pairs);
  }

  chance([one, probability], about) {
    const text = visible(label(one));
    const isMany = about !== null;
    const shown = isMany ? h("button", { type: "button", title: `Explain ${text}`, "aria-pressed": String(text === visible(about)),
      onclick: () => {
        this.explains = one;
        this.predict();
      } }, text) : h("span", { class: "name" }, text);
    const isDown = this.task === "binary" && String(one) === String(this.known[0]);
    return h("li", {}, shown, bar(probability, isDown), h("span", { class: "number" }, chance(probability)));
  }

  // Of a binary model what parts above and below 0 speak for.
  sides() {
    const [down, up] = this.known.length === 2 ? this.known.map((one) => label(one)) : ["−", "+"];
    return this.task === "ranking" ? { up: "higher", down: "lower" } : { up, down };
  }

  offerButtons(pairs) {
    const offered = this.task === "binary" ? this.known : pairs.map(([one]) => one);
    const texts = offered.map((one) => label(one));
    if (this.offered === texts.join("\n")) return;
    this.offered = texts.join("\n");
    this.buttons.replaceChildren(...offered.map((one) => h("button", { type: "button",
      onclick: () => this.teach(this.task === "multilabel" ? [one] : one) }, visible(label(one)))));
  }

  // Learn the sample that is typed, as it is now.
  async teach(taught) {
    clearTimeout(this.timer);
    this.fault.hidden = true;
    try {
      const features = sampleOf(this.input.value, this.readsText);
      const before = await this.predicted(features);
      await ask(ofModel(this.name, "/learn"), { body: { features, label: taught } });
      if (!this.known.some((one) => label(one) === label(taught)) && this.task === "binary") await this.recall();
      this.explains = null;
      await this.predict();
      this.label.value = "";
      say(this.said, this.outcome(before, this.shown, taught));
      this.said.hidden = false;
      this.onTaught();
    } catch (error) {
      this.fail(error);
    }
  }

  // Ask which labels the model has by now.
  async recall() {
    const { labels } = await ask(ofModel(this.name));
    this.know(labels.filter((one) => one !== null));
  }

  outcome(before, now, taught) {
    const of = ({ pairs }) => pairs.find(([one]) => String(one) === String(taught))?.[1];
    const [was, is] = [of(before), of(now)];
    const learned = `Learned as ${visible(label(taught))}.`;
    return was === undefined || is === undefined ? learned : `${learned} Its probability: ${chance(was)}, now ${chance(is)}`;
  }

  fail(error) {
    const text = error instanceof Problem && error.status === 403 ? "This token may only read" : error.message;
    say(this.fault, error.at ? `${text} (at ${error.at})` : text);
    this.fault.hidden = false;
  }
}
