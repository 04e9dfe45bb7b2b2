// Chromium, driven by Playwright.

import { chromium } from 'playwright-core';

import { Page, record } from './page.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

/** Starts a Chromium; `loopback` lets its ICE agent use 127.0.0.1, which it does not by itself. */
export async function startChromium({ loopback }) {
  const browser = await chromium.launch({
    executablePath: EXECUTABLE,
    args: loopback ? [...FLAGS, '--allow-loopback-in-peer-connection'] : FLAGS,
    // Playwright mutes what it runs, and a muted browser need not play audio at all.
    ignoreDefaultArgs: ['--mute-audio'],
  });
  return {
    name: 'chromium',
    version: browser.version(),
    async open(url, log) {
      const context = await browser.newContext({
        permissions: ['camera', 'microphone'],
        ignoreHTTPSErrors: true,
      });
      await context.addInitScript(record);
      const tab = await context.newPage();
      tab.on('console', (message) => log(`${message.type()} ${message.text()}`));
      tab.on('pageerror', (error) => log(`uncaught ${error.stack}`));
      await tab.goto(url);
      return new Page(tab, 'chromium', () => context.close());
    },
    close: () => browser.close(),
  };
}
