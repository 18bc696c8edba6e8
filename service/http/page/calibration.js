// The calibration diagram: how often it came true, by the probability that was predicted.

import { h, say, svg } from "./dom.js";
import { count, percent } from "./format.js";

const SIZE = 300;
const LEFT = 44;
const BOTTOM = 40;
const TOP = 8;
const STRIP = 34;
const LEAST = 0.003; // of all samples: the curve leaves out bins of fewer, which say little

export class Calibration {
  constructor() {
    this.text = h("p", { class: "muted small" }, "no samples yet");
    this.box = h("div", {});
    this.element = h("figure", {}, h("div", { class: "head" }, h("h2", {}, "Calibration")), this.box, this.text);
  }

  // Show bins, each of [weight, mean probability, share that came true].
  show(bins, isMany) {
    if (!bins?.length) return;
    const total = bins.reduce((sum, [weight]) => sum + weight, 0);
    const off = bins.reduce((sum, [weight, p, share]) => sum + weight * Math.abs(p - share), 0) / total;
    const most = Math.max(...bins.map(([weight]) => weight));
    const x = (p) => LEFT + p * SIZE;
    const y = (p) => TOP + (1 - p) * SIZE * 0.72;
    const floor = y(0) + STRIP;
    const ticks = [0, 0.25, 0.5, 0.75, 1];
    const said = isMany ? "predicted labels that were right" : "samples of the second label";
    this.box.replaceChildren(svg("svg", { class: "diagram", viewBox: `0 0 ${LEFT + SIZE + 12} ${floor + BOTTOM - 6}`, role: "img",
      "aria-label": `Calibration: ${bins.map(([, p, share]) => `${percent(p, 0)} predicted, ${percent(share, 0)} came true`).join("; ")}` },
    ticks.map((p) => [svg("line", { class: "axis", x1: x(0), x2: x(1), y1: y(p), y2: y(p) }),
      svg("text", { x: LEFT - 7, y: y(p) + 4, "text-anchor": "end" }, `${100 * p} %`),
      svg("text", { x: x(p), y: floor + 15, "text-anchor": "middle" }, `${100 * p} %`)]),
    bins.map(([weight, p]) => {
      const tall = Math.max(1, (STRIP - 6) * weight / most);
      return svg("rect", { class: "weight", x: x(p) - 7, y: floor - tall, width: 14, height: tall });
    }),
    svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    svg("polyline", { class: "curve", points: bins.filter(([weight]) => weight >= LEAST * total).map(([, p, share]) => `${x(p)},${y(share)}`).join(" ") }),
    bins.map(([weight, p, share]) => svg("circle", { cx: x(p), cy: y(share), r: 1.5 + 4 * Math.sqrt(weight / most) },
      svg("title", {}, `${percent(p)} predicted, ${percent(share)} came true, of ${count(weight)}`))),
    svg("text", { x: x(0.5), y: floor + 30, "text-anchor": "middle" }, "predicted probability")));
    say(this.text, `The share of ${said}, by their probability; off by ${percent(off)} on average. Below: how many.`);
  }
}
