// format - numbers, times and ports as people write them, and ports back.

const PORTS_MAX = 1024;

function scaled(value, base, units) {
  let at = 0;
  while (value >= base * 0.9995 && at < units.length - 1) {
    value /= base;
    at++;
  }
  const digits = at === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[at]}`;
}

export function bytes(n) {
  return scaled(n, 1000, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

/* Of bytes a second. */
export function rate(bytesPerSec) {
  return scaled(bytesPerSec * 8, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
}

export function count(n) {
  return n.toLocaleString("en-US");
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function duration(secs) {
  if (secs < 60) return `${Math.max(0, Math.floor(secs))} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min`;
  if (secs < 86400) return `${Math.floor(secs / 3600)} h ${Math.floor(secs / 60) % 60} min`;
  return `${Math.floor(secs / 86400)} d ${Math.floor(secs / 3600) % 24} h`;
}

export function since(time, now = Date.now()) {
  const at = Date.parse(time);
  return Number.isNaN(at) ? "" : duration((now - at) / 1000);
}

/* Today's clock, or the day too. */
export function clock(time, now = new Date()) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const clockText = at.toLocaleTimeString("en-GB");
  return at.toDateString() === now.toDateString() ? clockText : `${at.toLocaleDateString("en-CA")} ${clockText}`;
}

/* [80, 8000, 8001, 8002] is "80, 8000-8002". */
export function ports(list) {
  const parts = [];
  for (let i = 0; i < list.length;) {
    let j = i;
    while (j + 1 < list.length && list[j + 1] === list[j] + 1) j++;
    if (j - i >= 2) parts.push(`${list[i]}-${list[j]}`);
    else for (let k = i; k <= j; k++) parts.push(String(list[k]));
    i = j + 1;
  }
  return parts.join(", ");
}

/* {ports, fault}: each once, in order; fault is a sentence, or "". */
export function parsePorts(text) {
  const found = new Set();
  for (const part of text.split(/[\s,;]+/).filter(Boolean)) {
    const range = /^(\d{1,5})(?:[-–](\d{1,5}))?$/.exec(part);
    if (!range) return { ports: [], fault: `“${part}” is no port.` };
    const first = Number(range[1]);
    const last = range[2] === undefined ? first : Number(range[2]);
    if (first < 1 || last > 65535) return { ports: [], fault: `“${part}”: ports go from 1 to 65535.` };
    if (last < first) return { ports: [], fault: `“${part}” ends before it begins.` };
    if (last - first >= PORTS_MAX) return { ports: [], fault: `An edge has at most ${PORTS_MAX} ports.` };
    for (let port = first; port <= last; port++) found.add(port);
    if (found.size > PORTS_MAX) return { ports: [], fault: `An edge has at most ${PORTS_MAX} ports.` };
  }
  return { ports: [...found].sort((a, b) => a - b), fault: "" };
}
