// Where things are.

import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Screenshots and logs, one folder per scenario. */
export const OUTCOME = path.join(ROOT, 'target/browser');

/** The servers under test. */
export const BINARIES = process.env.DISTRIBUTARY_BINARIES ?? path.join(ROOT, 'target/debug');

/** The vendor's client and its demo pages, installed from npm. */
export const SDK = path.join(import.meta.dirname, 'node_modules/@flashphoner/websdk');
