// One library, transport and serializer of the matrix, and the clients that a test opened in it.

import { AutobahnClient } from './autobahn_client.mjs';
import { IS_SECURE } from './check.mjs';
import { PORTS, spread } from './nodes.mjs';
import { WampyClient } from './wampy_client.mjs';

const CELLS = [
  ...['autobahn', 'autobahn-22'].flatMap((library) => [
    [library, 'websocket', 'json'],
    [library, 'websocket', 'msgpack'],
    [library, 'websocket', 'cbor'],
    [library, 'rawsocket', 'json'],
    [library, 'longpoll', 'json'],
  ]),
  ['wampy', 'websocket', 'json'],
  ['wampy', 'websocket', 'msgpack'],
  ['wampy', 'websocket', 'cbor'],
];

export class Cell {
  clients = [];

  constructor(library, transport, serializer) {
    this.library = library;
    this.transport = transport;
    this.serializer = serializer;
    this.isWampy = library === 'wampy';
    this.name = `${library} ${IS_SECURE ? 'tls ' : ''}${transport}/${serializer}`;
  }

  static all() {
    // autobahn-js has no TLS for RawSocket.
    const has = ([, transport]) => !IS_SECURE || transport !== 'rawsocket';
    return CELLS.filter(has).map((cell) => new Cell(...cell));
  }

  client({ node = spread.next(), ports = PORTS, ...options } = {}) {
    const Client = this.isWampy ? WampyClient : AutobahnClient;
    options.port ??= ports[node];
    const client = new Client(this.library, this.transport, this.serializer, options);
    client.node = node;
    return client;
  }

  async join(options) {
    const client = this.client(options);
    await this.enter(client);
    return client;
  }

  async enter(client) {
    await client.join();
    this.clients.push(client);
    await spread.note(client.node, client.id);
  }

  uri(name) {
    return `org.js.${this.library.replace('-', '_')}.${this.transport}.${this.serializer}.${name}`;
  }

  /// What an application hands over for binary data; JSON has WAMP's text form for it.
  bytes(data) {
    const buffer = Buffer.from(data);
    return this.serializer === 'json' ? `\0${buffer.toString('base64')}` : buffer;
  }

  async close() {
    const clients = this.clients.splice(0);
    await Promise.all(clients.map((client) => client.leave()));
  }
}
