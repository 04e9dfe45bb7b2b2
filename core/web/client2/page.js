// What the pages share: server address, status words, advice, sound.

import { streamAdvice } from "./advice.js";

/** The element with this id, which the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** This node's WebSocket: every listener serves both pages and WebSocket, so it is ours. */
export function ownServerUrl() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
}

/** Four random hex digits. */
export function randomName() {
  const [number] = crypto.getRandomValues(new Uint16Array(1));
  return number.toString(16).padStart(4, "0");
}

const TONES = new Map([
  ["ESTABLISHED", "good"],
  ["PUBLISHING", "good"],
  ["PLAYING", "good"],
  ["FAILED", "bad"],
]);

/** Shows a status word. */
export function setStatus(element, word) {
  element.textContent = word;
  element.dataset.tone = TONES.get(word) ?? "idle";
}

/** Shows what happened (`reason`) and what to do about it (`advice`, with its link if any). */
export function setInfo(element, reason = "", advice = null) {
  const sentence = reason && advice?.text && !/[.:!?]$/.test(reason) ? `${reason}.` : reason;
  element.textContent = [sentence, advice?.text].filter(Boolean).join(" ");
  if (!advice?.href) return;
  const link = document.createElement("a");
  link.href = advice.href;
  link.textContent = advice.label;
  link.target = "_blank";
  link.rel = "noopener";
  element.append(" ", link);
}

/** Shows why `stream` failed and what to do about it; empties `element` if it did not fail. */
export function showFailure(element, { status, info }) {
  if (status === "FAILED") setInfo(element, info, streamAdvice(info));
  else setInfo(element);
}

/**
 * Plays `media` in `video`, with sound if the browser lets it; else muted, and `unmute` (a button)
 * appears.
 */
export async function showMedia(video, media, unmute) {
  unmute.hidden = true;
  video.muted = false;
  video.srcObject = media;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    unmute.hidden = false;
    // Muted play is refused only while the page is hidden; the browser's controls remain.
    await video.play().catch(() => {});
  }
}

/** Empties `video`. */
export function clearMedia(video, unmute) {
  video.srcObject = null;
  video.controls = false;
  unmute.hidden = true;
}

/** Lets the `unmute` button give `video` its sound back. */
export function wireUnmute(video, unmute) {
  unmute.addEventListener("click", () => {
    video.muted = false;
    unmute.hidden = true;
  });
}
