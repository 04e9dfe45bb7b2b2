// Firefox, driven by Puppeteer over WebDriver BiDi.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import puppeteer from 'puppeteer-core';

import { Page, record } from './page.mjs';

const EXECUTABLE = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  // It would download a codec, and tests have no internet.
  'media.gmp-manager.updateEnabled': false,
};

/** Starts a Firefox with a home of its own. */
export async function startFirefox() {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'distributary-firefox-'));
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: EXECUTABLE,
    headless: true,
    acceptInsecureCerts: true,
    extraPrefsFirefox: PREFERENCES,
    env: { ...process.env, HOME: home },
  });
  return {
    name: 'firefox',
    version: await browser.version(),
    async open(url, log) {
      const context = await browser.createBrowserContext();
      const tab = await context.newPage();
      await tab.setViewport({ width: 1280, height: 720 });
      await tab.evaluateOnNewDocument(record);
      tab.on('console', (message) => log(`${message.type()} ${message.text()}`));
      tab.on('pageerror', (error) => {
        if (!isOwnFault(error)) log(`uncaught ${error.stack}`);
      });
      await tab.goto(url);
      return new Page(tab, 'firefox', () => context.close());
    },
    async close() {
      await browser.close();
      fs.rmSync(home, { recursive: true, force: true });
    },
  };
}

/**
 * Whether Firefox reports a fault of its own: a getStats() that is under way when its connection
 * closes is rejected with a value that the page cannot even see, though the page did catch it.
 */
function isOwnFault(error) {
  return String(error.stack).includes('non-unwrappable cross-compartment wrapper');
}
