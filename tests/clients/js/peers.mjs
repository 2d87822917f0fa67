// The JavaScript peers of python/cross.py: one client per cell and node, which all have the same
// procedures. Prints `ready` and their names, and lives until it is ended.

import { Cell } from './cell.mjs';
import { describe } from './check.mjs';
import { Fault } from './fault.mjs';
import { named, PORTS } from './nodes.mjs';
import { ALL_BYTES, binary, SHARED } from './samples.mjs';

const FAULT = 'org.cross.fault';

async function start(cell, node) {
  const client = await cell.join({ node });
  const kind = [cell.library.replace('-', '_'), cell.transport, cell.serializer].join('.');
  const name = named(kind, node);
  const bytes = cell.bytes.bind(cell);
  const sample = [SHARED, binary(bytes), bytes(ALL_BYTES)];

  await client.subscribe('org.cross.values', (args, { sender }) => {
    client.post('org.cross.heard', [name, sender, describe(args)]);
  });
  const procedures = {
    echo: (args) => ({ args: plain(args) }),
    fail: (args) => {
      throw new Fault(FAULT, plain(args));
    },
    publish: () => {
      client.post('org.cross.values', sample, { sender: name });
      return { args: [] };
    },
    call: async ([target]) => {
      const { args } = await client.call(`org.cross.${target}.echo`, sample);
      return { args: [describe(args)] };
    },
    call_failing: async ([target]) => {
      const fault = await client.call(`org.cross.${target}.fail`, sample).catch((error) => error);
      return { args: [`${fault.uri} ${describe(fault.args)}`] };
    },
  };
  for (const [procedure, endpoint] of Object.entries(procedures)) {
    await client.register(`org.cross.${name}.${procedure}`, endpoint);
  }
  return name;
}

/// wampy.js hands binary out as `Uint8Array`, which CBOR libraries send with tag 64 (RFC 8746).
function plain(value) {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

const names = [];
for (const cell of Cell.all()) for (const node of PORTS.keys()) names.push(await start(cell, node));
console.log(`ready ${names.join(' ')}`);
