// Joining, leaving and coming back as a JavaScript application sees it.

import { setTimeout as sleep } from 'node:timers/promises';
import { Cable, check, checkFault, Queue } from './check.mjs';
import { LENIENT_PORTS, PORTS, spread } from './nodes.mjs';
import { inbox } from './pubsub.mjs';

async function welcome(cell) {
  const [one, other] = [await cell.join(), await cell.join()];
  check(one.id >= 1 && one.id <= 2 ** 53 && one.id !== other.id, true, 'session ids');
  check(Object.keys(one.details.roles), ['broker', 'dealer'], 'roles');
}

async function goodbye(cell) {
  const [client, other] = [await cell.join(), await cell.join()];
  await client.register(cell.uri('gone'), () => ({ args: [] }));
  const reason = await client.leave();
  // wampy.js tells its application no reason.
  check(reason, cell.isWampy ? 'closed' : 'wamp.close.goodbye_and_out', 'reason');
  await other.register(cell.uri('gone'), () => ({ args: [] }));
}

async function unknownRealm(cell) {
  const client = cell.client({ realm: 'no.such.realm' });
  await checkFault(client.join(), 'wamp.error.no_such_realm');
}

/// The library comes back by itself after its connection was cut. wampy.js then counts its request
/// ids on from the old session, which a router with `request_ids = "strict"` refuses.
async function reconnect(cell) {
  const ports = cell.isWampy ? LENIENT_PORTS : PORTS;
  const node = spread.next();
  const cable = await new Cable().lay(ports[node]);
  try {
    const joined = new Queue();
    const client = cell.client({ node, port: cable.port, retry: true });
    client.onJoin = () => joined.put(true);
    await cell.enter(client);
    const other = await cell.join({ ports });
    if (!cell.isWampy) await joined.get();
    const events = await settle(cell, client);
    await reachable(cell, other, events);
    for (let turn = 0; turn < 2; turn += 1) {
      cable.cut();
      await joined.get();
      await reachable(cell, other, cell.isWampy ? events : await settle(cell, client));
    }
    await client.leave();
  } finally {
    cable.remove();
  }
}

/// autobahn-js leaves it to the application to subscribe and register again; wampy.js does it.
async function settle(cell, client) {
  const { events } = await inbox(client, cell.uri('again'));
  for (let attempt = 0; ; attempt += 1) {
    try {
      await client.register(cell.uri('again'), () => ({ args: ['here'] }));
      return events;
    } catch (fault) {
      if (attempt === 100) throw fault;
      check(fault.uri, 'wamp.error.procedure_already_exists', 'error');
      await sleep(20);
    }
  }
}

async function reachable(cell, other, events) {
  await eventually(async () => {
    check((await other.call(cell.uri('again'))).args, ['here']);
  });
  await other.publish(cell.uri('again'), ['event']);
  check((await events.get()).args, ['event']);
}

async function eventually(attempt) {
  for (let count = 0; count < 100; count += 1) {
    try {
      return await attempt();
    } catch {
      await sleep(20);
    }
  }
  return attempt();
}

// A session by long-poll stays for a while after its client was last heard of.
reconnect.skips = (cell) => cell.transport === 'longpoll';

export const TESTS = [welcome, goodbye, unknownRealm, reconnect];
