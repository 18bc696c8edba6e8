// A sparkline: a small curve without axes.

import { svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 26;

// A curve of numbers from 0, over the whole width.
export function sparkline(numbers, label) {
  const most = Math.max(...numbers, 1e-9);
  const step = WIDTH / (numbers.length - 1);
  const points = numbers.map((x, i) => `${(i * step).toFixed(1)},${(HEIGHT - 2 - (x / most) * (HEIGHT - 5)).toFixed(1)}`);
  const area = `M0,${HEIGHT} L${points.join(" L")} L${WIDTH},${HEIGHT} Z`;
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("path", { d: area }), svg("polyline", { points: points.join(" ") }));
}
