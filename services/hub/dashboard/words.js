// words - what the API's terms are called on the page.

import { plural, ports } from "./format.js";

const TRANSPORTS = { quic: "QUIC", tcpTls: "TLS" };

/* "heartbeat_timeout" is "heartbeat timeout". */
export function plain(code) {
  return String(code).replaceAll("_", " ");
}

export function transport(name) {
  return TRANSPORTS[name] ?? name;
}

export function portsOf(edge) {
  return [edge.listenPorts.length ? ports(edge.listenPorts) : "", edge.listenPortsUdp.length ? `${ports(edge.listenPortsUdp)} UDP` : ""];
}

export function portError({ port, protocol, error }) {
  return `${port} ${protocol.toUpperCase()}: ${error}`;
}

const EVENTS = {
  edgeConnected: (e) => `${e.edgeId} connected from ${e.remoteAddress}${e.instance ? `, instance ${e.instance}` : ""}`,
  edgeDisconnected: (e) => `${e.edgeId} disconnected: ${plain(e.reason)}`,
  crashRecovered: (e) => `The hub started again after a crash${e.signal ? ` (SIG${e.signal})` : ""}`,
  gap: () => "Some of what happened was missed",
};

export function event(e) {
  return EVENTS[e.type] ? EVENTS[e.type](e) : e.type;
}

export function changes(list, states) {
  if (list.length > 3) return `${plural(list.length, "edge")} changed their state.`;
  return list.map(({ id, state }) => `${id}: ${states[state]}.`).join(" ");
}
