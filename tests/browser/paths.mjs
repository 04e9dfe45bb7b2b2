// Where things are.

import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');

/** Screenshots and logs, one folder per scenario. */
export const OUTCOME = path.join(TARGET, 'browser');

/** The servers under test. */
export const BINARIES = process.env.DISTRIBUTARY_BINARIES ?? path.join(TARGET, 'debug');

/** The vendor's client and its demo pages, installed from npm. */
export const SDK = path.join(import.meta.dirname, 'node_modules/@flashphoner/websdk');
