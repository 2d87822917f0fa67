// One grant and one denial of each action, on the realm of run.sh whose clients may do very little.

import { check, checkFault } from './check.mjs';
import { inbox } from './pubsub.mjs';

const RESTRICTED_REALM = 'restricted';
const DENIED = 'wamp.error.not_authorized';

const ignore = () => ({ args: [] });

async function publishAndSubscribeWithPermissions(cell) {
  const join = () => cell.join({ realm: RESTRICTED_REALM });
  const [subscriber, publisher] = [await join(), await join()];
  const topic = `org.open.${cell.uri('news')}`;
  const { events } = await inbox(subscriber, topic);
  await publisher.publish(topic, ['granted']);
  check((await events.get()).args, ['granted']);
  const fault = await checkFault(publisher.publish('org.shut', [1]), DENIED);
  check(fault.args, ['the role "anonymous" may not publish to "org.shut"']);
  await checkFault(subscriber.subscribe('org.shut', ignore), DENIED);
  await checkFault(subscriber.subscribe('org', ignore, { match: 'prefix' }), DENIED);
}

async function callAndRegisterWithPermissions(cell) {
  const join = () => cell.join({ realm: RESTRICTED_REALM });
  const [callee, caller] = [await join(), await join()];
  const procedure = `org.open.${cell.uri('add')}`;
  await callee.register(procedure, ([a, b]) => ({ args: [a + b] }));
  check((await caller.call(procedure, [2, 3])).args, [5]);
  await checkFault(caller.call('org.shut'), DENIED);
  await checkFault(callee.register('org.shut', ignore), DENIED);
  await checkFault(callee.register('org', ignore, { match: 'prefix' }), DENIED);
}

export const TESTS = [publishAndSubscribeWithPermissions, callAndRegisterWithPermissions];
