// sheet - everything about one edge, beside the table, and the way to change it.

import * as api from "./api.js";
import { byId, make, makeState, setFacts, setList, setState, setText } from "./dom.js";
import { bytes, clock, count, duration, plural, rate, since } from "./format.js";
import { makeSparkline, setSparkline } from "./sparkline.js";
import { STATES } from "./store.js";
import * as words from "./words.js";

const STREAMS_SHOWN = 50;

export class Sheet {
  #dialog = byId("sheet");
  #state = makeState();
  #spark = makeSparkline();
  #store;
  #id = null;

  constructor(store) {
    this.#store = store;
    byId("sheet-state").append(this.#state);
    byId("sheet-spark").append(this.#spark);
    this.#dialog.addEventListener("close", () => { this.#id = null; });
    store.subscribe(() => this.#render());
  }

  get id() {
    return this.#id;
  }

  open(id) {
    if (!this.#store.edge(id)) return;
    this.#id = id;
    setText(this.#dialog.querySelector(".said"), "");
    setText(byId("streams-note"), "");
    byId("streams").hidden = true;
    this.#render();
    this.#dialog.showModal();
    this.#dialog.scrollTop = 0;
    this.refresh();
  }

  /* Its streams, from the hub. */
  async refresh() {
    const id = this.#id;
    const edge = id && this.#store.edge(id);
    if (!edge?.instances.length) {
      if (edge) this.#streams({ streams: [], total: 0 });
      return;
    }
    try {
      const { value } = await api.get(api.edgePath(id, "/streams"));
      if (this.#id === id) this.#streams(value);
    } catch (problem) {
      if (this.#id === id) setText(byId("streams-note"), problem.message);
    }
  }

  #render() {
    const edge = this.#id && this.#store.edge(this.#id);
    if (!edge) {
      if (this.#id) this.#dialog.close(); // somebody removed it
      return;
    }
    const [tcp, udp] = words.portsOf(edge);
    setText(byId("sheet-title"), edge.id);
    setState(this.#state, edge.state, STATES[edge.state]);
    byId("sheet-kick").disabled = !edge.instances.length;
    setFacts(byId("sheet-facts"), [
      ["Ports", [tcp, udp].filter(Boolean).join(", ") || "none"],
      ["Trouble", edge.portErrors.map(words.portError).join("; ")],
      ["Instances", `${edge.instances.length} of ${edge.maxInstances}`],
      ["Old secret", edge.oldSecretGoodUntil && Date.parse(edge.oldSecretGoodUntil) > Date.now() ? `good until ${clock(edge.oldSecretGoodUntil)}` : ""],
      ["Left", edge.left ? `${since(edge.left.time)} ago: ${words.plain(edge.left.reason)}` : ""],
    ]);
    setText(byId("sheet-in"), rate(edge.history.now.in));
    setText(byId("sheet-out"), rate(edge.history.now.out));
    setSparkline(this.#spark, edge.history);
    setList(byId("sheet-instances"), edge.instances.length ? edge.instances : [null], (i) => (i ? `${i.instance} ${i.connectedAt}` : ""),
      (i) => (i ? makeInstance() : make("p", { class: "hint" }, "None is connected.")), (node, i) => i && fillInstance(node, i));
  }

  #streams({ streams, total }) {
    const shown = streams.slice(0, STREAMS_SHOWN);
    byId("streams").hidden = !shown.length;
    setText(byId("streams-note"), !total ? "None is open." : total > shown.length ? `${shown.length} of ${plural(total, "stream")}.` : "");
    setList(byId("streams").tBodies[0], shown, (s) => `${s.id} ${s.client} ${s.port}`, makeStream, fillStream);
  }
}

function makeInstance() {
  return make("div", { class: "instance" }, make("b"), make("dl", { class: "facts" }));
}

function fillInstance(node, i) {
  setText(node.firstElementChild, i.instance || "(no name)");
  setFacts(node.lastElementChild, [
    ["Transport", `${words.transport(i.transport)}, ${plural(i.lanes, "lane")}`],
    ["Connected", `${since(i.connectedAt)}, since ${clock(i.connectedAt)}`],
    ["From", i.remoteAddress],
    ["Public address", i.publicIp],
    ["Latency", i.rttMs ? `${count(i.rttMs)} ms` : "< 1 ms"],
    ["Open", plural(i.activeStreams, "stream") + (i.udpSessions ? `, ${plural(i.udpSessions, "UDP session")}` : "")],
    ["From clients", bytes(i.bytesIn)],
    ["To clients", bytes(i.bytesOut)],
    ["Datagrams dropped", i.udpDropped ? count(i.udpDropped) : ""],
    ["Ports open", words.portsOf(i).filter(Boolean).join(", ") || "none"],
    ["Ports that failed", i.portErrors.map(words.portError).join("; ")],
    ["Configuration", i.revision === i.acknowledgedRevision ? `revision ${i.revision}` : `revision ${i.revision}, not acknowledged yet`],
  ]);
}

function makeStream(s) {
  const text = (value) => make("td", { role: "cell" }, value);
  const number = () => make("td", { role: "cell", class: "number" });
  return make("tr", { role: "row" }, text(s.client), text(String(s.port)), text(s.target), number(), number(), number());
}

function fillStream(tr, s) {
  setText(tr.cells[3], bytes(s.bytesIn));
  setText(tr.cells[4], bytes(s.bytesOut));
  setText(tr.cells[5], duration(s.ageSecs));
}
