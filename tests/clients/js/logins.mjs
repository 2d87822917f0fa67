// autobahn-js and wampy.js log in by every method they have, rightly and wrongly.

import './quiet.mjs';
import autobahn from 'autobahn';
import autobahn22 from 'autobahn-22';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { Wampy } from 'wampy';
import { CborSerializer } from 'wampy/CborSerializer.js';
import { JsonSerializer } from 'wampy/JsonSerializer.js';
import { MsgpackSerializer } from 'wampy/MsgpackSerializer.js';
import { WebSocket } from 'ws';
import { check, HOST, Report } from './check.mjs';

// Version 26 uses the WebSocket that Node has built in: from 22 on, in 20 with a flag.
globalThis.WebSocket ??= WebSocket;

const PORT = Number(process.env.LOGIN_PORT ?? 8080);
const KEY = process.env.LOGIN_KEY ?? '';
const TICKET = process.env.LOGIN_TICKET ?? '';
const TOKEN = process.env.TOKEN ?? '';
const REALM = 'realm1';
const URL = `ws://${HOST}:${PORT}/ws`;
const DENIED = 'wamp.error.authentication_denied';
const { auth_cra: cra, nacl, util } = autobahn;

const keyPair = (secret) => nacl.sign.keyPair.fromSeed(util.htob(secret));

/// What a client sends with HELLO, and how it answers.
function credentials({ method, authid, secret }) {
  switch (method) {
    case 'anonymous':
      return { extra: {}, answer: () => '' };
    case 'ticket':
      return { extra: {}, answer: () => secret };
    case 'wampcra':
      return { extra: {}, answer: (extra) => signed(secret, extra) };
    case 'cryptosign': {
      const pair = keyPair(secret);
      const extra = { pubkey: util.btoh(pair.publicKey), channel_binding: null };
      return { extra, answer: ({ challenge }) => signedBy(pair, util.htob(challenge)) };
    }
    default: {
      const nonce = randomBytes(18).toString('base64');
      const answer = (extra) => proof(authid, secret, nonce, extra);
      return { extra: { nonce, channel_binding: null }, answer };
    }
  }
}

function signed(secret, { challenge, salt, iterations, keylen }) {
  const key = salt ? cra.derive_key(secret, salt, iterations, keylen) : secret;
  return cra.sign(key, challenge);
}

function signedBy(pair, challenge) {
  const signature = nacl.sign.detached(challenge, pair.secretKey);
  return util.btoh(signature) + util.btoh(challenge);
}

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();

/// RFC 5802, for pbkdf2.
function proof(authid, secret, clientNonce, { nonce, salt, iterations }) {
  const salted = pbkdf2Sync(secret, Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  const stored = createHash('sha256').update(clientKey).digest();
  const first = `n=${authid},r=${clientNonce},r=${nonce},s=${salt},i=${iterations}`;
  const signature = hmac(stored, `${first},c=biws,r=${nonce}`);
  const bytes = clientKey.map((byte, index) => byte ^ signature[index]);
  return [Buffer.from(bytes).toString('base64'), { nonce, channel_binding: null }];
}

/// Resolves to WELCOME's details, or to the reason why there is none.
function withAutobahn(library, transport, login) {
  const { extra, answer } = credentials(login);
  const connection = new library.Connection({
    realm: REALM,
    transports: [transport],
    max_retries: 0,
    authmethods: [login.method],
    authid: login.authid,
    authextra: extra,
    onchallenge: (_session, _method, challenge) => answer(challenge),
    on_internal_error: () => {},
  });
  return new Promise((resolve) => {
    connection.onopen = (_session, details) => {
      resolve(details);
      connection.close();
    };
    connection.onclose = (how, details) => {
      resolve(details.reason ?? how);
      return true;
    };
    connection.open();
  });
}

async function withWampy(serializer, login) {
  const { extra, answer } = credentials(login);
  const wampy = new Wampy(URL, {
    ws: WebSocket,
    realm: REALM,
    serializer,
    autoReconnect: false,
    authid: login.authid ?? 'x',
    authmethods: [login.method],
    authextra: extra,
    onChallenge: (_method, challenge) => answer(challenge),
  });
  try {
    const details = await wampy.connect();
    await wampy.disconnect();
    return details;
  } catch (error) {
    return error.errorUri ?? String(error);
  }
}

const websocket = (Serializer) => ({ type: 'websocket', url: URL, serializers: [new Serializer()] });
const rawsocket = { type: 'rawsocket', host: HOST, port: PORT };

const CELLS = [];
for (const [name, library] of Object.entries({ autobahn, 'autobahn-22': autobahn22 })) {
  const { CBORSerializer, JSONSerializer, MsgpackSerializer: Msgpack } = library.serializer;
  for (const Serializer of [JSONSerializer, Msgpack, CBORSerializer]) {
    const transport = () => websocket(Serializer);
    CELLS.push([`${name} ${Serializer.name}`, (login) => withAutobahn(library, transport(), login)]);
  }
  CELLS.push([`${name} rawsocket`, (login) => withAutobahn(library, rawsocket, login)]);
}
for (const Serializer of [JsonSerializer, MsgpackSerializer, CborSerializer]) {
  CELLS.push([`wampy ${Serializer.name}`, (login) => withWampy(new Serializer(), login)]);
}

const RIGHT = [
  { method: 'ticket', authid: 'joe', secret: 'pencil' },
  { method: 'ticket', authid: 'robot', secret: TICKET },
  { method: 'ticket', authid: 'joe', secret: TOKEN },
  { method: 'wampcra', authid: 'joe', secret: 'pencil' },
  { method: 'wampcra', authid: 'jim', secret: 'pencil' },
  { method: 'cryptosign', authid: 'keyed', secret: KEY },
  { method: 'wamp-scram', authid: 'joe', secret: 'pencil' },
];
const WRONG = [
  { method: 'ticket', authid: 'joe', secret: 'pen' },
  { method: 'ticket', authid: 'robot', secret: TOKEN },
  { method: 'wampcra', authid: 'nobody', secret: 'pencil' },
  { method: 'cryptosign', authid: 'keyed', secret: '11'.repeat(32) },
  { method: 'wamp-scram', authid: 'joe', secret: 'pen' },
];

const report = new Report();
for (const [name, logIn] of CELLS) {
  // wampy.js sends no Extra with AUTHENTICATE, which wamp-scram needs.
  const has = ({ method }) => method !== 'wamp-scram' || !name.startsWith('wampy');
  for (const login of RIGHT.filter(has)) {
    await report.run(`${name}: ${login.method} as ${login.authid}`, async () => {
      const { authid, authrole, authmethod } = await logIn(login);
      check({ authid, authrole, authmethod }, {
        authid: login.authid,
        authrole: 'user',
        authmethod: login.method,
      });
    });
  }
  for (const login of WRONG.filter(has)) {
    await report.run(`${name}: wrong ${login.method} as ${login.authid}`, async () => {
      check(await logIn(login), DENIED);
    });
  }
}
report.close();
