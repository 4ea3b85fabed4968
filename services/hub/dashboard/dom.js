// dom - what the views build with.  Text only ever goes in as text: names and words that come from the
// network are never markup (the page's policy would not let them either).

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

/* An element with attributes and children (nodes or texts). */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function makeSvg(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/* Nodes that stay as they are keep focus, selection and the reader's place. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/* Makes `parent` hold one node for each item, in order; make(item) once, update(node, item) each time. */
export function setList(parent, items, keyOf, makeNode, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = old.get(key);
    old.delete(key);
    if (!node) {
      node = makeNode(item);
      node.dataset.key = key;
    }
    update(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of old.values()) node.remove();
}

export function setFacts(list, facts) {
  const items = facts.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .flatMap(([name, value]) => [["dt", name, name], ["dd", name, String(value)]]);
  setList(list, items, ([tag, name]) => `${tag} ${name}`, ([tag]) => make(tag), (node, [, , text]) => setText(node, text));
}

/* The state's mark and word. */
export function makeState() {
  const icon = makeSvg("svg", { "aria-hidden": "true" });
  icon.append(makeSvg("use"));
  return make("span", { class: "state" }, icon, make("span"));
}

export function setState(node, state, word) {
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.className = `state ${state}`;
  node.querySelector("use").setAttribute("href", `#mark-${state}`);
  setText(node.lastElementChild, word);
}

/* Says it to who listens rather than looks; behind an open dialog nothing is heard, so it is said there. */
export function announce(text) {
  const open = [...document.querySelectorAll("dialog[open]")].at(-1);
  const place = open?.querySelector(".said[role=status]") ?? byId("live");
  place.textContent = place.textContent === text ? `${text}\u00a0` : text; // the same again is said again
}
