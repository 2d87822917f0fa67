// Publishes and calls with wampy.js until its standard input ends, through whatever restarts there
// are. A line for each publication that is acknowledged and each call that is answered.
//
// Usage: node traffic.mjs PORT TOPIC PROCEDURE

import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';

const installed = createRequire(new URL('../clients/package.json', import.meta.url));
const { Wampy } = installed('wampy');
const { WebSocket } = installed('ws');

const [port, topic, procedure] = process.argv.slice(2);
const RECONNECT_MS = 100;
const JOIN_MS = 3_000;
let isRunning = true;
let number = 0;

function say(kind, name) {
  console.log(JSON.stringify([kind, name]));
}

/// The library connects again when a connection is lost, but takes GOODBYE for the end of the
/// session: whoever wants another one connects anew, as here in both cases.
async function client(act) {
  while (isRunning) {
    let isOpen = true;
    const wampy = new Wampy(`ws://127.0.0.1:${port}/ws`, {
      ws: WebSocket,
      realm: 'realm1',
      uriValidation: 'loose',
      autoReconnect: false,
      onClose: () => (isOpen = false),
    });
    const joined = wampy.connect().then(() => true, () => false);
    if (await Promise.race([joined, pause(JOIN_MS, false)])) await goOn(wampy, act, () => isOpen);
    await pause(RECONNECT_MS);
  }
}

async function goOn(wampy, act, isOpen) {
  while (isRunning && isOpen()) {
    number += 1;
    // What is under way when the connection is lost is answered by nobody.
    await Promise.race([act(wampy, `js-${number}`).catch(() => {}), pause(1_000)]);
    await pause(25);
  }
}

async function publish(wampy, name) {
  await wampy.publish(topic, [name]);
  say('acknowledged', name);
}

async function call(wampy, name) {
  const { argsList } = await wampy.call(procedure, [name]);
  if (argsList?.[0] !== name) throw new Error(`${argsList} instead of ${name}`);
  say('result', name);
}

for (const act of [publish, publish, call, call]) client(act);
process.stdin.resume();
process.stdin.on('end', async () => {
  isRunning = false;
  await pause(500);
  process.exit(0);
});
