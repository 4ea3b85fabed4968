// dialogs - what changes the hub: an edge's form, its token, a new secret, and the two that ask first.
// Each shows what is wrong where it is wrong, and closes only when the hub has said yes.

import * as api from "./api.js";
import { announce, byId, setText } from "./dom.js";
import { parsePorts, ports } from "./format.js";

const EDGE_DEFAULTS = { id: "", listenPorts: [], listenPortsUdp: [], maxInstances: 1, stunIntervalSecs: 300, enabled: true };

/* --- what they have in common */

function clearFaults(form) {
  for (const node of form.querySelectorAll(".fault")) setText(node, "");
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

function showFault(form, name, text) {
  const input = form.elements.namedItem(name);
  const place = input?.id && !input.readOnly ? byId(`${input.id}-fault`) : null;
  const node = place ?? form.querySelector(".fault.said");
  setText(node, node.textContent ? `${node.textContent} ${text}` : text);
  if (place) input.setAttribute("aria-invalid", "true");
}

/* The hub's list of faults, each beside its field. */
function showProblem(form, problem, sent = {}) {
  for (const { pointer, detail } of problem.errors ?? []) {
    const [, name, index] = pointer.split("/");
    const value = index === undefined ? undefined : sent[name]?.[index];
    showFault(form, name, value === undefined ? `${detail}.` : `${value}: ${detail}.`);
  }
  if (!problem.errors?.length) showFault(form, "", problem.code === "readOnly" ? "This token may only look." : problem.message);
  form.querySelector("[aria-invalid]")?.focus();
}

/* A form in a dialog: send() does the work and throws a Problem; while it runs nothing is sent twice. */
function onSubmit(dialog, send) {
  const form = dialog.querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    clearFaults(form);
    button.disabled = true;
    try {
      await send(form);
    } catch (problem) {
      if (dialog.open) showProblem(form, problem, problem.sent);
    } finally {
      button.disabled = false;
    }
  });
}

function open(dialog) {
  clearFaults(dialog);
  for (const node of dialog.querySelectorAll(".said")) setText(node, "");
  dialog.showModal();
}

export function startDialogs() {
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
}

/* --- an edge: a new one, or its ports */

export class EditDialog {
  #dialog = byId("edit");
  #edge = null; // as the hub had it when the form was opened; null: a new one
  #etag = null;
  #done;

