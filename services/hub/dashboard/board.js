// board - the hub at one look: figures, the table of edges, what happened.

import { announce, byId, make, makeState, setList, setState, setText } from "./dom.js";
import { bytes, clock, count, plural, rate, since } from "./format.js";
import { makeSparkline, setSparkline } from "./sparkline.js";
import { STATES } from "./store.js";
import * as words from "./words.js";

const ROWS_MAX = 200; // of a long registry the filter shows the rest
const EVENTS_SHOWN = 50;
const ORDER = Object.keys(STATES);

const compare = {
  id: () => 0,
  state: (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state),
  rate: (a, b) => b.history.now.in + b.history.now.out - a.history.now.in - a.history.now.out,
  streams: (a, b) => b.streams - a.streams,
};

export class Board {
  #store;
  #spark = makeSparkline();

  /* open(id): somebody wants to see that edge. */
  constructor(store, open) {
    this.#store = store;
    byId("tile-spark").append(this.#spark);
    store.subscribe((changes) => {
      if (byId("board").hidden || !store.status) return;
      this.render();
      if (changes.length) announce(words.changes(changes, STATES));
    });
    byId("filter").addEventListener("input", () => this.#edges());
    byId("order").addEventListener("change", () => this.#edges());
    byId("edges").tBodies[0].addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && (event.target.closest("button") || !getSelection().toString())) { // who marks text wants the text
        row.querySelector("button").focus(); // where a closing dialog comes back to
        open(row.dataset.key);
      }
    });
  }

  render() {
    const rows = this.#store.rows();
    this.#bar();
    this.#tiles(rows);
    this.#edges(rows);
    this.#events();
  }

  /* Nothing that was seen stays in the page. */
  clear() {
    byId("filter").value = "";
    byId("edges").tBodies[0].replaceChildren();
    byId("events").replaceChildren();
    for (const node of document.querySelectorAll(".tile [id]:not(#tile-spark), #hub-version, #live")) setText(node, "");
    setSparkline(this.#spark, this.#store.total);
  }

  #bar() {
    const { status, connectedCount, edgeCount } = this.#store;
    setText(byId("hub-state"), status.running ? "Serving" : "Draining");
    byId("hub-state").classList.toggle("leaving", !status.running);
    setText(byId("hub-version"), `${status.version}, up ${since(status.startedAt)}`);
    document.title = `${connectedCount}/${edgeCount} edges – Penstock hub`;
  }

  #tiles(rows) {
    const { status, total, connectedCount, edgeCount } = this.#store;
    const { totals, limits } = status;
    const trouble = rows.filter((row) => row.state === "trouble").length;
    const dropped = status.connectedEdges.reduce((n, i) => n + i.udpDropped, 0);
    setText(byId("tile-edges"), `${count(connectedCount)} of ${count(edgeCount)}`);
    setText(byId("tile-edges-more"), trouble ? `${count(trouble)} with port trouble` : plural(totals.lanes, "lane"));
    setText(byId("tile-in"), rate(total.now.in));
    setText(byId("tile-out"), rate(total.now.out));
    setSparkline(this.#spark, total);
    setText(byId("tile-streams"), count(totals.activeStreams));
    setText(byId("tile-streams-more"), `${count(totals.streamsOpened)} since the start`);
    setText(byId("tile-udp"), count(totals.udpSessions));
    setText(byId("tile-udp-more"), dropped ? `${plural(dropped, "datagram")} dropped` : "none dropped");
    setText(byId("tile-memory"), bytes(totals.memoryTaken));
    setText(byId("tile-memory-more"), `of ${bytes(limits.memoryBudget)}`);
  }

  #edges(rows = this.#store.rows()) {
    const part = byId("filter").value.trim().toLowerCase();
    const found = rows
      .filter((row) => `${row.id} ${STATES[row.state]} ${row.addresses.join(" ")}`.toLowerCase().includes(part))
      .sort((a, b) => compare[byId("order").value](a, b) || (a.id < b.id ? -1 : 1));
    const all = this.#store.edgeCount;
    let note = "";
    if (!all) note = "No edge yet. Add one, and start it with the token that you get.";
    else if (!found.length) note = `None of ${plural(all, "edge")} fits the filter.`;
    else if (found.length > ROWS_MAX) note = `${ROWS_MAX} of ${plural(found.length, "edge")} are shown: use the filter to see others.`;
    byId("edges").hidden = !found.length;
    setText(byId("edges-note"), note);
    setList(byId("edges").tBodies[0], found.slice(0, ROWS_MAX), (row) => row.id, makeRow, fillRow);
  }

  #events() {
    const { events } = this.#store;
    setList(byId("events"), events.slice(0, EVENTS_SHOWN), (e) => `${e.id} ${e.type} ${e.time}`, (e) =>
      make("li", {}, make("time", { datetime: e.time }, clock(e.time)), make("span", {}, words.event(e))), () => {});
    byId("events-none").hidden = events.length > 0;
  }
}

const CELLS = [ // class, label on a card
  ["name", "Edge"], ["status", "State"], ["transport", "Transport"], ["address", "Public address"], ["ports", "Ports"],
  ["trend", "Last two minutes"], ["number in", "From clients"], ["number out", "To clients"], ["number streams", "Streams"],
  ["number latency", "Latency"], ["number drops", "Drops"],
];

function makeRow(row) {
  const tr = make("tr", { role: "row" }, ...CELLS.map(([name, label]) => make("td", { role: "cell", class: name, "data-label": label })));
  const cell = (name) => tr.querySelector(`.${name}`);
  cell("name").append(make("button", { type: "button", class: "plain", "aria-haspopup": "dialog" }, row.id));
  cell("status").append(makeState());
  cell("ports").append(make("span"), make("span", { class: "udp" }));
  cell("trend").append(makeSparkline());
  return tr;
}

function setCell(cell, text) {
  setText(cell, text || "–");
  cell.classList.toggle("nil", !text);
}

function fillRow(tr, row) {
  const cell = (name) => tr.querySelector(`.${name}`);
  const isOn = row.instances.length > 0;
  const [tcp, udp] = words.portsOf(row);
  const more = row.instances.length > 1 ? ` ×${row.instances.length}` : "";
  setState(cell("status").firstElementChild, row.state, STATES[row.state]);
  setCell(cell("transport"), isOn && row.transports.map(words.transport).join(" + ") + more);
  setCell(cell("address"), isOn && row.addresses.slice(0, 2).join(", ") + (row.addresses.length > 2 ? ` +${row.addresses.length - 2}` : ""));
  setText(cell("ports").firstElementChild, tcp || (udp ? "" : "none"));
  setText(cell("ports").lastElementChild, tcp && udp ? ` ${udp}` : udp);
  setSparkline(cell("trend").firstElementChild, row.history);
  setCell(cell("in"), isOn && rate(row.history.now.in));
  setCell(cell("out"), isOn && rate(row.history.now.out));
  setCell(cell("streams"), isOn && (row.udpSessions ? `${count(row.streams)} + ${count(row.udpSessions)} UDP` : count(row.streams)));
  setCell(cell("latency"), isOn && (row.rttMs ? `${count(row.rttMs)} ms` : "< 1 ms"));
  setCell(cell("drops"), isOn && count(row.dropped));
}
