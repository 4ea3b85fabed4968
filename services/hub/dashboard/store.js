// store - the one thing that knows: the registry, who is connected, rates over time, what happened.
// Fed by app.js with what the hub answers and tells; the views read it, and nothing else.  Knows no
// page and no network: times come in as arguments.

const HISTORY = 60; // samples: two minutes of a poll each two seconds
const GAP_MS = 10000; // a longer pause between two polls begins a new history
const LEAST_MS = 1000; // a shorter one measures nothing: the hub counts four times a second
const EVENTS_MAX = 100;

export const STATES = { // in the order in which they want to be seen
  trouble: "Port trouble",
  changing: "Changing",
  connected: "Connected",
  offline: "Not connected",
  disabled: "Disabled",
};

function stateOf(edge, instances) {
  if (!edge.enabled) return "disabled";
  if (!instances.length) return "offline";
  if (instances.some((i) => i.portErrors.length)) return "trouble";
  return instances.some((i) => i.revision !== i.acknowledgedRevision) ? "changing" : "connected";
}

/* Counters of one instance's session: another session begins at nothing. */
function keyOf(instance) {
  return `${instance.edgeId} ${instance.instance} ${instance.connectedAt}`;
}

/* How fast, at each of the last polls. */
class History {
  in = [];
  out = [];

  push(perSec) {
    for (const way of ["in", "out"]) {
      this[way].push(perSec[way]);
      if (this[way].length > HISTORY) this[way].shift();
    }
  }

  get now() {
    return { in: this.in.at(-1) ?? 0, out: this.out.at(-1) ?? 0 };
  }
}

export class Store {
  #views = new Set();
  #edges = []; // the registry
  #instances = new Map(); // edge id -> connected instances
  #histories = new Map(); // edge id -> History
  #counters = new Map(); // keyOf() -> {in, out} when they were measured last
  #measuredMs = null;
  #events = []; // newest first
  #ids = new Set();
  #left = new Map(); // edge id -> its last edgeDisconnected
  #states = null; // edge id -> state, as it was told last
  status = null;
  total = new History();

  /* view(changes): after each change; changes are edges whose state is another one, [{id, state}]. */
  subscribe(view) {
    this.#views.add(view);
  }

  /* As new: somebody else may log in next. */
  clear() {
    this.#edges = [];
    this.#instances = new Map();
    this.#histories = new Map();
    this.#counters = new Map();
    this.#measuredMs = null;
    this.#events = [];
    this.#ids = new Set();
    this.#left = new Map();
    this.#states = null;
    this.status = null;
    this.total = new History();
    this.#tell();
  }

  #tell(changes = []) {
    for (const view of this.#views) view(changes);
  }

  /* One poll; edges is null when the registry has not changed. */
  takePoll(status, edges, nowMs) {
    const pause = this.#measuredMs === null ? 0 : nowMs - this.#measuredMs;
    if (pause > GAP_MS) {
      this.#histories.clear();
      this.total = new History();
    }
    if (edges) this.#edges = edges;
    this.status = status;
    this.#instances = new Map();
    for (const instance of status.connectedEdges) {
      const list = this.#instances.get(instance.edgeId);
      if (list) list.push(instance);
      else this.#instances.set(instance.edgeId, [instance]);
    }
    if (pause === 0 || pause >= LEAST_MS) {
      this.#measure(pause / 1000);
      this.#measuredMs = nowMs;
    }
    this.#tell(this.#changes());
  }

  #measure(secs) {
    const counters = new Map();
    const sums = new Map(this.#edges.map((edge) => [edge.id, { in: 0, out: 0 }]));
    const total = { in: 0, out: 0 };
    for (const instance of this.status.connectedEdges) {
      const key = keyOf(instance);
      const now = { in: instance.bytesIn, out: instance.bytesOut };
      const before = this.#counters.get(key) ?? (secs > 0 ? { in: 0, out: 0 } : now);
      const sum = sums.get(instance.edgeId);
      counters.set(key, now);
      for (const way of ["in", "out"]) {
        const perSec = secs > 0 ? Math.max(0, now[way] - before[way]) / secs : 0;
        total[way] += perSec;
        if (sum) sum[way] += perSec;
      }
    }
    this.#counters = counters;
    for (const id of this.#histories.keys()) if (!sums.has(id)) this.#histories.delete(id);
    if (secs === 0) return;
    for (const [id, perSec] of sums) {
      if (this.#instances.has(id) && !this.#histories.has(id)) this.#histories.set(id, new History());
      this.#histories.get(id)?.push(perSec); // of edges that never came there is none
    }
    this.total.push(total);
  }

  #changes() {
    const states = new Map(this.#edges.map((edge) => [edge.id, stateOf(edge, this.#instances.get(edge.id) ?? [])]));
    const before = this.#states;
    this.#states = states;
    if (!before) return [];
    return [...states].filter(([id, state]) => before.has(id) && before.get(id) !== state).map(([id, state]) => ({ id, state }));
  }

  /* What GET /v1/events told; data is JSON. */
  takeEvent({ id, type, data }) {
    let fields;
    try {
      fields = JSON.parse(data);
    } catch {
      return;
    }
    if (type === "gap" && !this.#events.length) return; // there was nothing that could be missed
    if (id && type !== "gap") {
      if (this.#ids.has(id)) return;
      this.#ids.add(id);
    }
    this.#events.unshift({ id, type, ...fields });
    for (const gone of this.#events.splice(EVENTS_MAX)) this.#ids.delete(gone.id);
    if (type === "edgeDisconnected" || type === "edgeConnected") this.#left.set(fields.edgeId, type === "edgeConnected" ? null : fields);
    this.#tell();
  }

  get events() {
    return this.#events;
  }

  get edgeCount() {
    return this.#edges.length;
  }

  get connectedCount() {
    return this.#edges.filter((edge) => this.#instances.has(edge.id)).length;
  }

  /* One edge with all that is known of it, or null. */
  edge(id) {
    const edge = this.#edges.find((e) => e.id === id);
    return edge ? this.#row(edge) : null;
  }

  rows() {
    return this.#edges.map((edge) => this.#row(edge));
  }

  #row(edge) {
    const instances = this.#instances.get(edge.id) ?? [];
    const sum = (key) => instances.reduce((n, i) => n + i[key], 0);
    return {
      ...edge,
      instances,
      state: stateOf(edge, instances),
      left: instances.length ? null : this.#left.get(edge.id) ?? null,
      transports: [...new Set(instances.map((i) => i.transport))].sort(),
      addresses: [...new Set(instances.map((i) => i.publicIp ?? i.remoteAddress))],
      portErrors: instances.flatMap((i) => i.portErrors),
      streams: sum("activeStreams"),
      udpSessions: sum("udpSessions"),
      dropped: sum("udpDropped"),
      rttMs: Math.max(0, ...instances.map((i) => i.rttMs)),
      history: this.#histories.get(edge.id) ?? new History(),
    };
  }
}
