// api - the hub's management API.  The token lives in this module's memory: never in storage, in a
// cookie, in an address or in the page.

const PATIENCE_MS = 15000;
const SILENT = "The hub does not answer.";

let token = null;
let refused = () => {};

/* What the hub answered instead of what was asked for (RFC 9457); status 0: it did not answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The hub answered ${status}.`);
    this.status = status;
    this.code = String(body.type || "").split(":").pop();
    this.errors = Array.isArray(body.errors) ? body.errors : [];
  }
}

export function setToken(text) {
  token = text;
}

/* Called when the hub no longer takes the token. */
export function onRefused(then) {
  refused = then;
}

/* The answer of a request with the token, its body yet to be read.  Throws a Problem, or an AbortError
 * by options.signal. */
export async function request(method, path, { headers = {}, body, signal } = {}) {
  const asked = token;
  const options = {
    method, signal, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
    headers: { ...headers, Authorization: `Bearer ${asked}` },
  };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options); // relative to the page: a proxy may put it below a folder
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: SILENT });
  }
  if (response.ok || response.status === 304) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status === 401 && token === asked) refused();
  throw problem;
}

/* The same with its JSON (null: none) and its ETag, within PATIENCE_MS. */
async function ask(method, path, options = {}) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE_MS);
  const end = () => stop.abort();
  options.signal?.addEventListener("abort", end, { once: true });
  try {
    const response = await request(method, path, { ...options, signal: stop.signal });
    const hasBody = response.status !== 204 && response.status !== 304;
    return { value: hasBody ? await response.json() : null, etag: response.headers.get("ETag") };
  } catch (error) {
    if (error instanceof Problem || options.signal?.aborted) throw error;
    throw new Problem(0, { detail: SILENT });
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", end);
  }
}

/* {value, etag} of what is at a path; value null: still what `etag` names. */
export function get(path, { etag, signal } = {}) {
  return ask("GET", path, { signal, headers: etag ? { "If-None-Match": etag } : {} });
}

/* A change; what the hub says of it (null: nothing).  With an etag only if nobody changed it since. */
export async function change(method, path, body, etag) {
  return (await ask(method, path, { body, headers: etag ? { "If-Match": etag } : {} })).value;
}

export function edgePath(id, part = "") {
  return `v1/edges/${encodeURIComponent(id)}${part}`;
}

/* May this token change things?  A dry run tells. */
export async function mayChange() {
  try {
    await ask("PUT", "v1/log-level?dryRun=true", { body: { level: "info" } });
    return true;
  } catch (problem) {
    if (problem.code === "readOnly") return false;
    throw problem;
  }
}
