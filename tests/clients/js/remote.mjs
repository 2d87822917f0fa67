// The JavaScript peers of python/features.py, one per cell and node. Each line of the standard input is
// `[id, peer, command, ...arguments]` in JSON, answered by `[id, value]` or `[id, null, fault]`;
// `[0, peer, report]` tells what comes to a peer unasked. python/peers.py speaks to it.

import { createInterface } from 'node:readline';
import { Cell } from './cell.mjs';
import { ANNOUNCED } from './invocations.mjs';
import { named, PORTS } from './nodes.mjs';

console.log = console.error; // The standard output is for answers.
const plain = (key, value) => (typeof value === 'bigint' ? Number(value) : value);
const say = (...message) => process.stdout.write(`${JSON.stringify(message, plain)}\n`);

class Peer {
  #waiting = [];

  constructor(cell, node) {
    this.cell = cell;
    this.node = node;
    const kind = [cell.library.replace('-', '_'), cell.transport, cell.serializer].join('.');
    this.name = named(kind, node);
  }

  /// Joins, and offers every endpoint under the name that python/peers.py calls.
  async join() {
    this.client = await this.cell.client({ node: this.node }).join();
    this.client.onViolation = () => {}; // features.py expects some: autobahn-js when it cancels.
    const { identity } = this.client;
    const uri = (endpoint) => `org.features.${this.name}.${identity.id}.${endpoint}`;
    const names = Object.keys(this.endpoints);
    await Promise.all(names.map((endpoint) => this.register(uri(endpoint), endpoint)));
    return identity;
  }

  async lost() {
    await this.client.closed;
  }

  async subscribe(topic, options) {
    const onEvent = (args, kwargs, details) => {
      const { publication, ...seen } = described(details, ['publication', 'topic', 'publisher']);
      say(0, this.name, { match: options.match, args, publication, ...seen });
    };
    await this.client.subscribe(topic, onEvent, options);
  }

  async publish(topic, args, options) {
    return this.client.publish(topic, args, {}, options);
  }

  async register(procedure, endpoint, options) {
    await this.client.register(procedure, this.endpoints[endpoint], options);
  }

  async call(procedure, args, { progress, ...options }) {
    const partials = [];
    if (progress) options.onProgress = (partial) => partials.push(partial);
    this.current = this.client.start(procedure, args, {}, options);
    return outcome(this.current, partials);
  }

  async callInChunks(procedure) {
    const client = await this.cell.client({ node: this.node, announce: ANNOUNCED }).join();
    const end = await outcome(client.startChunks(procedure, []));
    await client.leave();
    return end;
  }

  cancel(mode) {
    this.current.cancel(mode ?? undefined);
  }

  /// Lets the invocations end that wait.
  release() {
    for (const end of this.#waiting.splice(0)) end({ args: ['released'] });
  }

  endpoints = {
    who: (args, kwargs, details) => {
      return { args, kwargs: { name: this.name, ...described(details, ['procedure', 'caller']) } };
    },
    count: ([limit], kwargs, details, progress) => {
      for (let number = 1; number <= limit; number += 1) progress?.([number], { of: limit });
      progress?.();
      return { args: ['end', limit] };
    },
    wait: () => {
      say(0, this.name, 'waiting');
      return new Promise((resolve) => this.#waiting.push(resolve));
    },
  };
}

async function outcome({ result }, partials = []) {
  try {
    return { partials, result: await result };
  } catch (fault) {
    return { partials, error: fault.uri ?? fault.message };
  }
}

/// What the details say, of a caller or publisher also who it is.
function described(details, keys) {
  const identity = ['authid', 'authrole'].map((key) => `${keys.at(-1)}_${key}`);
  return Object.fromEntries([...keys, ...identity].map((key) => [key, details[key] ?? null]));
}

const peers = new Map();
const kinds = Cell.all().map((cell) => [...PORTS.keys()].map((node) => new Peer(cell, node)));
for (const peer of kinds.flat()) peers.set(peer.name, peer);
say(0, null, kinds.map((kind) => kind.map((peer) => peer.name)));
for await (const line of createInterface({ input: process.stdin })) {
  const [id, name, command, ...args] = JSON.parse(line);
  Promise.resolve()
    .then(() => peers.get(name)[command](...args))
    .then((value) => say(id, value ?? null))
    .catch((fault) => say(id, null, fault.uri ?? String(fault)));
}
