// What the recipes in JavaScript hold at most, and what they say when a history cannot be read:
// with a router of the test's own, as neither comes by chance. Runs beside copies of the recipes.

import assert from 'node:assert/strict';
import { CatchUp as AutobahnCatchUp } from './autobahn-js/catch_up.mjs';
import { CatchUp as WampyCatchUp } from './wampy/catch_up.mjs';

const TOPIC = 'com.example.numbers';
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/// A history whose events have the ids 1, 2 and so on, and one subscriber.
class Router {
  history = [];
  isKept = true;
  isWhole = true;
  questions = 0;
  beforeAnswer = () => {};

  publish(id) {
    this.history.push(id);
    this.live?.(id);
  }

  async call(procedure, args, { reverse, limit, after_publication: after } = {}) {
    if (procedure === 'wamp.subscription.lookup') return { args: [this.isKept ? 7 : null] };
    if (reverse) return this.answer(this.history.slice(-1), true, this.history.length > 1);
    this.questions += 1;
    const place = this.history.indexOf(after);
    const isFound = after === undefined || place >= 0;
    const isComplete = isFound && (place >= 0 || this.isWhole);
    const events = isFound ? this.history.slice(place + 1) : [];
    const answer = this.answer(events.slice(0, limit), isComplete, events.length > limit);
    await this.beforeAnswer();
    return answer;
  }

  answer(ids, complete, is_limit_reached) {
    const args = ids.map((publication) => ({ publication, details: {}, args: [publication] }));
    return { args, kwargs: { complete, is_limit_reached } };
  }
}

const libraries = {
  'autobahn-js': {
    CatchUp: AutobahnCatchUp,
    connect: (router) => ({
      isOpen: true,
      subscribe: async (topic, onEvent) => {
        router.live = (id) => onEvent([id], {}, { publication: id, topic });
        return { id: 7 };
      },
      call: async (procedure, args, kwargs) => {
        const answer = await router.call(procedure, args, kwargs);
        return answer.kwargs ? answer : answer.args[0];
      },
    }),
  },
  'wampy.js': {
    CatchUp: WampyCatchUp,
    connect: (router) => ({
      getSessionId: () => 1,
      subscribe: async (topic, onEvent) => {
        router.live = (id) => onEvent({ argsList: [id], details: { publication: id, topic } });
        return { subscriptionId: 7 };
      },
      call: async (procedure, { argsList, argsDict }) => {
        const { args, kwargs } = await router.call(procedure, argsList, argsDict);
        return { argsList: args, argsDict: kwargs };
      },
    }),
  },
};

class Setting {
  constructor({ CatchUp, connect }) {
    this.router = new Router();
    this.said = [];
    this.errors = [];
    this.catchUp = new CatchUp({
      topic: TOPIC,
      onEvent: ({ args }) => this.said.push(args[0]),
      onGap: (reason) => this.said.push(reason),
      onError: ({ message }) => this.errors.push(message),
    });
    this.join = () => this.catchUp.join(connect(this.router));
  }
}

const tests = {
  async 'what finds no room while a history is read is asked for'({ router, said, errors, join }) {
    await join();
    router.publish(1);
    numbers(2, 1_000).forEach((id) => router.history.push(id));
    let isFirst = true;
    router.beforeAnswer = () => {
      if (isFirst) numbers(1_001, 2_500).forEach((id) => router.publish(id));
      isFirst = false;
    };
    const before = router.questions;
    await join();
    assert.deepEqual([said, errors], [numbers(1, 2_500), []]);
    assert.ok(router.questions - before >= 5, `${router.questions} questions`);
    router.publish(2_501);
    assert.equal(said.at(-1), 2_501);
  },

  async 'it remembers so many publications and no more'({ router, said, join }) {
    await join();
    numbers(1, 10_000).forEach((id) => router.publish(id));
    for (const id of [10_000 - 4_095, 10_000]) router.live(id);
    assert.equal(said.length, 10_000);
    router.live(10_000 - 4_096);
    assert.equal(said.length, 10_001);
  },

  async 'a history that fails is a gap, and live events follow'({ router, said, errors, join }) {
    await join();
    router.publish(1);
    router.beforeAnswer = () => {
      router.publish(3);
      throw Object.assign(new Error('a.b'), { error: 'a.b', errorUri: 'a.b' });
    };
    router.history.push(2);
    await join();
    router.publish(4);
    assert.deepEqual([said, errors], [[1, 'the history cannot be read: a.b', 3, 4], []]);
  },

  async 'without a history each connection is a gap'({ router, said, errors, join }) {
    router.isKept = false;
    await join();
    assert.match(errors[0], /gaps cannot be filled: nobody keeps a history of com.example.numbers/);
    await join();
    assert.deepEqual(said, ['nothing is known of what came before']);
  },

  async 'what is kept after a lost event follows the gap'({ router, said, join }) {
    await join();
    numbers(1, 3).forEach((id) => router.publish(id));
    Object.assign(router, { history: [5, 6], isWhole: false });
    await join();
    router.history = [6, 7]; // The oldest that is kept was had.
    await join();
    assert.deepEqual(said, [1, 2, 3, 'the history does not reach back far enough', 5, 6, 7]);
  },

  async 'a short history will do'({ router, said, join }) {
    await join();
    numbers(1, 100).forEach((id) => router.publish(id));
    Object.assign(router, { history: numbers(95, 104), isWhole: false });
    await join();
    assert.deepEqual(said, numbers(1, 104));
  },

  async 'a handler that fails is told, and the next event comes'(setting) {
    const { router, errors, join, catchUp } = setting;
    await join();
    catchUp.onEvent = () => {
      throw new Error('bad day');
    };
    router.publish(1);
    router.publish(2);
    assert.deepEqual(errors, ['bad day', 'bad day']);
  },
};

const testsOfWampy = {
  ...tests,

  async 'its own publication is in a page before it is acknowledged'(setting) {
    const { router, said, join, catchUp } = setting;
    await join();
    router.publish(1);
    router.history.push(2, 3);
    let acknowledge;
    const publish = () => new Promise((resolve) => (acknowledge = resolve));
    const published = catchUp.publish({ publish }, TOPIC, [2]);
    setTimeout(() => acknowledge({ publicationId: 2 }), 50);
    await join();
    await published;
    assert.deepEqual(said, [1, 3]);
  },
};

let [passed, failed] = [0, 0];
for (const [library, parts] of Object.entries(libraries)) {
  for (const [name, test] of Object.entries(library === 'wampy.js' ? testsOfWampy : tests)) {
    try {
      await test(new Setting(parts));
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${library}: ${name}: ${String(error.message).slice(0, 500)}`);
    }
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
