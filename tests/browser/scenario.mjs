// The whole story once: publish on the origin, play from the edge, stop, and again.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { OUTCOME } from './paths.mjs';
import { firstFrameAt, proveMedia } from './proof.mjs';
import { Server } from './server.mjs';

export const TWO_WAY = 'two_way_streaming/two_way_streaming.html';
const PLAYER = 'embed_player/player.html';

const STREAM = 'cam';
// G.711 for sound where the picture is not what every browser sends by itself.
const CODECS = {
  VP8: 'opus,vp8',
  H264: 'opus,h264',
  VP9: 'ulaw,vp9',
  AV1: 'alaw,av1',
};

const SESSION_MS = 10_000;
const STATUS_MS = 15_000;
const BALANCER_MS = 5_000;
const LATE_MS = 10_000;
const LATE_FRAME_MS = 2_000;

/**
 * Runs the story and fails at the first thing that is not as it should be.
 *
 * `runtime` is 'mio' or 'tokio', `pages` 'sdk' or 'own', `codec` a key of CODECS; `publisher` and
 * `viewer` are browsers; `tls` puts pages, signaling and the link on TLS; `addresses` are what the
 * servers put into SDP. Screenshots and logs go to a folder of the scenario's name.
 */
export async function runScenario(test, scenario) {
  const { runtime, pages, codec, publisher, viewer, tls = false } = scenario;
  const addresses = scenario.addresses ?? ['127.0.0.1'];
  const stage = new Stage(test, scenarioName(scenario));
  const common = { runtime, pages, codecs: CODECS[codec], addresses, folder: stage.folder };
  let passed = false;
  try {
    const edge = await stage.add(Server.start({ ...common, name: 'edge' }));
    const origin = await stage.add(Server.start({ ...common, name: 'origin', edge, secure: tls }));

    const studio = await stage.open(publisher, 'studio', origin.page(tls, TWO_WAY));
    await connect(studio, origin.url(tls));
    await stage.picture(studio, 'connected');
    await publish(studio);
    const publishedAt = performance.now();
    await stage.picture(studio, 'publishing');
    await balancerNames(origin, edge);

    const embedded = await stage.open(viewer, 'embedded', playerPage(edge, tls));
    await playEmbedded(embedded);
    stage.note(await proveMedia(embedded, { display: '#remoteVideo', codec, seconds: 5 }));
    await stage.picture(embedded, 'playing-embedded');

    await play(studio);
    stage.note(await proveMedia(studio, { display: '#remoteVideo', codec, seconds: 2 }));
    await stage.picture(studio, 'playing-on-origin');

    const late = await stage.open(viewer, 'late', edge.page(tls, TWO_WAY));
    await connect(late, edge.url(tls));
    await sleep(Math.max(0, publishedAt + LATE_MS - performance.now()));
    await available(late);
    stage.note(await joinsLate(late));
    await stage.picture(late, 'playing-late');
    await stop(late);
    await stage.picture(late, 'stopped');
    await play(late);
    stage.note(await proveMedia(late, { display: '#remoteVideo', codec, seconds: 1 }));

    await stopEmbedded(embedded);
    await playEmbedded(embedded);
    stage.note(await proveMedia(embedded, { display: '#remoteVideo', codec, seconds: 1 }));

    await unpublish(studio, [studio, late, embedded]);
    assert.equal(await late.text('#playStatus'), 'FAILED');
    await stage.picture(studio, 'unpublished');
    await stage.picture(late, 'failed');
    await stage.picture(embedded, 'failed-embedded');
    passed = true;
  } finally {
    await stage.end(passed);
  }
}

/** A name that tells scenarios apart, fit for a folder. */
export function scenarioName({ runtime, pages, codec, publisher, viewer, tls, label }) {
  const parts = [runtime, pages, codec, `${publisher.name}-to-${viewer.name}`];
  return [...parts, ...(tls ? ['tls'] : []), ...(label ? [label] : [])].join('-').toLowerCase();
}

export async function connect(page, url) {
  await page.fill('#urlServer', url);
  await page.click('#connectBtn');
  await page.shows('#connectStatus', 'ESTABLISHED', SESSION_MS);
}

export async function publish(page) {
  await page.fill('#publishStream', STREAM);
  await page.click('#publishBtn');
  await page.shows('#publishStatus', 'PUBLISHING', STATUS_MS);
}

export async function play(page) {
  const since = await page.mark();
  await page.fill('#playStream', STREAM);
  await page.click('#playBtn');
  const playing = await page.status('PLAYING', since, STATUS_MS);
  await page.shows('#playStatus', 'PLAYING', STATUS_MS);
  return playing;
}

async function stop(page) {
  const since = await page.mark();
  await page.click('#playBtn');
  await page.status('STOPPED', since, STATUS_MS);
  await page.shows('#playStatus', 'STOPPED', STATUS_MS);
}

