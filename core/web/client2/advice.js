// What somebody in front of the page can do about each failure: `{text, href, label}`, where the
// link is optional.

import { CONNECTION_FAILED, CONNECTION_LOST, NO_ANSWER } from "./distributary.js";

const CHECK_NAME =
  "Check the name, and that it is being published; an edge has what its origin sends it.";
const OPEN_UDP =
  "No media came through: UDP to the server's media ports (31001 and up) must be open, and the "
  + "server must know its public address (ip in flashphoner.properties).";
const PATH_LOST = "The network between browser and server changed or broke; start again.";
const SECURED_PATH =
  "The encrypted media path was not agreed on: try without VPN or proxy, or another browser.";
const OTHER_CODEC =
  "This browser cannot decode what is published: publish VP8 or H264 with Opus, or play in "
  + "another browser.";
const ENDED_BY_NODE = "The server ends this stream, perhaps for a restart; start again shortly.";
const OPERATOR_LOOKS = "The server's log says more; its operator should look there.";

/** By the server's `info`, or this side's own. */
const STREAM_ADVICE = new Map([
  ["Stream not found", CHECK_NAME],
  ["CDN stream not found", CHECK_NAME],
  ["Session does not exist", CHECK_NAME],
  ["Publish stream is not ready", "Its publisher is just starting; try again in a moment."],
  ["Stream name is already in use", "Choose another name, or stop the other publisher first."],
  ["MediaSessionId is already in use", "Reload the page and try again."],
  ["Session not ready", "Disconnect, connect again, and retry."],
  ["No common codecs", OTHER_CODEC],
  ["Transcoding required, but disabled", OTHER_CODEC],
  ["No available transcoders", OTHER_CODEC],
  ["Failed by ICE timeout", OPEN_UDP],
  ["Failed by ICE error", OPEN_UDP],
  ["Failed by ICE keep alive", PATH_LOST],
  ["Terminated by keep-alive", PATH_LOST],
  ["Failed by DTLS error", SECURED_PATH],
  ["Failed by DTLS fingerprint error", SECURED_PATH],
  [
    "Failed by RTP activity",
    "This browser sent no media: free the camera from other programs, keep the tab awake, publish "
    + "again.",
  ],
  ["Stopped by publisher stop", "The publisher ended; press Play when it is back."],
  ["Stopped by session disconnect", "The publisher is disconnected; press Play when it is back."],
  ["Stopped by rest /terminate", "An operator ended this stream."],
  [
    "Failed to connect to origin stream",
    "This edge does not reach its origin; the operator should look at the link between them.",
  ],
  ["Agent servicing origin stream is shutting down", ENDED_BY_NODE],
  ["Requested stream shutdown", ENDED_BY_NODE],
  ["Restricted access", "This server wants a permission that you lack; ask its operator."],
  ["Failed to add stream to proxy", OPERATOR_LOOKS],
  ["Failed by error", OPERATOR_LOOKS],
  ["Stream failed", OPERATOR_LOOKS],
  ["Failed to get agent storage", "This server plays published streams only, not addresses."],
  [NO_ANSWER, "Disconnect, connect again, and retry; if it stays so, the server is overloaded."],
  [CONNECTION_LOST, "Connect again; if it fails, the server is down or out of reach."],
]);

/** By the name of the DOMException. */
const CAMERA_ADVICE = new Map([
  ["NotAllowedError", "Allow camera and microphone in the browser's site settings, then retry."],
  ["NotFoundError", "No camera and no microphone found: plug one in, then retry."],
  ["NotReadableError", "Another program holds the camera or microphone: close it, then retry."],
  ["OverconstrainedError", "The camera has no such picture size: choose another one."],
  ["SecurityError", "This browser's settings forbid the camera on this page."],
]);

/** What to do about a stream that failed with `info`. */
export function streamAdvice(info) {
  if (info.startsWith("Local error")) return { text: "Reload the page, or try another browser." };
  return { text: STREAM_ADVICE.get(info) ?? "" };
}

/** What to do about a camera that getUserMedia refused with `error`. */
export function cameraAdvice(error) {
  const text = CAMERA_ADVICE.get(error.name) ?? "Try another browser or another camera.";
  return { text: `${error.message || error.name}. ${text}`.replace(/\.\. /, ". ") };
}

/** What to do about a page on which browsers hide the camera; null where they do not. */
export function insecurePageAdvice() {
  if (isSecureContext && navigator.mediaDevices) return null;
  if (isSecureContext) return { text: "This browser offers no camera to web pages: try another." };
  const text = "Browsers hide the camera on plain http: publishing needs this page over https.";
  const port = new Map([["8080", "8443"], ["8081", "8444"]]).get(location.port);
  if (!port) {
    return { text: `${text} The server prints its https port in the line that begins "ready".` };
  }
  const page = new URL(location.href);
  page.protocol = "https:";
  page.port = port;
  return { text, href: page.href, label: `Open https://${page.host}` };
}

/** What to do about a session to `url` that failed with `info`. */
export function connectionAdvice(url, info) {
  const server = parseServerUrl(url);
  if (!server) return { text: "Write the address as ws://host:port or wss://host:port." };
  if (location.protocol === "https:" && server.protocol === "ws:") {
    return { text: "A page over https cannot use ws://: write wss:// and the server's TLS port." };
  }
  if (info !== CONNECTION_FAILED) return { text: STREAM_ADVICE.get(info) ?? "" };
  if (server.protocol === "ws:") {
    return { text: "Check the address, that the server runs, and that its port is open." };
  }
  return {
    text: "Check the address and that the server runs. If its certificate is self-signed, open "
      + "the link once, accept the certificate, and connect again.",
    href: `https://${server.host}/client2/index.html`,
    label: `Open https://${server.host}`,
  };
}

/** The URL in `text` if it is one of a WebSocket, else null. */
export function parseServerUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "ws:" || url.protocol === "wss:" ? url : null;
  } catch {
    return null;
  }
}
