// The choices in pairs: each runtime meets each client, codec and browser at least once.

import { after, before, test } from 'node:test';

import { startChromium } from './chromium.mjs';
import { startFirefox } from './firefox.mjs';
import { runScenario, scenarioName } from './scenario.mjs';

const TIMEOUT_MS = 120_000;

const chromium = { name: 'chromium' };
const firefox = { name: 'firefox' };

before(async () => {
  Object.assign(chromium, await startChromium({ loopback: true }));
  Object.assign(firefox, await startFirefox());
});
after(() => Promise.all([chromium.close?.(), firefox.close?.()]));

const scenarios = [
  { runtime: 'tokio', pages: 'sdk', codec: 'VP8', publisher: chromium, viewer: chromium },
  { runtime: 'mio', pages: 'own', codec: 'VP8', publisher: chromium, viewer: chromium },
  { runtime: 'tokio', pages: 'own', codec: 'H264', publisher: chromium, viewer: chromium },
  { runtime: 'mio', pages: 'sdk', codec: 'H264', publisher: chromium, viewer: chromium, tls: true },
  { runtime: 'tokio', pages: 'sdk', codec: 'VP8', publisher: firefox, viewer: chromium },
  { runtime: 'mio', pages: 'own', codec: 'VP8', publisher: chromium, viewer: firefox },
];

for (const scenario of scenarios) {
  const options = { timeout: TIMEOUT_MS };
  test(scenarioName(scenario), options, (context) => runScenario(context, scenario));
}
