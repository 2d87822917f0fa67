// Checks, a bounded runner, one text form for any WAMP value, and a cable that can be cut.
//
// Every program of this folder ends with the line `N passed, N failed`; run.sh adds them up.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import net from 'node:net';

export const HOST = '127.0.0.1';
export const REALM = process.env.ROUTER_REALM ?? 'realm1';
/// Whether the routers' ports speak TLS; NODE_EXTRA_CA_CERTS names who has signed their certificate.
export const IS_SECURE = Boolean(process.env.ROUTER_CA);
const TEST_TIMEOUT_MS = 15_000;

export function urlOf(port) {
  return `${IS_SECURE ? 'wss' : 'ws'}://${HOST}:${port}/ws`;
}

export function webUrlOf(port) {
  return `${IS_SECURE ? 'https' : 'http'}://${HOST}:${port}`;
}

export function check(actual, expected, what = 'value') {
  if (describe(actual) !== describe(expected)) {
    const seen = `got ${shorten(actual)}, expected ${shorten(expected)}`;
    assert.fail(`${what}: ${seen}`);
  }
}

export async function checkFault(promise, uri) {
  let result;
  try {
    result = await promise;
  } catch (fault) {
    check(fault.uri, uri, 'error');
    return fault;
  }
  return assert.fail(`got ${shorten(result)}, expected the error ${uri}`);
}

/// A text that is equal for equal values; python/check.py makes the same one.
export function describe(value) {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return `bool:${value}`;
  if (typeof value === 'bigint') return `int:${value}`;
  if (typeof value === 'number') {
    const integral = Number.isInteger(value) && Math.abs(value) <= 2 ** 53;
    return integral ? `int:${value}` : `float:${value}`;
  }
  // The JSON serializers of both libraries leave WAMP's form of binary to the application.
  if (typeof value === 'string' && value.startsWith('\0')) {
    return describe(Buffer.from(value.slice(1), 'base64'));
  }
  if (typeof value === 'string') return `text:${value}`;
  if (value instanceof Uint8Array) return `bytes:${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return `[${value.map(describe).join(',')}]`;
  if (value === undefined || typeof value !== 'object') return `unknown:${String(value)}`;
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${key}=${describe(value[key])}`).join(',')}}`;
}

function shorten(value) {
  const text = describe(value);
  return text.length <= 200 ? text : `${text.slice(0, 120)}... (${text.length} characters)`;
}

export function bounded(promise, what, timeoutMs = TEST_TIMEOUT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no end in ${timeoutMs} ms`)), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Report {
  passed = 0;
  failed = 0;

  async run(name, test) {
    try {
      await bounded(test(), 'test');
      this.passed += 1;
      note('passed', name);
    } catch (fault) {
      this.failed += 1;
      note('failed', name);
      const reason = fault?.code === 'ERR_ASSERTION' ? fault.message : describeFault(fault);
      console.log(`FAIL ${name}: ${reason}`);
    }
  }

  close() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed ? 1 : 0);
  }
}

/// A line for the page that run.sh makes.
function note(outcome, name) {
  const file = process.env.CLIENTS_RESULTS;
  if (file) appendFileSync(file, `${outcome}\t${name}\n`);
}

function describeFault(fault) {
  if (fault?.uri) return `${fault.uri} ${JSON.stringify(fault.args)}`;
  return (fault?.stack ?? String(fault)).split('\n', 4).join('\n');
}

/// Values in the order in which they come, for one reader.
export class Queue {
  #values = [];
  #readers = [];

  get length() {
    return this.#values.length;
  }

  put(value) {
    const reader = this.#readers.shift();
    if (reader) reader(value);
    else this.#values.push(value);
  }

  async get() {
    if (this.#values.length) return this.#values.shift();
    return new Promise((resolve) => this.#readers.push(resolve));
  }
}

/// A way to the router that can be cut while a client uses it.
export class Cable {
  #pairs = new Set();
  #server = net.createServer((near) => this.#connect(near));
  #routerPort;

  async lay(routerPort) {
    this.#routerPort = routerPort;
    await new Promise((resolve) => this.#server.listen(0, HOST, resolve));
    this.port = this.#server.address().port;
    return this;
  }

  #connect(near) {
    const far = net.connect(this.#routerPort, HOST);
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const end of pair) end.on('error', () => {});
    near.pipe(far).pipe(near);
    near.on('close', () => this.#pairs.delete(pair));
  }

  /// With a reset: autobahn-js does not notice that the other end of a RawSocket merely ended.
  cut() {
    for (const pair of this.#pairs) for (const end of pair) end.resetAndDestroy();
  }

  remove() {
    this.cut();
    this.#server.close();
  }
}
