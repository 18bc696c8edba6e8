// Figures as people read them.

const UNITS = ["", "k", "M", "G", "T"];

export const NONE = "–";

// 12,345 up to a million, then 1.23 M.
export function count(x) {
  if (x === null || x === undefined) return NONE;
  return Math.abs(x) < 1e6 ? Math.round(x).toLocaleString("en") : scaled(x, 1000, "");
}

// So many a second.
export function rate(x) {
  if (x === null || x === undefined) return NONE;
  if (x < 0.05) return "0";
  if (x >= 10000) return scaled(x, 1000, "");
  return x >= 100 || x === 0 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(2)));
}

export function bytes(x) {
  return x === null || x === undefined ? NONE : scaled(x, 1024, "B");
}

function scaled(x, base, unit) {
  let k = 0;
  while (Math.abs(x) >= base && k < UNITS.length - 1) {
    x /= base;
    k += 1;
  }
  const digits = x >= 100 || k === 0 ? 0 : x >= 10 ? 1 : 2;
  const prefix = base === 1024 && k ? `${UNITS[k].toUpperCase()}i` : UNITS[k];
  return `${x.toFixed(digits)}${prefix || unit ? " " : ""}${prefix}${unit}`;
}

export function percent(x, digits = null) {
  if (x === null || x === undefined) return NONE;
  const places = digits === null ? (x < 0.1 && x > 0 ? 2 : 1) : digits;
  return `${(100 * x).toFixed(places)} %`;
}

// A share of a grid line, in few digits; so a number.
export const shortPercent = (x) => `${Number((100 * x).toPrecision(3))} %`;
export const short = (x) => String(Number(x.toPrecision(3)));

// A probability, never rounded to certainty.
export function chance(p) {
  if (p > 0 && p < 0.001) return "< 0.1 %";
  if (p < 1 && p > 0.999) return "> 99.9 %";
  return percent(p, 1);
}

export function milliseconds(x) {
  if (x === null || x === undefined) return NONE;
  return x < 10 ? `${Number(x.toPrecision(2))} ms` : `${Math.round(x)} ms`;
}

export function duration(s) {
  if (s === null || s === undefined) return NONE;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function signed(x) {
  return `${x < 0 ? "−" : "+"}${Math.abs(x) >= 100 ? Math.abs(x).toFixed(0) : Math.abs(x).toPrecision(3)}`;
}

export function loss(x) {
  return x === null || x === undefined ? NONE : x.toPrecision(3);
}

// A label as a query has it: labels are compared by their texts, in which true is 1.
export const asText = (x) => (typeof x === "boolean" ? String(Number(x)) : String(x));

// A label, none of which is known before its first sample.
export function label(x, missing = "?") {
  return x === null || x === undefined ? missing : Array.isArray(x) ? x.join(", ") : String(x);
}
