// An hour of figures, kept up to date: history first, then events.

import { Problem, ask, events } from "./door.js";

const SECONDS = 3600;
const MOST_WAIT_MS = 4000;

// Columns of rows, one a second, by name; t has the seconds.
class Rows {
  constructor() {
    this.columns = { t: [] };
  }

  take(more) {
    if (!more) return;
    const last = this.columns.t.at(-1) ?? 0;
    const first = more.t.findIndex((second) => second > last);
    if (first < 0) return;
    for (const [name, values] of Object.entries(more)) {
      const column = (this.columns[name] ??= []);
      column.push(...values.slice(first));
      if (column.length > SECONDS) column.splice(0, column.length - SECONDS);
    }
  }

  // The newest figure of a column, null where there is none.
  newest(name) {
    return this.columns[name]?.at(-1) ?? null;
  }
}

// The figures of the daemon, and of a model where one is named. onChange is called after each
// event; onState with "live" or "lost", and why.
export class Live {
  constructor(name, onChange, onState) {
    this.daemon = new Rows();
    this.model = new Rows();
    this.status = {};
    this.query = name === null ? "" : `model=${encodeURIComponent(name)}`;
    this.stopping = new AbortController();
    this.run(onChange, onState);
  }

  stop() {
    this.stopping.abort();
  }

  async run(onChange, onState) {
    const { signal } = this.stopping;
    let wait = 500;
    while (!signal.aborted) {
      try {
        const history = await ask(`v1/history?${this.query}`, { signal });
        this.daemon.take(history.daemon);
        this.model.take(history.model);
        onChange(this);
        for await (const event of events(`v1/live?${this.query}&since=${history.second}`, signal)) {
          this.daemon.take(event.daemon);
          this.model.take(event.model);
          this.status = event.status;
          wait = 500;
          if (event.error) onState("lost", event.error);
          else onState("live");
          onChange(this);
        }
        if (!signal.aborted) onState("lost", "the door closed the stream of figures");
      } catch (error) {
        if (signal.aborted || error.name === "AbortError") return;
        const problem = error instanceof Problem ? error : new Problem(0, { detail: "the connection broke" });
        onState("lost", problem.message, problem.status);
        if (problem.status === 401) return;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(2 * wait, MOST_WAIT_MS);
    }
  }
}
