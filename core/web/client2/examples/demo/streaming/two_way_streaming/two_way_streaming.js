// Two-way Streaming: publish a camera and play a stream, on one server or through the balancer.

import {
  cameraAdvice,
  connectionAdvice,
  insecurePageAdvice,
  parseServerUrl,
  streamAdvice,
} from "../../../../advice.js";
import { askBalancer, sameServer } from "../../../../balancer.js";
import { Session } from "../../../../distributary.js";
import { showFigures } from "../../../../figures.js";
import {
  byId,
  clearMedia,
  ownServerUrl,
  randomName,
  setInfo,
  setStatus,
  showFailure,
  showMedia,
  wireUnmute,
} from "../../../../page.js";

const localVideo = byId("localVideo").querySelector("video");
const remoteVideo = byId("remoteVideo").querySelector("video");
const unmute = byId("unmuteBtn");

let session = null;
let publishing = null;
let playing = null;

// For tests and the curious: getStats is on `publishing.peerConnection` and on `playing`'s.
window.distributary = {
  get session() {
    return session;
  },
  get publishing() {
    return publishing;
  },
  get playing() {
    return playing;
  },
};

const name = randomName();
byId("publishStream").value = name;
byId("playStream").value = name;
byId("urlServer").value = ownServerUrl();
wireUnmute(remoteVideo, unmute);
showFigures(byId("publishFigures"), "publisher", () => publishing);
showFigures(byId("playFigures"), "viewer", () => playing);

const hidden = insecurePageAdvice();
if (hidden) {
  byId("notice").hidden = false;
  setInfo(byId("notice"), "", hidden);
}

onSubmit("connectForm", () => (session ? disconnect() : connect()));
onSubmit("publishForm", () => (publishing ? stop(publishing, "publishBtn") : publish()));
onSubmit("playForm", () => (playing ? stop(playing, "playBtn") : play()));
onSubmit("dataForm", sendData);
byId("availableBtn").addEventListener("click", askAvailable);
byId("muteAudio").addEventListener("change", () => mute("audio", byId("muteAudio").checked));
byId("muteVideo").addEventListener("change", () => mute("video", byId("muteVideo").checked));

// Connecting

function connect() {
  const url = byId("urlServer").value.trim();
  if (!parseServerUrl(url)) {
    setStatus(byId("connectStatus"), "FAILED");
    setInfo(byId("connectInfo"), "This is no WebSocket address", connectionAdvice(url, ""));
    return;
  }
  session = new Session(url);
  session.addEventListener("status", ({ target }) => onConnection(target));
  byId("urlServer").readOnly = true;
  byId("connectBtn").disabled = true;
  setStatus(byId("connectStatus"), "");
  setInfo(byId("connectInfo"), "Connecting …");
  session.open();
}

function disconnect() {
  // What is played from an edge has a session of its own.
  playing?.stop();
  session.close();
}

function onConnection(from) {
  if (from !== session || from.status === "CONNECTED") return;
  setStatus(byId("connectStatus"), from.status);
  const established = from.status === "ESTABLISHED";
  setInfo(byId("connectInfo"), from.info, from.info ? connectionAdvice(from.url, from.info) : null);
  if (!established) session = null;
  byId("urlServer").readOnly = established;
  byId("connectBtn").textContent = established ? "Disconnect" : "Connect";
  byId("connectBtn").disabled = false;
  enableStarts();
}

function enableStarts() {
  const established = session?.status === "ESTABLISHED";
  if (!publishing) byId("publishBtn").disabled = !established;
  if (!playing) byId("playBtn").disabled = !established;
  byId("availableBtn").disabled = !established;
}

// Publishing

async function publish() {
  byId("publishBtn").disabled = true;
  setStatus(byId("publishStatus"), "");
  setInfo(byId("publishInfo"), "Asking for the camera …");
  let media;
  try {
    media = await openCamera();
  } catch (error) {
    setStatus(byId("publishStatus"), "FAILED");
    setInfo(byId("publishInfo"), "No camera", insecurePageAdvice() ?? cameraAdvice(error));
    enableStarts();
    return;
  }
  if (session?.status !== "ESTABLISHED") {
    closeCamera(media);
    setInfo(byId("publishInfo"));
    return;
  }
  localVideo.srcObject = media;
  // A preview that may not start by itself changes nothing for the viewers.
  localVideo.play().catch(() => {});
  setInfo(byId("publishInfo"), "Publishing …");
  publishing = session.publish(byId("publishStream").value.trim(), media);
  publishing.addEventListener("status", ({ target }) => onPublishing(target));
  publishing.addEventListener("path", ({ target }) => onPath(target, "publishInfo"));
  byId("publishBtn").textContent = "Stop";
  byId("publishBtn").disabled = false;
  byId("publishStream").readOnly = true;
}

async function openCamera() {
  const [width, height] = byId("pictureSize").value.split("x").map(Number);
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true, video });
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
    // One of the two is missing: what is there is published.
    const media = { audio: await hasDevice("audioinput"), video: await hasDevice("videoinput") };
    if (media.audio === media.video) throw error;
    return navigator.mediaDevices.getUserMedia(media.video ? { video } : { audio: true });
  }
}

