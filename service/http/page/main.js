// The page: one view at a time, by the hash: #/ is the daemon, #/m/NAME a model.

import { Problem, ask, hasToken, keepToken } from "./door.js";
import { h, say, visible } from "./dom.js";
import { Model } from "./model.js";
import { Overview } from "./overview.js";

const main = document.getElementById("main");
const state = document.getElementById("state");
const notice = document.getElementById("notice");
const crumbs = document.getElementById("crumbs");
let view = null;

function onState(how, why = "", status = 0) {
  if (status === 401) {
    signIn("This door asks for a token, or no longer knows yours");
    return;
  }
  state.className = `state ${how}`;
  say(state, how === "live" ? "live" : "not connected");
  notice.hidden = how === "live";
  if (why) say(notice, `No new figures: ${why}. Trying again.`);
}

function leave() {
  view?.stop();
  view = null;
  notice.hidden = true;
}

// Ask for a token, and go on once it is known.
function signIn(why) {
  leave();
  state.className = "state";
  say(state, "signed out");
  const fault = h("p", { class: "fault small", role: "alert" }, hasToken() ? "That token is not known here" : "");
  keepToken(null);
  const input = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = h("form", { class: "card sign-in", onsubmit: (event) => {
    event.preventDefault();
    keepToken(input.value.trim());
    show();
  } }, h("h1", {}, "Who is there?"), h("p", { class: "muted" }, `${why}. It is kept until you close this tab.`),
  h("label", { for: "token" }, "Token"), input, fault, h("button", { class: "main", type: "submit" }, "Go on"));
  main.replaceChildren(form);
  input.focus();
}

function fail(error) {
  if (error instanceof Problem && error.status === 401) {
    signIn("This door asks for a token");
    return;
  }
  leave();
  const again = h("button", { type: "button", class: "main", onclick: () => show() }, "Try again");
  main.replaceChildren(h("div", { class: "card sign-in" }, h("h1", {}, "That did not work"), h("p", {}, error.message), again,
    h("a", { href: "#/" }, "All models")));
}

// Show the view that the hash names.
async function show() {
  leave();
  const found = /^#\/m\/(.+)$/.exec(location.hash);
  let name = null;
  try {
    name = found ? decodeURIComponent(found[1]) : null;
  } catch {
    location.replace("#/"); // no name is written so
    return;
  }
  document.title = name === null ? "onlinesvm" : `${name} – onlinesvm`;
  crumbs.replaceChildren(...(name === null ? [] : [h("a", { href: "#/" }, "All models"), h("span", { "aria-hidden": "true" }, "/"), h("span", { "aria-current": "page" }, visible(name))]));
  const made = (view = name === null ? new Overview(onState) : new Model(name, onState));
  try {
    if (name === null) await ask("v1/overview?limit=0"); // says at once whether a token is needed
    if (view !== made) return;
    main.replaceChildren(made.element);
    await made.start();
  } catch (error) {
    if (view === made) fail(error);
  }
}

// A daemon with one model: that is the one to see.
async function begin() {
  if (location.hash === "" || location.hash === "#") {
    try {
      const { rows, count } = await ask("v1/overview?limit=1");
      if (count === 1 && rows.length) location.replace(`#/m/${encodeURIComponent(rows[0].name)}`);
    } catch {
      // show says why
    }
  }
  await show();
  window.addEventListener("hashchange", () => {
    show();
    main.focus();
  });
}

begin();
