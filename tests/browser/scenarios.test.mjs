// The story with every choice met at least once; in the full run, with every combination.

import { after, before, test } from 'node:test';

import { startChromium } from './chromium.mjs';
import { startFirefox } from './firefox.mjs';
import { runScenario, scenarioName } from './scenario.mjs';

const TIMEOUT_MS = 120_000;

// Filled in before the first scenario runs; only the names are needed earlier.
const chromium = { name: 'chromium' };
const firefox = { name: 'firefox' };

before(async () => {
  Object.assign(chromium, await startChromium({ loopback: true }));
  Object.assign(firefox, await startFirefox());
});
after(() => Promise.all([chromium.close?.(), firefox.close?.()]));

const gate = [
  { runtime: 'tokio', pages: 'sdk', codec: 'VP8', publisher: chromium, viewer: chromium },
  { runtime: 'mio', pages: 'own', codec: 'VP8', publisher: chromium, viewer: chromium },
  { runtime: 'tokio', pages: 'own', codec: 'H264', publisher: chromium, viewer: chromium },
  { runtime: 'mio', pages: 'sdk', codec: 'H264', publisher: chromium, viewer: chromium, tls: true },
  { runtime: 'tokio', pages: 'sdk', codec: 'VP8', publisher: firefox, viewer: chromium },
  { runtime: 'mio', pages: 'own', codec: 'VP8', publisher: chromium, viewer: firefox },
];

const scenarios = process.env.DISTRIBUTARY_MATRIX === 'full' ? everyCombination() : gate;

for (const scenario of scenarios) {
  const options = { timeout: TIMEOUT_MS };
  test(scenarioName(scenario), options, (context) => runScenario(context, scenario));
}

function everyCombination() {
  const browsers = [chromium, firefox];
  const combinations = [{}]
    .flatMap(spread('runtime', ['tokio', 'mio']))
    .flatMap(spread('pages', ['sdk', 'own']))
    .flatMap(spread('codec', ['VP8', 'H264']))
    .flatMap(spread('publisher', browsers))
    .flatMap(spread('viewer', browsers))
    .flatMap(spread('tls', [false, true]));
  // Firefox has no H264 of its own: it downloads that, and tests have no internet.
  const possible = combinations.filter(
    ({ codec, publisher, viewer }) => codec === 'VP8' || ![publisher, viewer].includes(firefox),
  );
  const rest = [{ pages: 'sdk', publisher: chromium, viewer: chromium }]
    .flatMap(spread('runtime', ['tokio', 'mio']))
    .flatMap(spread('codec', ['VP9', 'AV1']));
  return possible.concat(rest);
}

function spread(key, values) {
  return (combination) => values.map((value) => ({ ...combination, [key]: value }));
}
