// app - wires the dashboard: log-in and log-out, one poll each two seconds while somebody looks, the
// stream of events.  Everything it learns goes into the store; everything seen is drawn from there.

import * as api from "./api.js";
import { Board } from "./board.js";
import { ConfirmDialog, EditDialog, RotateDialog, TokenDialog, startDialogs } from "./dialogs.js";
import { announce, byId, setText } from "./dom.js";
import { listen } from "./events.js";
import { Sheet } from "./sheet.js";
import { Store } from "./store.js";

const POLL_MS = 2000;
const SOON_MS = 150; // after what happened while one poll ran: many events, one more

const store = new Store();
const sheet = new Sheet(store);
const board = new Board(store, (id) => sheet.open(id));
const confirm = new ConfirmDialog();
const token = new TokenDialog(whereTheHubIs);
const edit = new EditDialog(onSaved);
const rotate = new RotateDialog(onRotated);
let session = null; // while logged in

/* What one log-in holds; its end stops all that it began. */
class Session {
  #stop = new AbortController();
  #timer = 0;
  #etag = null;
  #turn = "none"; // or "running", or "again": something happened meanwhile
  config = {};

  async begin() {
    const [{ value }, mayChange] = await Promise.all([api.get("v1/config"), api.mayChange()]);
    this.config = value;
    await this.#poll();
    byId("read-only").hidden = mayChange;
    for (const node of document.querySelectorAll(".writes")) node.hidden = !mayChange;
    this.#arm(POLL_MS);
    listen({
      open: () => this.now(),
      event: (event) => { store.takeEvent(event); if (event.type !== "gap") this.now(); },
      lost: () => this.now(),
    }, this.#stop.signal);
  }

  end() {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  /* Something happened: do not wait for the next turn. */
  now() {
    if (this.#turn === "none") this.#run();
    else this.#turn = "again";
  }

  /* Nobody looks at a hidden tab. */
  #arm(ms) {
    clearTimeout(this.#timer);
    if (!document.hidden && !this.#stop.signal.aborted) this.#timer = setTimeout(() => this.#run(), ms);
  }

  async #run() {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted || document.hidden) return;
    this.#turn = "running";
    try {
      await this.#poll();
      showOutage("");
    } catch (problem) {
      if (problem.name !== "AbortError") showOutage(problem.message);
    }
    const isDue = this.#turn === "again";
    this.#turn = "none";
    this.#arm(isDue ? SOON_MS : POLL_MS);
  }

  async #poll() {
    const { signal } = this.#stop;
    const [status, edges] = await Promise.all([api.get("v1/status", { signal }), api.get("v1/edges", { signal, etag: this.#etag })]);
    if (signal.aborted) return;
    this.#etag = edges.etag;
    store.takePoll(status.value, edges.value?.edges ?? null, performance.now());
    sheet.refresh();
  }
}

function showOutage(text) {
  const banner = byId("outage");
  banner.hidden = !text;
  setText(banner, text ? `${text} What is shown may be old; trying again.` : "");
  setText(byId("freshness"), text ? "Waiting for the hub" : "Live");
  byId("board").classList.toggle("stale", text !== "");
}

/* --- log-in and log-out */

async function logIn(text) {
  api.setToken(text);
  session = new Session();
  await session.begin();
  byId("login").hidden = true;
  byId("board").hidden = false;
  showOutage("");
  board.render();
  byId("edges-title").focus();
}

/* Nothing of what was seen or typed stays. */
function logOut(why = "") {
  session?.end();
  session = null;
  api.setToken(null);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  store.clear();
  board.clear();
  byId("board").hidden = true;
  byId("login").hidden = false;
  document.title = "Penstock hub";
  setText(byId("login-fault"), why);
  byId("login-token").focus();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = byId("login-token");
  const button = event.target.querySelector("button");
  const text = input.value.trim();
  if (button.disabled) return;
  setText(byId("login-fault"), "");
  if (!/^[\x21-\x7e]+$/.test(text)) {
    setText(byId("login-fault"), "That is no token.");
    return;
  }
  button.disabled = true;
  input.value = "";
  try {
    await logIn(text);
  } catch (problem) {
    logOut(problem.status === 401 ? "The hub does not know this token." : problem.message);
  } finally {
    button.disabled = false;
  }
});

api.onRefused(() => { if (!byId("board").hidden) logOut("The hub no longer takes this token."); });
byId("log-out").addEventListener("click", () => logOut());
addEventListener("pagehide", () => logOut()); // a page that is kept for "back" keeps no token
document.addEventListener("visibilitychange", () => { if (!document.hidden) session?.now(); });

/* --- what one can do */

function whereTheHubIs() {
  const { publicHost = "", publicPort = 0 } = session.config.tunnel ?? {};
  return { host: publicHost || location.hostname.replace(/^\[|\]$/g, ""), port: publicPort || store.status.tunnelPort, isPublic: publicHost !== "" };
}

function onSaved(edge, isNew) {
  announce(`${edge.id} is saved.`);
  session.now();
  if (isNew) token.open(edge.id, edge.token ?? "");
}

function onRotated(id, text) {
  announce(`${id} has a new secret.`);
  session.now();
  token.open(id, text);
}

function kick(id) {
  confirm.open({
    title: `Disconnect ${id}?`,
    text: "Its tunnels are closed, and with them what runs through them. It may come back at once: to keep it away, take “May connect” from it.",
    word: "Disconnect",
    async go() {
      await api.change("DELETE", api.edgePath(id, "/connection"));
      announce(`${id} is disconnected.`);
      session.now();
    },
  });
}

function remove(id) {
  confirm.open({
    title: `Remove ${id}?`,
    text: "Its tunnels are closed and its secret is forgotten. There is no way back: an edge that is added again has another token.",
    word: "Remove",
    async go() {
      await api.change("DELETE", api.edgePath(id));
      session.now();
      return () => {
        byId("sheet").close();
        byId("edges-title").focus(); // its row goes
        announce(`${id} is removed.`);
      };
    },
  });
}

byId("add").addEventListener("click", () => edit.add());
byId("sheet-edit").addEventListener("click", () => edit.change(sheet.id).catch((problem) => announce(problem.message)));
byId("sheet-token").addEventListener("click", () => token.open(sheet.id));
byId("sheet-rotate").addEventListener("click", () => rotate.open(sheet.id));
byId("sheet-kick").addEventListener("click", () => kick(sheet.id));
byId("sheet-remove").addEventListener("click", () => remove(sheet.id));
startDialogs();
