// Elements made by hand: what a stranger wrote only ever becomes text.

// A new element. Attributes whose names begin with "on" are listeners; a value of false, null or
// undefined leaves one out. Children are elements and texts.
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  set(made, attributes);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

// A new element of SVG.
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  set(made, attributes);
  made.append(...children.flat(Infinity));
  return made;
}

function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
}

// Say a text in an element, if it says another one.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A track with a bar of a share of it.
export function bar(share, against = false) {
  const inner = h("i", { class: against ? "against" : false });
  inner.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  return h("div", { class: "track", "aria-hidden": "true" }, inner);
}

const LONGEST = 160;
// Controls, marks that turn or join text, and halves of characters.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Surrogate}/gu;

// A text of a stranger on one line: characters that steer or hide text as their codes, blanks at its
// ends as signs, and no more than fits.
export function visible(text) {
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return shown.replace(HIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
}

// A name of a stranger, cut to the width that it has.
export function named(text, tag = "span", more = "") {
  const shown = visible(String(text));
  return h(tag, { class: `name ${more}`, dir: "ltr", title: shown }, shown || "(empty)");
}
