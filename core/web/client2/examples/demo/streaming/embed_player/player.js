// The player that other pages embed. Parameters:
//   urlServer       ws:// or wss:// address; by default the node that serves this page
//   streamName      what to play
//   mediaProviders  comma list; WebRTC must be in it, if given
//   autoplay        "true" plays at once; anything else waits for the button
//   resolution      WIDTHxHEIGHT, passed on as a wish

import { connectionAdvice, parseServerUrl } from "../../../../advice.js";
import { askBalancer, sameServer } from "../../../../balancer.js";
import { Session } from "../../../../distributary.js";
import { showFigures } from "../../../../figures.js";
import {
  byId,
  clearMedia,
  ownServerUrl,
  setInfo,
  setStatus,
  showFailure,
  showMedia,
  wireUnmute,
} from "../../../../page.js";

const video = byId("remoteVideo").querySelector("video");
const unmute = byId("unmuteBtn");
const given = new URLSearchParams(location.search);
const urlServer = given.get("urlServer") || ownServerUrl();
const streamName = given.get("streamName") || "streamName";
const mediaProviders = (given.get("mediaProviders") || "WebRTC").split(",");

let session = null;
let playing = null;

// For tests and the curious: getStats is on `playing.peerConnection`.
window.distributary = {
  get session() {
    return session;
  },
  publishing: null,
  get playing() {
    return playing;
  },
};

wireUnmute(video, unmute);
showFigures(byId("playFigures"), "viewer", () => playing);
byId("playBtn").addEventListener("click", play);
// Pausing what is live would show the past: pause is stop.
video.addEventListener("pause", () => playing?.stop());
if (given.get("autoplay") === "true") play();

async function play() {
  byId("playBtn").hidden = true;
  setStatus(byId("playStatus"), "");
  setInfo(byId("playInfo"), "Connecting …");
  setInfo(byId("playServer"));
  if (!mediaProviders.includes("WebRTC")) {
    refuse("No technology", { text: "This server offers WebRTC: put it into mediaProviders." });
    return;
  }
  if (!parseServerUrl(urlServer)) {
    refuse("This is no WebSocket address", connectionAdvice(urlServer, ""));
    return;
  }
  session = await openSession();
  if (!session) return;
  setInfo(byId("playInfo"), "Playing …");
  playing = session.play(streamName, wantedSize());
  playing.addEventListener("status", ({ target }) => onPlaying(target));
  playing.addEventListener("event", ({ detail }) => onStreamEvent(detail));
}

/** A session to the server that the balancer names, else to `urlServer`; null if both fail. */
async function openSession() {
  const { url, why } = await chooseServer();
  const chosen = new Session(url);
  if (await chosen.open()) {
    setInfo(byId("playServer"), `From ${url}${why}`);
    return chosen;
  }
  const advice = connectionAdvice(url, chosen.info);
  if (url === urlServer) {
    refuse(chosen.info, advice);
    return null;
  }
  setInfo(byId("playServer"), `${url} cannot be reached`, advice);
  const fallback = new Session(urlServer);
  if (await fallback.open()) {
    setInfo(byId("playServer"), `From ${urlServer}: ${url} cannot be reached`, advice);
    return fallback;
  }
  refuse(fallback.info, connectionAdvice(urlServer, fallback.info));
  return null;
}

async function chooseServer() {
  try {
    const url = await askBalancer(urlServer, streamName);
    if (sameServer(url, urlServer)) return { url: urlServer, why: "" };
    return { url, why: ", as the balancer says" };
  } catch (error) {
    return { url: urlServer, why: ` (the balancer ${error.message})` };
  }
}

function onPlaying(stream) {
  setStatus(byId("playStatus"), stream.status);
  showFailure(byId("playInfo"), stream);
  if (!stream.ended) {
    video.controls = true;
    showMedia(video, stream.media, unmute);
    return;
  }
  playing = null;
  clearMedia(video, unmute);
  byId("playBtn").hidden = false;
  session?.close();
  session = null;
}

function refuse(reason, advice) {
  setStatus(byId("playStatus"), "FAILED");
  setInfo(byId("playInfo"), reason, advice);
  byId("playBtn").hidden = false;
}

function onStreamEvent({ type, payload }) {
  if (type === "data") {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    setInfo(byId("playInfo"), `Data: ${text}`);
  } else if (type === "audioMuted" || type === "videoMuted") {
    const what = type === "audioMuted" ? "sound" : "picture";
    setInfo(byId("playInfo"), `The publisher muted the ${what}.`);
  } else if (type === "audioUnmuted" || type === "videoUnmuted") {
    setInfo(byId("playInfo"));
  } else if (type === "notEnoughBandwidth") {
    setInfo(byId("playInfo"), "This network is too slow for the stream.");
  }
}

function wantedSize() {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(given.get("resolution") ?? "") ?? [];
  return width ? { width: Number(width), height: Number(height) } : {};
}
