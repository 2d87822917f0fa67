// The clients of a node that has moved: what they did with crossbar, they do now.
//
// usage: clients.mjs shop|board|office|works, with PORT of the environment.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { XMLHttpRequest } from '../clients/js/xml_http_request.mjs';

const require = createRequire(new URL('../clients/package.json', import.meta.url));
const autobahn = require('autobahn');
const { WebSocket } = require('ws');

globalThis.WebSocket = WebSocket;
globalThis.XMLHttpRequest ??= XMLHttpRequest;

const { PORT } = process.env;
const HTTP = `http://127.0.0.1:${PORT}`;
const PATIENCE_MS = 20_000;

function join(transport, options) {
  const connection = new autobahn.Connection({ transports: [transport], max_retries: 0, ...options });
  return new Promise((resolve, reject) => {
    connection.onopen = (session, details) => resolve({ session, details, connection });
    connection.onclose = (reason, details) => {
      reject(new Error(`${reason}: ${details.reason} ${JSON.stringify(details.message)}`));
      return true;
    };
    connection.open();
  });
}

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(HTTP + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}

/// Components start by themselves, and nobody says when they are there.
async function eventually(check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

async function page(text) {
  assert.match(await (await fetch(`${HTTP}/`)).text(), new RegExp(text));
  console.log('ok the page');
}

function ticket(authid, secret) {
  return { realm: 'realm1', authmethods: ['ticket'], authid, onchallenge: () => secret };
}

async function shop() {
  await page('shop');
  const websocket = { type: 'websocket', url: `ws://127.0.0.1:${PORT}/ws` };
  const longpoll = { type: 'longpoll', url: `${HTTP}/lp` };
  for (const transport of [websocket, longpoll]) {
    const login = ticket('joe', 'secret');
    const { session, details, connection } = await eventually(() => join(transport, login));
    assert.deepEqual([details.authrole, details.authextra], ['customer', { since: 2014 }]);
    console.log(`ok a login by ${transport.type} through the authenticator`);
    assert.equal(await eventually(() => session.call('org.shop.greet', ['joe'])), 'welcome, joe');
    console.log('ok a call to the backend, which has its extra');
    await assert.rejects(async () => session.publish('org.shop.order', ['x'], {}, { acknowledge: true }),
      ({ error }) => error === 'wamp.error.not_authorized');
    // An exact rule hides the shorter prefix, also for what it begins.
    for (const hidden of ['org.shop.close', 'org.shop.close.all']) {
      await assert.rejects(async () => session.call(hidden), ({ error }) => error === 'wamp.error.not_authorized');
    }
    console.log('ok what its role may not do');
    const heard = new Promise((resolve) => session.subscribe('org.shop.order', resolve).then(async () => {
      const answer = await post('/publish', { topic: 'org.shop.order', args: [transport.type] });
      assert.equal(answer.status, 200);
      assert.ok(Number.isSafeInteger(answer.id));
    }));
    assert.deepEqual(await heard, [transport.type]);
    console.log('ok an event of the HTTP publisher');
    connection.close();
  }
  const orders = await post('/call', { procedure: 'org.shop.orders' });
  assert.deepEqual(orders.args, [['websocket', 'longpoll']]);
  console.log('ok the HTTP caller, and the backend has heard all');
  await assert.rejects(join(websocket, ticket('joe', 'wrong')), /org\.shop\.unknown_customer/);
  console.log('ok a refusal in the words of the authenticator');
}

async function board() {
  await page('board');
  const transport = { type: 'websocket', url: `ws://127.0.0.1:${PORT}/ws` };
  const { session, connection } = await join(transport, { realm: 'board' });
  assert.deepEqual(await eventually(() => session.call('org.board.who')), { is_disclosed: true });
  console.log('ok a component of a container, which learns its caller');
  const raw = { type: 'rawsocket', host: '127.0.0.1', port: Number(PORT) };
  const other = await join(raw, { realm: 'board' });
  const subscription = await session.subscribe('org.board.', () => {}, { match: 'prefix' });
  for (const text of ['hello', 'again', 'last']) {
    await other.session.publish('org.board.note', [text], {}, { acknowledge: true });
  }
  const events = await session.call('wamp.subscription.get_events', [subscription.id, 2]);
  assert.deepEqual(events.map((event) => event.args), [['last'], ['again']]);
  console.log('ok the event history, over RawSocket on the same port');
  other.connection.close();
  connection.close();
}

async function office() {
  const transport = { type: 'websocket', url: `ws://127.0.0.1:${PORT}/` };
  const { CARL_SECRET, DORA_SECRET } = process.env;
  const plain = { bob: 'pencil', carl: CARL_SECRET };
  const salted = { ann: 'secret123', dora: DORA_SECRET };
  const onchallenge = (authid) => (session, method, extra) => {
    const key = extra.salt
      ? autobahn.auth_cra.derive_key(salted[authid], extra.salt, extra.iterations, extra.keylen)
      : plain[authid];
    return autobahn.auth_cra.sign(key, extra.challenge);
  };
  const login = (authid) => ({ realm: 'office', authmethods: ['wampcra'], authid, onchallenge: onchallenge(authid) });
  for (const authid of ['ann', 'bob', 'carl', 'dora']) {
    const { session, details, connection } = await join(transport, login(authid));
    assert.equal(details.authrole, 'clerk');
    await session.register('org.office.open', () => authid);
    const guest = await join(transport, { realm: 'office' });
    assert.equal(await guest.session.call('org.office.open'), authid);
    await assert.rejects(async () => guest.session.call('org.office.other'),
      ({ error }) => error === 'wamp.error.not_authorized');
    console.log(`ok ${authid} with a password, and a guest without one`);
    await assert.rejects(async () => session.call('org.office.safe.key'),
      ({ error }) => error === 'wamp.error.not_authorized');
    guest.connection.close();
    connection.close();
  }
  console.log('ok an exact rule hides a prefix');
}

async function works() {
  const transport = { type: 'websocket', url: `ws://127.0.0.1:${PORT}/ws` };
  const { session, details, connection } = await join(transport, { realm: 'works' });
  assert.equal(details.authrole, 'visitor');
  console.log('ok a stranger at a path whose listener wants tickets');
  const { name, cbdir } = await session.call('org.works.about');
  assert.equal(name, 'the "works"');
  assert.match(cbdir, /works\/\.crossbar$/);
  console.log('ok a procedure that an authorizer has permitted, which was there before');
  connection.close();
  const login = (secret) => ({ ...ticket('app', secret), realm: 'works' });
  const app = await join(transport, login(process.env.APP_TICKET));
  assert.equal(app.details.authrole, 'app');
  app.connection.close();
  await assert.rejects(join(transport, login('${APP_TICKET}')), /wamp\.error\.authentication_denied/);
  console.log('ok a ticket of the environment, and not its placeholder');
  const raw = { type: 'rawsocket', host: '127.0.0.1', port: Number(PORT) };
  await assert.rejects(join(raw, { realm: 'works' }), /wamp\.error\.authentication_required/);
  console.log('ok no stranger at RawSocket');
}

await { shop, board, office, works }[process.argv[2]]();
process.exit(0);
