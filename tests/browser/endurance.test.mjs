// Playing for long, and beginning late: what a browser's own statistics say of it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { startChromium } from './chromium.mjs';
import { firstFrameAt } from './proof.mjs';
import { Stage, TWO_WAY, connect, play, publish } from './scenario.mjs';
import { Server } from './server.mjs';

const FULL = process.env.DISTRIBUTARY_MATRIX === 'full';
const SECONDS = Number(process.env.DISTRIBUTARY_PLAY_SECONDS ?? (FULL ? 60 : 10));

// A browser asks for no key frame by itself, and a node keeps one for 2 s.
const STALE_MS = 3_500;
const FRESH_MS = 700;
const SAMPLE_MS = 1_000;
// Both viewers of one run share the machine with an encoder; they differ by this much anyway.
const DELAY_SLACK_MS = 40;

let chromium;
before(async () => {
  chromium = await startChromium({ loopback: true });
});
after(() => chromium?.close());

for (const runtime of FULL ? ['tokio', 'mio'] : ['tokio']) {
  test(`playing for ${SECONDS} s on ${runtime}`, { timeout: (SECONDS + 90) * 1_000 }, (context) =>
    playForLong(context, runtime),
  );
}

async function playForLong(context, runtime) {
  const stage = new Stage(context, `endurance-${runtime}`);
  let passed = false;
  try {
    const addresses = ['127.0.0.1'];
    const common = { runtime, pages: 'own', codecs: 'opus,vp8', addresses, folder: stage.folder };
    const server = await stage.add(Server.start({ ...common, name: 'node' }));
    const open = async (name) => {
      const page = await stage.open(chromium, name, server.page(false, TWO_WAY));
      await connect(page, server.url(false));
      return page;
    };
    const studio = await open('studio');
    const [asking, cached] = [await open('asking'), await open('cached')];
    await publish(studio);

    await sleep(STALE_MS);
    const before = await wishes(studio);
    await join(stage, asking);
    const asked = await wishes(studio);
    assert.ok(asked > before, 'whoever comes when the key frame is old has one asked for');
    await sleep(FRESH_MS);
    await join(stage, cached);
    assert.equal(await wishes(studio), asked, 'a fresh key frame need not be asked for again');

    stage.note(await negotiated(cached));
    const seen = await watch([asking, cached]);
    await stage.picture(asking, 'asking');
    await stage.picture(cached, 'cached');
    const [patient, late] = seen.map((samples) => judge(samples));
    for (const [name, { line }] of Object.entries({ asking: patient, cached: late })) {
      stage.note(`${name}: ${line}`);
    }
    assert.ok(
      late.delay <= patient.delay + DELAY_SLACK_MS,
      `who began with the cache is ${late.delay} ms behind, who did not ${patient.delay} ms`,
    );
    passed = true;
  } finally {
    await stage.end(passed);
  }
}

async function join(stage, page) {
  const { at } = await play(page);
  const waited = Math.round((await firstFrameAt(page, 5_000)) - at);
  stage.note(`first frame ${waited} ms after PLAYING`);
}

/** How often a publisher was asked for a key frame. */
function wishes(page) {
  return page.evaluate(async () => {
    const stats = await window.witness.peers.at(-1).getStats();
    const video = [...stats.values()].find(
      ({ type, kind }) => type === 'outbound-rtp' && kind === 'video',
    );
    return (video.pliCount ?? 0) + (video.firCount ?? 0);
  });
}

/** What browser and server agreed upon; the parts that matter must be there. */
async function negotiated(page) {
  const found = await page.evaluate(async () => {
    const peer = window.witness.peers.findLast((one) => one.signalingState !== 'closed');
    const stats = [...(await peer.getStats()).values()];
    const transport = stats.find(({ type }) => type === 'transport');
    const video = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    const sdp = peer.remoteDescription.sdp;
    return {
      srtp: transport.srtpCipher,
      dtls: transport.tlsVersion,
      rtx: video.rtxSsrc !== undefined,
      twcc: sdp.includes('transport-wide-cc-extensions-01') && sdp.includes('transport-cc'),
    };
  });
  assert.match(found.srtp, /^SRTP_AEAD_AES_(128|256)_GCM$/);
  assert.ok(found.rtx, 'retransmissions have a source of their own');
  assert.ok(found.twcc, 'transport-wide feedback is agreed upon');
  return `negotiated: ${JSON.stringify(found)}`;
}

/** Looks at each page once a second. */
async function watch(pages) {
  const seen = pages.map(() => []);
  for (let second = 0; second <= SECONDS; second += 1) {
    for (const [i, page] of pages.entries()) seen[i].push(await page.evaluate(inbound));
    await sleep(SAMPLE_MS);
  }
  return seen;
}

async function inbound() {
  const peer = window.witness.peers.findLast((one) => one.signalingState !== 'closed');
  const stats = [...(await peer.getStats()).values()];
  const of = (wanted) =>
    stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === wanted) ?? {};
  const [video, audio] = [of('video'), of('audio')];
  return {
    received: video.framesReceived,
    decoded: video.framesDecoded,
    dropped: video.framesDropped,
    freezes: video.freezeCount,
    wishes: (video.pliCount ?? 0) + (video.firCount ?? 0),
    lost: video.packetsLost + audio.packetsLost,
    waited: video.jitterBufferDelay,
    shown: video.jitterBufferEmittedCount,
    concealed: audio.concealmentEvents,
  };
}

/** What the samples come to; nothing may have been undecodable, frozen, or ever later. */
function judge(samples) {
  const [first, last] = [samples[0], samples.at(-1)];
  const told = JSON.stringify({ first, last });
  const undecoded = last.received - last.decoded - last.dropped;
  // One may be in the decoder just then.
  assert.ok(undecoded <= 2, `${undecoded} frames were not decoded: ${told}`);
  assert.equal(last.freezes, 0, `the picture froze: ${told}`);
  assert.equal(last.wishes, first.wishes, `the decoder lost its way: ${told}`);
  assert.equal(last.lost, 0, `packets were lost on loopback: ${told}`);
  const rate = (last.decoded - first.decoded) / (samples.length - 1);
  assert.ok(rate > 15, `${rate} frames a second: ${told}`);

  const delay = (from, to) => Math.round(((to.waited - from.waited) / (to.shown - from.shown)) * 1e3);
  const quarter = Math.max(1, Math.floor((samples.length - 1) / 4));
  const early = delay(samples[0], samples[quarter]);
  const late = delay(samples[samples.length - 1 - quarter], last);
  assert.ok(late <= early + DELAY_SLACK_MS, `the delay grew from ${early} to ${late} ms: ${told}`);
  const line = `${last.decoded} frames, ${rate.toFixed(1)} a second, 0 undecoded, 0 freezes, \
jitter buffer ${early} ms at first and ${late} ms at last, ${last.concealed} concealments`;
  return { delay: delay(first, last), line };
}
