// api - the hub's management API.  The token lives in this module's memory: never in storage, in a
// cookie, in an address or in the page.

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

/* The answer of a request with the token.  Throws a Problem, or an AbortError by options.signal. */
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
    throw new Problem(0, { detail: "The hub does not answer." });
  }
  if (response.ok || response.status === 304) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status === 401 && token === asked) refused();
  throw problem;
}

/* What is at a path, with its ETag; value null: still what `etag` names. */
export async function get(path, { etag, signal } = {}) {
  const response = await request("GET", path, { signal, headers: etag ? { "If-None-Match": etag } : {} });
  return { value: response.status === 304 ? null : await response.json(), etag: response.headers.get("ETag") };
}

/* A change; what the hub says of it (null: nothing).  With an etag only if nobody changed it since. */
export async function change(method, path, body, etag) {
  const response = await request(method, path, { body, headers: etag ? { "If-Match": etag } : {} });
  return response.status === 204 ? null : response.json();
}

export function edgePath(id, part = "") {
  return `v1/edges/${encodeURIComponent(id)}${part}`;
}

/* May this token change things?  A dry run tells. */
export async function mayChange() {
  try {
    await request("PUT", "v1/log-level?dryRun=true", { body: { level: "info" } });
    return true;
  } catch (problem) {
    if (problem.code === "readOnly") return false;
    throw problem;
  }
}
