// Curves over the last minutes: uPlot, in the page's colours, with a legend in words.

import uPlot from "./vendor/uPlot.js";
import { h, say } from "./dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LONGEST_GAP_S = 6; // a second that was missed is no gap
const INKS = { 1: "--up", 2: "--muted", 3: "--down" };

// A figure with curves. series: of each {key, label, ink}; format: makes text of a figure; marks:
// the column whose steps up are marked, with the word for one; tick: makes text of a grid line, where
// that is another. Columns are of the rows that show gets.
export class Chart {
  constructor(title, series, format, { tall = false, marks = null, top = null, tick = format } = {}) {
    Object.assign(this, { title, series, format, marks, top, tick });
    this.values = series.map(() => h("b", {}, "–"));
    const keys = series.map((one, i) => h("span", { class: `ink-${one.ink}` }, one.label, " ", this.values[i]));
    if (marks) keys.push(h("span", { class: "ink-mark" }, marks.label));
    this.box = h("div", { class: `chart${tall ? " tall" : ""}`, role: "img", "aria-label": title });
    this.waiting = h("span", { class: "waiting" }, "waiting for figures");
    this.box.append(this.waiting);
    this.element = h("figure", {},
      h("div", { class: "head" }, h("h2", {}, title), h("div", { class: "legend" }, keys)), this.box);
    this.rows = null;
    this.at = null;
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.box);
    this.repaint = () => this.make();
    dark.addEventListener("change", this.repaint);
  }

  remove() {
    this.observer.disconnect();
    dark.removeEventListener("change", this.repaint);
    this.plot?.destroy();
  }

  // Show the rows (by column) of the last seconds.
  show(columns, seconds) {
    const end = columns.t.at(-1);
    if (end === undefined) return;
    let first = columns.t.findIndex((t) => t > end - seconds);
    if (first < 0) first = 0;
    this.range = [Math.max(end - seconds, Math.min(columns.t[0], end - 20)), end];
    this.rows = [columns.t, ...this.series.map(({ key }) => columns[key] ?? [])].map((c) => c.slice(first));
    this.steps = this.marks ? steps(columns.t.slice(first), (columns[this.marks.key] ?? []).slice(first)) : [];
    this.waiting.hidden = this.rows.slice(1).some((column) => column.some((x) => x !== null));
    if (this.plot) {
      this.plot.setData(this.rows, false);
      this.plot.setScale("x", { min: this.range[0], max: this.range[1] });
    } else this.make();
    this.tell();
  }

  // Say the figures at the cursor, the newest where there is none.
  tell() {
    const shown = this.series.map(({ label }, i) => {
      const column = this.rows[i + 1];
      const text = this.format((this.at === null ? column.at(-1) : column[this.at]) ?? null);
      say(this.values[i], text);
      return `${label} ${text}`;
    });
    if (this.at === null) this.box.setAttribute("aria-label", `${this.title}: ${shown.join(", ")}`);
  }

  fit() {
    if (this.plot && this.box.clientWidth) {
      this.plot.setSize({ width: this.box.clientWidth, height: this.box.clientHeight });
    }
  }

  make() {
    if (!this.rows || !this.box.clientWidth) return;
    this.plot?.destroy();
    const axis = {
      stroke: colour("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: colour("--line"), width: 1 },
    };
    const { tick, top } = this;
    this.plot = new uPlot({
      width: this.box.clientWidth,
      height: this.box.clientHeight,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      padding: [8, 26, 0, 0],
      scales: {
        x: { time: true, range: () => this.range },
        y: { range: (_, low, high) => [0, Math.min(top ?? Infinity, high > 0 ? high * 1.12 : 1)] },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 90, size: 28, values: (_, splits) => splits.map(clock) },
        { ...axis, size: 58, space: 34, values: (_, splits) => splits.map((x) => tick(x)) },
      ],
      series: [{}, ...this.series.map(({ label, ink }) => ({
        label, stroke: colour(INKS[ink]), width: ink === 2 ? 1.5 : 2, dash: ink === 2 ? [5, 4] : [],
        gaps: (plot, _, __, ___, gaps) => gaps.filter(([from, to]) => plot.posToVal(to / devicePixelRatio, "x") - plot.posToVal(from / devicePixelRatio, "x") > LONGEST_GAP_S),
        points: { show: false },
      }))],
      hooks: {
        draw: [(plot) => this.mark(plot)],
        setCursor: [(plot) => {
          this.at = plot.cursor.idx ?? null;
          this.tell();
        }],
      },
    }, this.rows, this.box);
  }

  mark(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour("--mark");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const t of this.steps) {
      const x = Math.round(plot.valToPos(t, "x", true));
      if (x < bbox.left) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }
}

// Where a count has risen.
function steps(seconds, counts) {
  const found = [];
  let before = null;
  counts.forEach((x, i) => {
    if (x === null) return;
    if (before !== null && x > before) found.push(seconds[i]);
    before = x;
  });
  return found;
}

function clock(t) {
  const time = new Date(t * 1000);
  const two = (x) => String(x).padStart(2, "0");
  const seconds = time.getSeconds() ? `:${two(time.getSeconds())}` : "";
  return `${two(time.getHours())}:${two(time.getMinutes())}${seconds}`;
}