  /* done(edge, isNew): the hub has taken it; edge.token only when it knows its public name. */
  constructor(done) {
    this.#done = done;
    onSubmit(this.#dialog, (form) => this.#send(form));
  }

  add() {
    this.#open(null, null);
  }

  async change(id) {
    const { value, etag } = await api.get(api.edgePath(id));
    this.#open(value, etag);
  }

  #open(edge, etag) {
    const { elements } = this.#dialog.querySelector("form");
    const shown = edge ?? EDGE_DEFAULTS;
    this.#edge = edge;
    this.#etag = etag;
    setText(byId("edit-title"), edge ? `Change ${edge.id}` : "Add an edge");
    setText(this.#dialog.querySelector("[type=submit]"), edge ? "Save" : "Add edge");
    elements.id.value = shown.id;
    elements.id.readOnly = edge !== null;
    byId("edit-id-hint").hidden = edge !== null;
    elements.listenPorts.value = ports(shown.listenPorts);
    elements.listenPortsUdp.value = ports(shown.listenPortsUdp);
    elements.maxInstances.value = shown.maxInstances;
    elements.stunIntervalSecs.value = shown.stunIntervalSecs;
    elements.enabled.checked = shown.enabled;
    open(this.#dialog);
    (edge ? elements.listenPorts : elements.id).focus();
  }

  /* The form as the API wants it; null: faults are shown. */
  #read(form) {
    const { elements } = form;
    const body = { enabled: elements.enabled.checked };
    if (!this.#edge) body.id = elements.id.value.trim();
    for (const name of ["listenPorts", "listenPortsUdp"]) {
      const { ports: list, fault } = parsePorts(elements[name].value);
      if (fault) showFault(form, name, fault);
      body[name] = list;
    }
    for (const name of ["maxInstances", "stunIntervalSecs"]) {
      const input = elements[name];
      if (!input.value || !input.validity.valid) showFault(form, name, `A number from ${input.min} to ${input.max}.`);
      body[name] = Number(input.value);
    }
    if (body.id === "") showFault(form, "id", "An edge needs a name.");
    const first = form.querySelector("[aria-invalid]");
    first?.focus();
    return first ? null : body;
  }

  async #send(form) {
    const body = this.#read(form);
    if (!body) return;
    try {
      const isNew = !this.#edge;
      const edge = isNew ? await api.change("POST", "v1/edges", body) : await api.change("PATCH", api.edgePath(this.#edge.id), body, this.#etag);
      this.#dialog.close();
      this.#done(edge, isNew);
    } catch (problem) {
      if (problem.status === 412) await this.#explain();
      problem.sent = body;
      throw problem;
    }
  }

  /* Somebody was quicker: says what it is now; another "Save" means it. */
  async #explain() {
    const { value, etag } = await api.get(api.edgePath(this.#edge.id));
    this.#etag = etag;
    throw new api.Problem(412, {
      detail: `Somebody changed this edge meanwhile: it now has TCP ${ports(value.listenPorts) || "none"}, ` +
        `UDP ${ports(value.listenPortsUdp) || "none"}. Save again to replace that.`,
    });
  }
}

/* --- the token of an edge */

export class TokenDialog {
  #dialog = byId("token");
  #id = null;
  #defaults;

  /* defaults(): {host, port, isPublic} where edges reach the hub. */
  constructor(defaults) {
    this.#defaults = defaults;
    onSubmit(this.#dialog, (form) => this.#make(form));
    byId("token-copy").addEventListener("click", () => this.#copy());
    this.#dialog.addEventListener("close", () => this.#show("")); // it does not stay in the page
  }

  /* With a token that is there already, or asks for one. */
  async open(id, token = "") {
    const { host, port, isPublic } = this.#defaults();
    this.#id = id;
    setText(byId("token-title"), `Token of ${id}`);
    byId("token-host").value = host;
    byId("token-port").value = port;
    this.#show(token);
    open(this.#dialog);
    if (token) byId("token-copy").focus();
    else if (isPublic) this.#dialog.querySelector("form").requestSubmit();
    else byId("token-host").focus();
  }

  #show(token) {
    byId("token-text").value = token;
    byId("token-where").hidden = token !== "";
    byId("token-make").hidden = token !== "";
    byId("token-made").hidden = token === "";
    byId("token-copy").hidden = token === "";
  }

  async #make(form) {
    const body = { hubHost: form.elements.hubHost.value.trim(), hubPort: Number(form.elements.hubPort.value) };
    const id = this.#id;
    const { token } = await api.change("POST", api.edgePath(id, "/token"), body);
    if (!this.#dialog.open || this.#id !== id) return;
    this.#show(token);
    byId("token-copy").focus();
  }

  /* Without TLS a browser has no clipboard for pages; the old way, or the reader's own keys. */
  async #copy() {
    const text = byId("token-text");
    try {
      await navigator.clipboard.writeText(text.value);
      announce("Copied.");
    } catch {
      text.focus();
      text.select();
      announce(document.execCommand("copy") ? "Copied." : "Selected: copy it with Ctrl+C.");
    }
  }
}

/* --- a new secret */

export class RotateDialog {
  #dialog = byId("rotate");
  #id = null;

  /* done(id, token): token is "" when the hub does not know its public name. */
  constructor(done) {
    onSubmit(this.#dialog, async (form) => {
      const answer = await api.change("POST", api.edgePath(this.#id, "/secret"), { graceSecs: Number(form.elements.grace.value) });
      this.#dialog.close();
      done(this.#id, answer.token ?? "");
    });
  }

  open(id) {
    this.#id = id;
    setText(byId("rotate-title"), `New secret for ${id}`);
    this.#dialog.querySelector("form").reset();
    open(this.#dialog);
  }
}

/* --- are you sure */

export class ConfirmDialog {
  #dialog = byId("confirm");
  #go = async () => {};

  constructor() {
    onSubmit(this.#dialog, async () => {
      const then = await this.#go();
      this.#dialog.close();
      then?.();
    });
  }

  /* go() does it, and throws a Problem when the hub says no; what it returns is called afterwards. */
  open({ title, text, word, go }) {
    this.#go = go;
    setText(byId("confirm-title"), title);
    setText(byId("confirm-text"), text);
    setText(byId("confirm-go"), word);
    open(this.#dialog);
  }
}
