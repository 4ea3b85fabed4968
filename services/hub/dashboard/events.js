// events - GET /v1/events, read with fetch(): a browser's own EventSource cannot send the token.
// Comes back by itself, after what came last (Last-Event-ID), until it is aborted.

import { request } from "./api.js";

const SILENCE_MS = 45000; // three of the hub's heartbeats
const PAUSE_MS = [1000, 30000]; // before the next try: at first, at most
const LINE_MAX = 1 << 20;

/* Text as it comes, in pieces of any size, into events {id, type, data}. */
export class EventParser {
  #rest = "";
  #event = { id: "", type: "", lines: [] };
  lastId = "";

  push(text) {
    const lines = (this.#rest + text).split("\n");
    const events = [];
    this.#rest = lines.pop();
    if (this.#rest.length > LINE_MAX) throw new Error("a line without an end");
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line, events);
    return events;
  }

  #line(line, events) {
    const event = this.#event;
    if (line === "") {
      if (event.lines.length) events.push({ id: this.lastId, type: event.type || "message", data: event.lines.join("\n") });
      this.#event = { type: "", lines: [] };
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event.type = value;
    else if (field === "data") event.lines.push(value);
    else if (field === "id" && !value.includes("\0")) this.lastId = value;
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

/* One connection, until it ends or says nothing for too long. */
async function readOnce(parser, on, signal) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  let timer = setTimeout(stop, SILENCE_MS);
  signal.addEventListener("abort", stop, { once: true });
  try {
    // An id that the hub does not know begins with all that it keeps: what happened before we came.
    const response = await request("GET", "v1/events", { headers: { "Last-Event-ID": parser.lastId || "0" }, signal: quiet.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    on.open();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
      for (const event of parser.push(value)) on.event(event);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    quiet.abort();
  }
}

/* on.open(), on.event({id, type, data}), on.lost() */
export async function listen(on, signal) {
  let parser = new EventParser();
  let wait = PAUSE_MS[0];
  while (!signal.aborted) {
    const begun = performance.now();
    try {
      await readOnce(parser, on, signal);
    } catch (error) {
      if (error.status === 401) return;
    }
    if (signal.aborted) return;
    on.lost();
    const fresh = new EventParser(); // half an event is no event
    fresh.lastId = parser.lastId;
    parser = fresh;
    wait = performance.now() - begun > PAUSE_MS[1] ? PAUSE_MS[0] : wait;
    await pause(wait, signal);
    wait = Math.min(2 * wait, PAUSE_MS[1]);
  }
}