async function hasDevice(kind) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.some((device) => device.kind === kind);
}

function closeCamera(media) {
  for (const track of media.getTracks()) track.stop();
}

function onPublishing(stream) {
  setStatus(byId("publishStatus"), stream.status);
  showFailure(byId("publishInfo"), stream);
  for (const id of ["muteAudio", "muteVideo", "sendDataBtn"]) byId(id).disabled = stream.ended;
  byId("pictureSize").disabled = !stream.ended;
  if (!stream.ended) return;
  closeCamera(stream.media);
  publishing = null;
  localVideo.srcObject = null;
  byId("muteAudio").checked = false;
  byId("muteVideo").checked = false;
  byId("publishStream").readOnly = false;
  byId("publishBtn").textContent = "Publish";
  setInfo(byId("sendDataInfo"));
  enableStarts();
}

function mute(kind, muted) {
  publishing?.mute(kind, muted);
}

function sendData() {
  const text = byId("sendDataText").value;
  let payload = text;
  try {
    payload = JSON.parse(text);
  } catch {
    // What is no JSON is sent as a string.
  }
  const sent = publishing?.sendData(payload) ?? false;
  const at = new Date().toLocaleTimeString();
  setInfo(byId("sendDataInfo"), sent ? `Sent at ${at}` : "Not sent: publish first");
}

// Playing

async function play() {
  const origin = session;
  const streamName = byId("playStream").value.trim();
  byId("playBtn").disabled = true;
  setStatus(byId("playStatus"), "");
  setInfo(byId("playInfo"), "Playing …");
  setInfo(byId("playServer"));
  byId("playData").textContent = "";
  const server = byId("playOnEdge").checked ? await openEdge(origin, streamName) : origin;
  if (origin.status !== "ESTABLISHED") {
    if (server !== origin) server.close();
    setInfo(byId("playInfo"));
    return;
  }
  playing = server.play(streamName);
  playing.addEventListener("status", ({ target }) => onPlaying(target));
  playing.addEventListener("path", ({ target }) => onPath(target, "playInfo"));
  playing.addEventListener("event", ({ detail }) => onStreamEvent(detail));
  byId("playBtn").textContent = "Stop";
  byId("playBtn").disabled = false;
  byId("playStream").readOnly = true;
}

/** The session to play from: one to the edge that the balancer names, or `origin`. */
async function openEdge(origin, streamName) {
  setInfo(byId("playServer"), "Asking the balancer …");
  let url;
  try {
    url = await askBalancer(origin.url, streamName);
  } catch (error) {
    setInfo(byId("playServer"), `From ${origin.url}: the balancer ${error.message}`);
    return origin;
  }
  if (sameServer(url, origin.url)) {
    setInfo(byId("playServer"), `From ${origin.url}, as the balancer says`);
    return origin;
  }
  setInfo(byId("playServer"), `Connecting to ${url} …`);
  const edge = new Session(url);
  if (await edge.open()) {
    setInfo(byId("playServer"), `From ${url}, as the balancer says`);
    return edge;
  }
  const reason = `From ${origin.url}: ${url} cannot be reached`;
  setInfo(byId("playServer"), reason, connectionAdvice(url, edge.info));
  return origin;
}

function onPlaying(stream) {
  setStatus(byId("playStatus"), stream.status);
  showFailure(byId("playInfo"), stream);
  if (!stream.ended) {
    remoteVideo.controls = true;
    showMedia(remoteVideo, stream.media, unmute);
    return;
  }
  playing = null;
  clearMedia(remoteVideo, unmute);
  byId("playStream").readOnly = false;
  byId("playBtn").textContent = "Play";
  if (stream.session !== session) stream.session.close();
  enableStarts();
}

const EVENT_WORDS = new Map([
  ["audioMuted", "The publisher muted the sound."],
  ["audioUnmuted", ""],
  ["videoMuted", "The publisher muted the picture."],
  ["videoUnmuted", ""],
  ["notEnoughBandwidth", "This network is too slow for the stream."],
]);

function onStreamEvent({ type, payload }) {
  if (type === "data") {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    byId("playData").textContent = `${new Date().toLocaleTimeString()}  ${text}`;
  } else if (EVENT_WORDS.has(type)) {
    setInfo(byId("playInfo"), EVENT_WORDS.get(type));
  }
}

async function askAvailable() {
  byId("availableBtn").disabled = true;
  const { available, info } = await session.available(byId("playStream").value.trim());
  const reason = info || "Stream not found";
  if (available) setInfo(byId("playInfo"), "Available");
  else setInfo(byId("playInfo"), `Not available: ${reason}`, streamAdvice(reason));
  enableStarts();
}

// Both

function stop(stream, button) {
  byId(button).disabled = true;
  stream.stop();
}

function onPath(stream, info) {
  if (stream.ended) return;
  const state = stream.peerConnection.connectionState;
  if (state === "connected") setInfo(byId(info));
  if (state === "disconnected") setInfo(byId(info), "The media path is interrupted …");
  if (state === "failed") setInfo(byId(info), "The media path is lost; the server will end this.");
}

function onSubmit(form, action) {
  byId(form).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}
