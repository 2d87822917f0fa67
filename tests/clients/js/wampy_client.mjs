// wampy.js behind the small interface of the tests; see autobahn_client.mjs.

import { Wampy } from 'wampy';
import { CborSerializer } from 'wampy/CborSerializer.js';
import { JsonSerializer } from 'wampy/JsonSerializer.js';
import { MsgpackSerializer } from 'wampy/MsgpackSerializer.js';
import { WebSocket } from 'ws';
import { bounded, HOST, PORT, REALM } from './check.mjs';
import { Fault } from './fault.mjs';

const SERIALIZERS = { json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer };
const JOIN_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 100;

export class WampyClient {
  constructor(library, transport, serializer, { port = PORT, realm = REALM, retry = false } = {}) {
    this.closed = new Promise((resolve) => {
      this.wampy = new Wampy(`ws://${HOST}:${port}/ws`, {
        ws: WebSocket,
        realm,
        serializer: new SERIALIZERS[serializer](),
        uriValidation: 'loose',
        autoReconnect: retry,
        reconnectInterval: RECONNECT_MS,
        onClose: () => resolve('closed'),
        onReconnect: () => this.onLost?.('lost'),
        onReconnectSuccess: () => this.onJoin?.(),
        onError: (error) => this.#note(error),
      });
    });
  }

  /// The promises of the library fail without the reason of an ABORT: it is told only here.
  #note(error) {
    if (error.errorUri && this.id) console.log(`ABORT ${error.errorUri}`, error.details ?? '');
  }

  async join() {
    try {
      this.details = await bounded(this.wampy.connect(), 'join', JOIN_TIMEOUT_MS);
    } catch (error) {
      throw error.errorUri ? new Fault(error.errorUri) : error;
    }
    return this;
  }

  get id() {
    return this.wampy.getSessionId();
  }

  async subscribe(topic, handler, options) {
    const onEvent = ({ argsList, argsDict, details }) =>
      handler(argsList ?? [], argsDict ?? {}, details.publication);
    const { subscriptionId } = await fault(this.wampy.subscribe(topic, onEvent, options));
    const stop = () => fault(this.wampy.unsubscribe(subscriptionId, onEvent));
    return { id: subscriptionId, stop };
  }

  async publish(topic, args, kwargs) {
    return (await fault(this.wampy.publish(topic, payload(args, kwargs)))).publicationId;
  }

  /// wampy.js asks for an acknowledgement whatever the application wants.
  post(topic, args, kwargs) {
    this.wampy.publish(topic, payload(args, kwargs)).catch(() => {});
  }

  async call(procedure, args, kwargs) {
    const result = await fault(this.wampy.call(procedure, payload(args, kwargs)));
    return { args: result.argsList ?? [], kwargs: result.argsDict ?? {} };
  }

  async register(procedure, endpoint) {
    const onCall = async ({ argsList, argsDict }) => {
      try {
        const { args, kwargs } = await endpoint(argsList ?? [], argsDict ?? {});
        return { argsList: args, argsDict: kwargs };
      } catch (error) {
        throw { error: error.uri, argsList: error.args, argsDict: error.kwargs };
      }
    };
    const { registrationId } = await fault(this.wampy.register(procedure, onCall));
    return { id: registrationId, stop: () => fault(this.wampy.unregister(procedure)) };
  }

  async leave() {
    if (!this.id) return null;
    await bounded(this.wampy.disconnect(), 'leave', JOIN_TIMEOUT_MS);
    return this.closed;
  }
}

function payload(args, kwargs) {
  return { argsList: args ?? [], ...(kwargs ? { argsDict: kwargs } : {}) };
}

async function fault(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.errorUri ? new Fault(error.errorUri, error.argsList, error.argsDict) : error;
  }
}
