// The proof that a tab really shows and plays a stream.

import assert from 'node:assert/strict';

const SAMPLE_MS = 500;

// One in a thousand of 160 x 120, or a shown clock would do where noise would not.
const CHANGED_PIXELS_MIN = 20;

// The fake microphones' beeps have 0.01 to 0.3 a second, a muted microphone less than 1e-8.
const AUDIO_ENERGY_MIN = 1e-4;

/**
 * Watches the tab's newest open peer connection, and the video in `display`, for `seconds`.
 *
 * Frames must be decoded in every half second but one, audio packets and audio energy must
 * arrive, two pictures half a second apart must differ, and one MediaStream must hold audio and
 * video. `codec` ('VP8', 'H264') is what the video must be coded with. Returns a line to print.
 */
export async function proveMedia(page, { display, codec, seconds }) {
  await firstFrameAt(page, 5_000);
  const samples = [await page.evaluate(inbound)];
  const changes = [];
  for (let sample = 0; sample < (seconds * 1_000) / SAMPLE_MS; sample += 1) {
    changes.push(await page.evaluate(changed, [display, SAMPLE_MS]));
    samples.push(await page.evaluate(inbound));
  }

  // Sound that is in another stream than the one shown is not even decoded, so this comes first.
  const tracks = await page.evaluate(shown, display);
  assert.deepEqual(tracks, ['audio', 'video'], 'the tracks of the MediaStream that is shown');

  const first = samples[0];
  const last = samples.at(-1);
  const told = JSON.stringify({ first, last });
  const stalls = samples.slice(1).filter((now, i) => now.frames <= samples[i].frames).length;
  const halves = changes.length;
  assert.ok(stalls <= 1, `${stalls} of ${halves} half seconds without a new frame: ${told}`);
  assert.ok(last.audioPackets > first.audioPackets, `no audio packet came: ${told}`);
  const energy = last.audioEnergy - first.audioEnergy;
  assert.ok(energy >= AUDIO_ENERGY_MIN, `the audio is silence: ${told}`);
  assert.equal(last.codec, `video/${codec}`, `the wrong codec: ${told}`);

  const moved = changes.filter((pixels) => pixels >= CHANGED_PIXELS_MIN).length;
  assert.ok(moved > 0, `the video stands still: changed pixels ${changes}`);

  const rate = ((last.frames - first.frames) * 1_000) / (last.at - first.at);
  const pace = `${rate.toFixed(1)} frames/s, ${last.freezes} freezes`;
  return `${codec} ${pace}, ${moved} of ${halves} pictures moved`;
}

/** When, on the tab's clock, its newest peer connection had decoded a frame. */
export async function firstFrameAt(page, deadlineMs) {
  return page.until('a first decoded frame', deadlineMs, firstFrame);
}

async function firstFrame() {
  const peer = window.witness.peers.findLast((one) => one.signalingState !== 'closed');
  if (!peer) return null;
  const reports = [...(await peer.getStats()).values()];
  const decoded = reports.some((one) => one.type === 'inbound-rtp' && one.framesDecoded > 0);
  return decoded ? performance.now() : null;
}

async function inbound() {
  const peer = window.witness.peers.findLast((one) => one.signalingState !== 'closed');
  const stats = await peer.getStats();
  const reports = [...stats.values()].filter((one) => one.type === 'inbound-rtp');
  const video = reports.find((one) => one.kind === 'video') ?? {};
  const audio = reports.find((one) => one.kind === 'audio') ?? {};
  return {
    at: performance.now(),
    frames: video.framesDecoded ?? 0,
    freezes: video.freezeCount ?? 0,
    codec: stats.get(video.codecId)?.mimeType,
    audioPackets: audio.packetsReceived ?? 0,
    audioEnergy: audio.totalAudioEnergy ?? 0,
  };
}

// How many pixels of a small copy of the picture change within `ms`.
async function changed([display, ms]) {
  const [width, height] = [160, 120];
  const capture = () => {
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(document.querySelector(`${display} video`), 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  const before = capture();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const after = capture();
  const pixels = new Set();
  before.forEach((value, at) => {
    if (Math.abs(value - after[at]) > 8) pixels.add(at >> 2);
  });
  return pixels.size;
}

function shown(display) {
  const { srcObject } = document.querySelector(`${display} video`);
  return srcObject.getTracks().map((track) => track.kind).sort();
}
