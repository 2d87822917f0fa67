// Hears the events of a topic, none twice and none left out, and publishes some itself.
//
//     npm install autobahn ws
//     node example.mjs [URL] [NAME] [JSON|Msgpack|CBOR]
//
// NAME: publishes [NAME, 1], [NAME, 2] and so on, one each second.

import autobahn from 'autobahn';
import { WebSocket } from 'ws';
import { CatchUp, stayJoined } from './catch_up.mjs';

// For Node.js, whose own WebSocket does not always say that it could not connect.
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on('error', () => {}); // It closes, too.
  }
};

const [url = 'ws://127.0.0.1:8080/ws', name, serializer = 'JSON'] = process.argv.slice(2);
const TOPIC = 'com.example.numbers';
const EVERY_MS = 1_000;

const { [`${serializer}Serializer`]: Serializer } = autobahn.serializer;
const makeConnection = () => {
  const transport = { type: 'websocket', url, serializers: [new Serializer()] };
  return new autobahn.Connection({ realm: 'realm1', transports: [transport] });
};
const catchUp = new CatchUp({
  topic: TOPIC,
  onEvent: ({ args }) => console.log('heard', ...args),
  onGap: (reason) => console.log('gap', reason),
  onError: (error) => console.error(error.message),
});

let present = null;
let number = 0;
async function publish() {
  if (!present?.isOpen) return;
  number += 1;
  const args = [name, number];
  // Without `exclude_me` the own events come as all others do, and the history holds no event that
  // would be taken for one that was missed.
  await present.publish(TOPIC, args, {}, { acknowledge: true, exclude_me: false });
  console.log('published', ...args);
}

const stop = stayJoined(makeConnection, {
  onJoin: (session) => {
    present = session;
    catchUp.join(session);
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
