// Remote procedure calls as a JavaScript application sees them; each test takes a `Cell`.

import { setTimeout as sleep } from 'node:timers/promises';
import { check, checkFault, Queue } from './check.mjs';
import { Fault } from './fault.mjs';
import { PORTS } from './nodes.mjs';
import { binary, SHARED } from './samples.mjs';

const CONCURRENT_CALLS = 200;
const LARGE_CHARACTERS = 700_000;
const LARGE_BYTES = 500_000;

const echo = (args, kwargs) => ({ args, kwargs });

async function callShapes(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  await callee.register(cell.uri('echo'), echo);
  const shapes = [
    [[], {}],
    [[7], {}],
    [[1, 'two'], { three: 3 }],
    [[], { only: 'keyword' }],
  ];
  for (const [args, kwargs] of shapes) {
    check(await caller.call(cell.uri('echo'), args, kwargs), { args, kwargs });
  }
  check(await caller.call(cell.uri('echo')), { args: [], kwargs: {} });
}

async function callValues(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  await callee.register(cell.uri('values'), echo);
  const bytes = cell.bytes.bind(cell);
  for (const value of [SHARED, binary(bytes), bytes([]), [], {}, '', 0, false, -0.5]) {
    check((await caller.call(cell.uri('values'), [value, 1])).args, [value, 1]);
  }
}

async function largeCall(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  await callee.register(cell.uri('large'), echo);
  for (const value of ['x'.repeat(LARGE_CHARACTERS), cell.bytes(Buffer.alloc(LARGE_BYTES, 0xfb))]) {
    check((await caller.call(cell.uri('large'), [value])).args, [value]);
  }
}

async function errorPassesThrough(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  await callee.register(cell.uri('fails'), (args, kwargs) => {
    throw new Fault('com.example.fault', args, kwargs);
  });
  const data = binary(cell.bytes.bind(cell));
  const call = caller.call(cell.uri('fails'), [1, data], { why: { k: [3] } });
  const fault = await checkFault(call, 'com.example.fault');
  check([fault.args, fault.kwargs], [[1, data], { why: { k: [3] } }]);
}

async function unknownProcedure(cell) {
  const caller = await cell.join();
  await checkFault(caller.call(cell.uri('nowhere'), [1]), 'wamp.error.no_such_procedure');
}

async function procedureTaken(cell) {
  const [owner, rival, caller] = [await cell.join(), await cell.join(), await cell.join()];
  await owner.register(cell.uri('taken'), () => ({ args: ['owner'] }));
  const attempt = rival.register(cell.uri('taken'), () => ({ args: ['rival'] }));
  await checkFault(attempt, 'wamp.error.procedure_already_exists');
  check((await caller.call(cell.uri('taken'))).args, ['owner']);
}

async function unregisterFreesTheProcedure(cell) {
  const [first, second, caller] = [await cell.join(), await cell.join(), await cell.join()];
  const registration = await first.register(cell.uri('freed'), () => ({ args: ['first'] }));
  check((await caller.call(cell.uri('freed'))).args, ['first']);
  await registration.stop();
  await checkFault(caller.call(cell.uri('freed')), 'wamp.error.no_such_procedure');
  await second.register(cell.uri('freed'), () => ({ args: ['second'] }));
  check((await caller.call(cell.uri('freed'))).args, ['second']);
}

/// autobahn-js closes the connection at an INVOCATION that follows UNREGISTERED.
async function unregisterUnderFire(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  for (let turn = 0; turn < 5; turn += 1) {
    const registration = await callee.register(cell.uri('fire'), echo);
    const numbers = Array.from({ length: 50 }, (_, number) => number);
    const calls = numbers.map((number) => caller.call(cell.uri('fire'), [number]));
    const outcomes = Promise.allSettled(calls);
    await calls[0];
    await registration.stop();
    for (const [number, outcome] of (await outcomes).entries()) {
      if (outcome.value) check(outcome.value.args, [number]);
      else check(outcome.reason.uri, 'wamp.error.no_such_procedure', 'error');
    }
  }
}

/// The callee answers in an order of its own.
async function concurrentCalls(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  await callee.register(cell.uri('slow'), async ([number]) => {
    await sleep((number * 37) % 20);
    return { args: [number * number] };
  });
  const numbers = Array.from({ length: CONCURRENT_CALLS }, (_, number) => number);
  const results = await Promise.all(
    numbers.map((number) => caller.call(cell.uri('slow'), [number])),
  );
  check(results.map((result) => result.args[0]), numbers.map((number) => number * number));
}

async function calleeLeaves(cell) {
  const [callee, caller] = [await cell.join(), await cell.join()];
  const arrived = new Queue();
  await callee.register(cell.uri('leaves'), () => {
    arrived.put(true);
    return new Promise(() => {});
  });
  const outcome = checkFault(caller.call(cell.uri('leaves')), 'wamp.error.canceled');
  await arrived.get();
  await callee.leave();
  await outcome;
  await checkGone(caller, cell.uri('leaves'));
}

/// Another node learns a moment later that a callee has left: until then its calls are canceled, as
/// those are that were under way.
async function checkGone(caller, procedure) {
  for (let count = 0; PORTS.length > 1 && count < 500; count += 1) {
    const fault = await caller.call(procedure).catch((error) => error);
    if (fault.uri !== 'wamp.error.canceled') break;
    await sleep(20);
  }
  await checkFault(caller.call(procedure), 'wamp.error.no_such_procedure');
}

export const TESTS = [
  callShapes,
  callValues,
  largeCall,
  errorPassesThrough,
  unknownProcedure,
  procedureTaken,
  unregisterFreesTheProcedure,
  unregisterUnderFire,
  concurrentCalls,
  calleeLeaves,
];
