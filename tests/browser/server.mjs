// One Distributary server: a folder of settings, a process, its ready line, its end.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import tls from 'node:tls';

import { BINARIES, SDK } from './paths.mjs';

const READY_MS = 20_000;
const STOP_MS = 15_000;

const alive = new Set();

// A test process that dies early takes its servers with it.
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.once(signal, () => process.exit(code));
}

export class Server {
  /**
   * Starts a server and waits until it listens; its settings and its log go to `folder`.
   *
   * `codecs` is the property of that name. `addresses` go into SDP; the server binds all of them
   * and 127.0.0.1. `edge` makes the server an origin that pushes to that one. `secure` makes that
   * link use TLS, pinned to the edge's certificate. `pages` is 'sdk' or 'own'.
   */
  static async start({ runtime, folder, name, codecs, pages, addresses, edge, secure }) {
    const config = path.join(folder, name);
    fs.mkdirSync(config);
    const bound = [...new Set(['127.0.0.1', ...addresses])];
    const properties = {
      ip: addresses.join(','),
      ip_local: bound.join(','),
      'ws.port': 0,
      'wss.port': 0,
      'http.port': 0,
      'https.port': 0,
      'page.port': 0,
      'rtmp.port': 'off',
      media_port_from: 0,
      codecs,
      load_balancing_enabled: edge !== undefined,
      ...(pages === 'sdk' ? { client_dir: SDK } : {}),
    };
    const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`);
    fs.writeFileSync(path.join(config, 'flashphoner.properties'), lines.join(''));
    if (edge) {
      const balancing = await loadbalancing(edge, secure);
      fs.writeFileSync(path.join(config, 'loadbalancing.xml'), balancing);
    }

    const log = fs.openSync(path.join(folder, `${name}.log`), 'w');
    const child = spawn(path.join(BINARIES, `distributary-${runtime}`), ['--config', config], {
      stdio: ['ignore', 'pipe', log],
    });
    fs.closeSync(log);
    const server = new Server(name, child);
    try {
      await server.#ready();
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    return server;
  }

  #child;
  #stdout = [];
  #ended;

  constructor(name, child) {
    this.name = name;
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(code ?? signal));
    });
    alive.add(child);
    this.#ended.then(() => alive.delete(child));
  }

  /** The port of a listener, by the name that the ready line gives it. */
  port(listener) {
    const addr = this.listening[listener];
    assert.ok(addr, `${this.name}: no ${listener}= in its ready line`);
    return Number(addr.slice(addr.lastIndexOf(':') + 1));
  }

  /** The address of a WebSocket listener as a page on localhost would write it. */
  url(secure) {
    return secure ? `wss://localhost:${this.port('wss')}` : `ws://localhost:${this.port('ws')}`;
  }

  /** The address of a demo page. */
  page(secure, file) {
    const scheme = secure ? 'https' : 'http';
    const port = this.port(secure ? 'page' : 'http');
    return `${scheme}://localhost:${port}/client2/examples/demo/streaming/${file}`;
  }

  /** Ends the server as an operator would; it must leave in peace and have said one line only. */
  async stop() {
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    const end = await this.#ended;
    clearTimeout(late);
    assert.equal(end, 0, `${this.name}: SIGTERM should end it within ${STOP_MS} ms, with 0`);
    assert.equal(this.#stdout.length, 1, `${this.name}: stdout is for the ready line alone`);
  }

  async #ready() {
    const lines = readline.createInterface({ input: this.#child.stdout });
    lines.on('line', (line) => this.#stdout.push(line));
    const first = await Promise.race([
      once(lines, 'line', { signal: AbortSignal.timeout(READY_MS) }).then(
        ([line]) => line,
        () => assert.fail(`${this.name}: no ready line within ${READY_MS} ms`),
      ),
      this.#ended.then((end) => assert.fail(`${this.name}: ended at start (${end}); see its log`)),
    ]);
    const [word, ...fields] = first.split(' ');
    assert.equal(word, 'ready', `${this.name}: the first line on stdout is "${first}"`);
    this.listening = Object.fromEntries(
      fields.map((field) => {
        const equals = field.indexOf('=');
        return [field.slice(0, equals), field.slice(equals + 1)];
      }),
    );
  }
}

async function loadbalancing(edge, secure) {
  const ports = [`<ws>${edge.port('ws')}</ws>`];
  if (secure) {
    const wss = edge.port('wss');
    ports.push(`<wss>${wss}</wss>`, `<fingerprint>${await fingerprint(wss)}</fingerprint>`);
  }
  return `<loadbalancer mode="roundrobin" stream_distribution="webrtc">
  <node id="1"><ip>127.0.0.1</ip>${ports.join('')}</node>
</loadbalancer>
`;
}

/** The SHA-256 of the certificate that a port shows, as colon-separated hexadecimal. */
async function fingerprint(port) {
  const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5_000) });
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
