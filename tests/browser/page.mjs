// A tab, whichever browser it is in: what a person does to it, and what a test reads from it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;

/**
 * Runs in the tab before any of its scripts: keeps its peer connections and the signaling
 * messages it gets, as `window.witness`, whichever client the page uses.
 */
export function record() {
  if (window.witness) return;
  const witness = { peers: [], received: [], sent: [] };
  window.witness = witness;
  const instances = (constructor, met) =>
    new Proxy(constructor, {
      construct(target, args, newTarget) {
        const made = Reflect.construct(target, args, newTarget);
        met(made);
        return made;
      },
    });
  const keep = (list, text) => {
    if (typeof text !== 'string') return;
    const { message, data } = JSON.parse(text);
    if (message === 'ping' || message === 'pong') return;
    list.push({ at: performance.now(), message, data });
  };
  window.RTCPeerConnection = instances(window.RTCPeerConnection, (peer) => {
    witness.peers.push(peer);
  });
  window.WebSocket = instances(window.WebSocket, (socket) => {
    socket.addEventListener('message', (event) => keep(witness.received, event.data));
    const send = socket.send.bind(socket);
    socket.send = (text) => {
      keep(witness.sent, text);
      send(text);
    };
  });
}

export class Page {
  #tab;
  #close;

  constructor(tab, browser, close) {
    this.#tab = tab;
    this.browser = browser;
    this.#close = close;
  }

  /** Runs a function in the tab; it must not refer to anything outside itself. */
  evaluate(callback, argument) {
    return this.#tab.evaluate(callback, argument);
  }

  /** Polls a function in the tab until it returns something truthy, and returns that. */
  async until(what, deadlineMs, callback, argument) {
    const end = performance.now() + deadlineMs;
    for (;;) {
      const found = await this.evaluate(callback, argument);
      if (found) return found;
      if (performance.now() > end) {
        const told = await this.evaluate(() => JSON.stringify(window.witness.received.slice(-3)));
        assert.fail(`${what}: not within ${deadlineMs} ms; the last messages were ${told}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** Waits until an element shows exactly this text. */
  shows(selector, text, deadlineMs) {
    return this.until(
      `${selector} should show "${text}"`,
      deadlineMs,
      ([where, expected]) => document.querySelector(where)?.textContent.trim() === expected,
      [selector, text],
    );
  }

  text(selector) {
    return this.evaluate((where) => document.querySelector(where).textContent.trim(), selector);
  }

  /** Clicks an element as soon as it is enabled. */
  async click(selector) {
    await this.until(
      `${selector} should be there and enabled`,
      5_000,
      (where) => document.querySelector(where)?.disabled === false,
      selector,
    );
    await this.#tab.click(selector);
  }

  async fill(selector, value) {
    const set = ([where, text]) => {
      const input = document.querySelector(where);
      input.value = text;
      input.dispatchEvent(new Event('input', { bubbles: true }));
      input.dispatchEvent(new Event('change', { bubbles: true }));
    };
    await this.evaluate(set, [selector, value]);
  }

  /** How many signaling messages came so far: a mark for `status`. */
  mark() {
    return this.evaluate(() => window.witness.received.length);
  }

  /** Waits for a stream status that came after the mark, and returns its event and time. */
  status(expected, since, deadlineMs) {
    return this.until(
      `status ${expected}`,
      deadlineMs,
      ([status, from]) =>
        window.witness.received
          .slice(from)
          .filter(({ message }) => message === 'notifyStreamStatusEvent')
          .map(({ at, data }) => ({ at, ...data[0] }))
          .find((event) => event.status === status),
      [expected, since],
    );
  }

  /** All signaling messages both ways, as JSON text. */
  messages() {
    return this.evaluate(() => {
      const { sent, received } = window.witness;
      return JSON.stringify({ sent, received }, null, 1);
    });
  }

  screenshot(path) {
    return this.#tab.screenshot({ path });
  }

  close() {
    return this.#close();
  }
}
