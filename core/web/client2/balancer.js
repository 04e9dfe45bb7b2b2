// Asks an origin's balancer which server a viewer should play from.

/** A viewer waits this long for the balancer before playing from the server at hand. */
const LOOKUP_TIMEOUT_MS = 3_000;

/**
 * Resolves to the WebSocket URL that the balancer behind `serverUrl` names for `streamName`.
 * Rejects with an Error whose message is fit to be shown.
 */
export async function askBalancer(serverUrl, streamName) {
  const server = new URL(serverUrl);
  const lookup = new URL(serverUrl.replace(/^ws/i, "http"));
  lookup.pathname = "/";
  lookup.search = new URLSearchParams({ action: "server_list", streamName });
  const secure = location.protocol === "https:" || server.protocol === "wss:";
  return chosenUrl(await fetchAnswer(lookup), secure);
}

/** True if two WebSocket URLs lead to the same host and port. */
export function sameServer(a, b) {
  const [first, second] = [new URL(a), new URL(b)];
  return first.protocol === second.protocol && first.host === second.host;
}

async function fetchAnswer(lookup) {
  let response;
  try {
    const signal = AbortSignal.timeout(LOOKUP_TIMEOUT_MS);
    response = await fetch(lookup, { cache: "no-store", credentials: "omit", signal });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "no answer in time" : "cannot be reached");
  }
  if (!response.ok) throw new Error(`answered ${response.status}`);
  try {
    return await response.json();
  } catch {
    throw new Error("did not answer with JSON");
  }
}

function chosenUrl(answer, secure) {
  const scheme = secure ? "wss" : "ws";
  const port = Number(answer?.[scheme]);
  if (typeof answer?.server !== "string" || answer.server === "") {
    throw new Error("names no server");
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Error(`names no ${scheme} port`);
  }
  const bare = answer.server.includes(":") && !answer.server.startsWith("[");
  const host = bare ? `[${answer.server}]` : answer.server;
  try {
    return new URL(`${scheme}://${host}:${port}`).href.replace(/\/$/, "");
  } catch {
    throw new Error("names no usable address");
  }
}
