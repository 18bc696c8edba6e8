// The door: requests with the caller's token, errors as problems, events as they come.

const KEY = "onlinesvm-token";

// An answer that is an error. status 0: the door did not answer.
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || `status ${status}`);
    this.status = status;
    this.code = document.code || "";
    this.at = document.at || "";
  }
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

export function keepToken(token) {
  if (token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}

async function fetched(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "the door does not answer" });
  }
  if (answer.ok) return answer;
  let document = {};
  try {
    document = await answer.json();
  } catch {
    // A proxy's own page: the status has to do.
  }
  throw new Problem(answer.status, document);
}

// The value of an answer. A body makes it a POST.
export async function ask(path, options = {}) {
  const method = options.body === undefined ? "GET" : "POST";
  return (await fetched(path, { method, ...options })).json();
}

// The path of something of a model.
export const ofModel = (name, rest = "") => `v1/models/${encodeURIComponent(name)}${rest}`;

// The data of server-sent events; EventSource could not send a token.
export async function* events(path, signal) {
  const reader = (await fetched(path, { signal })).body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
    }
  }
}
