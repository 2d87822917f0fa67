// Publish and subscribe as a JavaScript application sees it; each test takes a `Cell`.

import { check, checkFault, Queue } from './check.mjs';
import { binary, SHARED } from './samples.mjs';

const LARGE_CHARACTERS = 700_000;
const LARGE_BYTES = 500_000;

export async function inbox(client, topic) {
  const events = new Queue();
  const handler = (args, kwargs, { publication }) => {
    events.put({ args, kwargs, publication });
  };
  const subscription = await client.subscribe(topic, handler);
  return { subscription, events };
}

async function acknowledgedPublish(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { events } = await inbox(subscriber, cell.uri('acknowledged'));
  const id = await publisher.publish(cell.uri('acknowledged'), [1, 'two'], { three: 3 });
  const event = await events.get();
  check([event.args, event.kwargs], [[1, 'two'], { three: 3 }]);
  check(id >= 1 && id <= 2 ** 53, true, 'publication id in range');
  if (!cell.isWampy) check(event.publication, id, 'publication id');
}

async function plainPublish(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { events } = await inbox(subscriber, cell.uri('plain'));
  const seen = [];
  for (const payload of [[['quiet']], [], [[], { only: 'keywords' }]]) {
    publisher.post(cell.uri('plain'), ...payload);
    // Requests of one long-poll client overtake each other.
    if (cell.transport === 'longpoll') seen.push(await events.get());
  }
  while (seen.length < 3) seen.push(await events.get());
  check(seen.map((event) => event.args), [['quiet'], [], []]);
  check(seen.map((event) => event.kwargs), [{}, {}, { only: 'keywords' }]);
}

async function noEventAfterUnsubscribe(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { subscription, events } = await inbox(subscriber, cell.uri('left'));
  const markers = await inbox(subscriber, cell.uri('after'));
  await publisher.publish(cell.uri('left'), [1]);
  await events.get();
  await subscription.stop();
  await publisher.publish(cell.uri('left'), [2]);
  await publisher.publish(cell.uri('after'), []);
  await markers.events.get();
  check(events.length, 0, 'events after UNSUBSCRIBED');
}

/// autobahn-js closes the connection at an EVENT that follows UNSUBSCRIBED.
async function unsubscribeUnderFire(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const markers = await inbox(subscriber, cell.uri('ceasefire'));
  for (let turn = 0; turn < 10; turn += 1) {
    const { subscription, events } = await inbox(subscriber, cell.uri('fire'));
    for (let number = 0; number < 100; number += 1) publisher.post(cell.uri('fire'), [number]);
    await events.get();
    await subscription.stop();
  }
  publisher.post(cell.uri('ceasefire'));
  await markers.events.get();
}

async function publisherIsExcluded(cell) {
  const [publisher, other] = [await cell.join(), await cell.join()];
  const own = await inbox(publisher, cell.uri('own'));
  const others = await inbox(other, cell.uri('own'));
  await publisher.publish(cell.uri('own'), ['mine']);
  await other.publish(cell.uri('own'), ['theirs']);
  check((await own.events.get()).args, ['theirs']);
  check((await others.events.get()).args, ['mine']);
  check(own.events.length + others.events.length, 0, 'further events');
}

async function orderAcrossTopics(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const topics = [0, 1, 2].map((number) => cell.uri(`order.${number}`));
  const seen = new Queue();
  for (const topic of topics) await subscriber.subscribe(topic, (args) => seen.put(args[0]));
  const numbers = Array.from({ length: 600 }, (_, number) => number);
  for (const number of numbers) {
    // As above: these wait for their answers.
    if (cell.transport === 'longpoll') await publisher.publish(topics[number % 3], [number]);
    else publisher.post(topics[number % 3], [number]);
  }
  const received = [];
  for (const _ of numbers) received.push(await seen.get());
  check(received, numbers, 'order');
}

async function invalidUris(cell) {
  const client = await cell.join();
  for (const uri of ['com..example', 'com.exa mple', 'com.#example', '.com', 'com.', '']) {
    await checkFault(client.publish(uri, [1]), 'wamp.error.invalid_uri');
    await checkFault(client.subscribe(uri, () => {}), 'wamp.error.invalid_uri');
    await checkFault(client.register(uri, () => {}), 'wamp.error.invalid_uri');
    await checkFault(client.call(uri), 'wamp.error.invalid_uri');
    client.post(uri, ['dropped']);
  }
  await checkFault(client.publish('wamp.session.on_join', []), 'wamp.error.invalid_uri');
  await checkFault(client.register('wamp.session.list', () => {}), 'wamp.error.invalid_uri');
}

/// wampy.js checks URIs itself and sends none of these.
invalidUris.skips = (cell) => cell.isWampy;

async function eventValues(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { events } = await inbox(subscriber, cell.uri('values'));
  const sent = [SHARED, binary(cell.bytes.bind(cell))];
  await publisher.publish(cell.uri('values'), sent, { raw: cell.bytes([1, 2, 255]) });
  const { args, kwargs } = await events.get();
  check(args, sent);
  check(kwargs, { raw: Buffer.from([1, 2, 255]) });
}

async function largeEvent(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { events } = await inbox(subscriber, cell.uri('large'));
  const text = 'aä'.repeat(LARGE_CHARACTERS / 3);
  const data = Buffer.alloc(LARGE_BYTES, 0xfb);
  await publisher.publish(cell.uri('large'), [text]);
  await publisher.publish(cell.uri('large'), [cell.bytes(data)]);
  check((await events.get()).args, [text]);
  check((await events.get()).args, [data]);
}

/// Small messages right behind a large one, all without waiting for an answer.
async function largeThenSmall(cell) {
  const [subscriber, publisher] = [await cell.join(), await cell.join()];
  const { events } = await inbox(subscriber, cell.uri('mixed'));
  publisher.post(cell.uri('mixed'), ['x'.repeat(LARGE_CHARACTERS)]);
  for (let number = 1; number < 20; number += 1) publisher.post(cell.uri('mixed'), [number]);
  const sizes = [];
  for (let count = 0; count < 20; count += 1) {
    const [value] = (await events.get()).args;
    sizes.push(typeof value === 'string' ? 0 : value);
  }
  check(sizes, Array.from({ length: 20 }, (_, number) => number), 'order');
}

// As above: these do not wait.
largeThenSmall.skips = (cell) => cell.transport === 'longpoll';

export const TESTS = [
  acknowledgedPublish,
  plainPublish,
  noEventAfterUnsubscribe,
  unsubscribeUnderFire,
  publisherIsExcluded,
  orderAcrossTopics,
  invalidUris,
  eventValues,
  largeEvent,
  largeThenSmall,
];
