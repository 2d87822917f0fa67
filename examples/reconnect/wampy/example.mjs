// Hears the events of a topic, none twice and none left out, and publishes some itself.
//
//     npm install wampy ws
//     node example.mjs [URL] [NAME] [Json|Msgpack|Cbor]
//
// NAME: publishes [NAME, 1], [NAME, 2] and so on, one each second. Nothing of it is heard here.

import { WebSocket } from 'ws';
import { CatchUp, stayJoined, withIds } from './catch_up.mjs';

const [url = 'ws://127.0.0.1:8080/ws', name, serializer = 'Json'] = process.argv.slice(2);
const { [`${serializer}Serializer`]: Serializer } = await import(
  `wampy/${serializer}Serializer.js`
);
const TOPIC = 'com.example.numbers';
const EVERY_MS = 1_000;

const catchUp = new CatchUp({
  topic: TOPIC,
  onEvent: ({ args }) => console.log('heard', ...args),
  onGap: (reason) => console.log('gap', reason),
  onError: (error) => console.error(error.message),
});

let present = null;
let number = 0;
async function publish() {
  if (!present?.getSessionId()) return;
  number += 1;
  await catchUp.publish(present, TOPIC, [name, number]);
  console.log('published', name, number);
}

const options = { ws: WebSocket, realm: 'realm1', serializer: new (withIds(Serializer))() };
const stop = stayJoined(url, options, {
  onJoin: (wampy) => {
    present = wampy;
    catchUp.join(wampy);
  },
  onError: (error) => console.error(error.message),
});
const tick = () => name && publish().catch((error) => console.error(error.message ?? error));
const timer = setInterval(tick, EVERY_MS);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    clearInterval(timer);
    stop();
  });
}