async function available(page) {
  await page.fill('#playStream', STREAM);
  await page.click('#availableBtn');
  const reply = await page.until('a reply to availableStream', SESSION_MS, () =>
    window.witness.received.find(({ message }) => message === 'availableStream'),
  );
  assert.equal(reply.data[0].status, 'true', 'the edge should have the stream');
}

async function joinsLate(page) {
  const { at } = await play(page);
  const waited = Math.round((await firstFrameAt(page, 2 * LATE_FRAME_MS)) - at);
  assert.ok(waited <= LATE_FRAME_MS, `late viewer: no frame until ${waited} ms after PLAYING`);
  return `late viewer: first frame ${waited} ms after PLAYING`;
}

// In the player page a button in the middle of the picture plays; pausing the picture stops.
async function playEmbedded(page) {
  const since = await page.mark();
  await page.evaluate(() => document.querySelector('#play, #playBtn').click());
  await page.status('PLAYING', since, STATUS_MS);
}

async function stopEmbedded(page) {
  const since = await page.mark();
  await page.evaluate(() => document.querySelector('#remoteVideo video').pause());
  await page.status('STOPPED', since, STATUS_MS);
}

async function unpublish(publisher, viewers) {
  const marks = await Promise.all(viewers.map((page) => page.mark()));
  await publisher.click('#publishBtn');
  await publisher.shows('#publishStatus', 'UNPUBLISHED', STATUS_MS);
  for (const [i, page] of viewers.entries()) {
    const { info } = await page.status('FAILED', marks[i], STATUS_MS);
    assert.equal(info, 'Stopped by publisher stop', 'why a viewer was ended');
  }
}

function playerPage(edge, tls) {
  const url = new URL(edge.page(tls, PLAYER));
  url.searchParams.set('urlServer', edge.url(tls));
  url.searchParams.set('streamName', STREAM);
  url.searchParams.set('mediaProviders', 'WebRTC');
  return url.href;
}

/** Asks the origin, as a viewer's page does, where to play; in the end it must name the edge. */
async function balancerNames(origin, edge) {
  const end = performance.now() + BALANCER_MS;
  const query = `http://127.0.0.1:${origin.port('http')}/?action=server_list&streamName=${STREAM}`;
  for (;;) {
    const response = await fetch(query, { signal: AbortSignal.timeout(BALANCER_MS) });
    assert.equal(response.status, 200, 'a client hangs on any other status');
    assert.equal(response.headers.get('access-control-allow-origin'), '*');
    const answer = await response.json();
    if (answer.ws === edge.port('ws')) {
      assert.equal(answer.server, '127.0.0.1');
      return;
    }
    if (performance.now() > end) {
      assert.fail(`the balancer should name ws port ${edge.port('ws')}: ${JSON.stringify(answer)}`);
    }
    await sleep(100);
  }
}

/** What a scenario has opened, and the folder where it leaves its traces. */
export class Stage {
  #test;
  #pages = new Map();
  #servers = [];
  #pictures = 0;
  #uncaught = [];

  constructor(test, name) {
    this.#test = test;
    this.folder = path.join(OUTCOME, name);
    fs.rmSync(this.folder, { recursive: true, force: true });
    fs.mkdirSync(this.folder, { recursive: true });
  }

  async add(starting) {
    const server = await starting;
    this.#servers.push(server);
    return server;
  }

  async open(browser, name, url) {
    const file = path.join(this.folder, `${name}.log`);
    const page = await browser.open(url, (line) => {
      fs.appendFileSync(file, `${line}\n`);
      if (line.startsWith('uncaught ')) this.#uncaught.push(`${name}: ${line}`);
    });
    this.#pages.set(name, page);
    return page;
  }

  note(line) {
    this.#test.diagnostic(line);
  }

  async picture(page, what) {
    this.#pictures += 1;
    const number = String(this.#pictures).padStart(2, '0');
    await page.screenshot(path.join(this.folder, `${number}-${what}.png`));
  }

  /** Closes everything; only after a pass does the way it closes matter. */
  async end(passed) {
    const failures = [];
    const attempt = (step) => step.catch((error) => failures.push(error));
    for (const [name, page] of this.#pages) {
      if (!passed) await attempt(this.picture(page, `end-${name}`));
      const messages = await page.messages().catch(String);
      fs.writeFileSync(path.join(this.folder, `${name}-messages.json`), messages);
      await attempt(page.close());
    }
    for (const server of this.#servers.reverse()) await attempt(server.stop());
    if (!passed) return;
    if (failures.length > 0) throw failures[0];
    assert.deepEqual(this.#uncaught, [], 'exceptions that the pages did not catch');
  }
}
