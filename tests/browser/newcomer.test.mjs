// What works only because a test browser is told so would fail its first real user: here Chromium
// runs without leave to use loopback, and the servers are reached by an address of a network card.

import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { test } from 'node:test';

import { startChromium } from './chromium.mjs';
import { runScenario } from './scenario.mjs';

const CARD = '10.77.0.1';

test('a browser as it is, over a network card', { timeout: 120_000 }, async (context) => {
  const address = process.env.DISTRIBUTARY_ISOLATED === '1' ? addCard(context) : cardAddress();
  if (!address) {
    context.skip('this machine has no address but loopback, and no right to add one');
    return;
  }
  const chromium = await startChromium({ loopback: false });
  try {
    await runScenario(context, {
      runtime: 'tokio',
      pages: 'own',
      codec: 'VP8',
      publisher: chromium,
      viewer: chromium,
      addresses: [address],
      label: 'newcomer',
    });
  } finally {
    await chromium.close();
  }
});

/** Gives our own network namespace a card for the time of the test. */
function addCard(context) {
  const ip = (...words) => execFileSync('ip', words);
  ip('link', 'add', 'card', 'type', 'veth', 'peer', 'name', 'cable');
  context.after(() => ip('link', 'delete', 'card'));
  ip('address', 'add', `${CARD}/24`, 'dev', 'card');
  ip('link', 'set', 'card', 'up');
  ip('link', 'set', 'cable', 'up');
  return CARD;
}

function cardAddress() {
  const every = Object.values(os.networkInterfaces()).flat();
  return every.find(({ internal, family }) => !internal && family === 'IPv4')?.address;
}
