// wampy.js behind the small interface of the tests; see autobahn_client.mjs.

import { Wampy } from 'wampy';
import { CborSerializer } from 'wampy/CborSerializer.js';
import { JsonSerializer } from 'wampy/JsonSerializer.js';
import { MsgpackSerializer } from 'wampy/MsgpackSerializer.js';
import { WebSocket } from 'ws';
import { bounded, REALM, urlOf } from './check.mjs';
import { Fault } from './fault.mjs';

const SERIALIZERS = { json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer };
const JOIN_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 100;

export class WampyClient {
  /// `announce` names features per role, beside those that the library announces by itself.
  constructor(library, transport, serializer, options) {
    const { port, realm = REALM, retry = false, announce = {} } = options;
    this.closed = new Promise((resolve) => {
      this.wampy = new Wampy(urlOf(port), {
        ws: WebSocket,
        realm,
        serializer: new SERIALIZERS[serializer](),
        uriValidation: 'loose',
        autoReconnect: retry,
        reconnectInterval: RECONNECT_MS,
        onClose: () => resolve('closed'),
        onReconnect: () => this.onLost?.('lost'),
        onReconnectSuccess: () => this.onJoin?.(),
        onError: (error) => error.errorUri && this.id && this.onAbort(error),
      });
    });
    for (const [role, features] of Object.entries(announce)) {
      for (const name of features) this.wampy._wamp_features.roles[role].features[name] = true;
    }
  }

  /// The promises of the library fail without the reason of an ABORT: it is told only here.
  onAbort({ errorUri, details }) {
    console.log(`ABORT ${errorUri}`, details ?? '');
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

  get identity() {
    const { authid, authrole } = this.details;
    return { id: Number(this.id), authid, authrole };
  }

  async subscribe(topic, handler, options) {
    const onEvent = ({ argsList, argsDict, details }) =>
      handler(argsList ?? [], argsDict ?? {}, details);
    const { subscriptionId } = await fault(this.wampy.subscribe(topic, onEvent, options));
    const stop = () => fault(this.wampy.unsubscribe(subscriptionId, onEvent));
    return { id: subscriptionId, stop };
  }

  async publish(topic, args, kwargs, options) {
    const { publicationId } = await fault(
      this.wampy.publish(topic, payload(args, kwargs), options),
    );
    return publicationId;
  }

  /// wampy.js asks for an acknowledgement whatever the application wants.
  post(topic, args, kwargs) {
    this.wampy.publish(topic, payload(args, kwargs)).catch(() => {});
  }

  call(procedure, args, kwargs, options) {
    return this.start(procedure, args, kwargs, options).result;
  }

  start(procedure, args, kwargs, options) {
    const promise = this.wampy.call(procedure, payload(args, kwargs), progressive(options));
    const { reqId } = this.wampy.getOpStatus();
    return {
      result: fault(promise).then(unpack),
      cancel: (mode) => this.wampy.cancel(reqId, mode && { mode }),
    };
  }

  /// A call whose arguments come in chunks: `send` sends a further one, or the last.
  startChunks(procedure, args, options) {
    const call = this.wampy.progressiveCall(procedure, payload(args), progressive(options));
    return {
      result: fault(call.result).then(unpack),
      send: (chunk, last = false) => call.sendData(payload(chunk), { progress: !last }),
    };
  }

  /// wampy.js lets an endpoint send progress whether it was asked for or not. What is not there it
  /// sends as undefined, which not every client can read.
  async register(procedure, endpoint, options) {
    const onCall = async ({ argsList, argsDict, details, result_handler: answer }) => {
      const progress = (args = [], kwargs = {}) => answer(result({ args, kwargs, progress: true }));
      try {
        return result(await endpoint(argsList ?? [], argsDict ?? {}, details, progress));
      } catch (error) {
        throw { error: error.uri, argsList: error.args, argsDict: error.kwargs };
      }
    };
    const { registrationId } = await fault(this.wampy.register(procedure, onCall, options));
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

function unpack({ argsList, argsDict }) {
  return { args: argsList ?? [], kwargs: argsDict ?? {} };
}

/// With `progress`, an answer that others follow.
function result({ args, kwargs, progress = false }) {
  return { argsList: args, argsDict: kwargs, options: progress ? { progress } : {} };
}

function progressive({ onProgress, ...options } = {}) {
  if (onProgress) options.progress_callback = (partial) => onProgress(unpack(partial));
  return options;
}

async function fault(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.errorUri ? new Fault(error.errorUri, error.argsList, error.argsDict) : error;
  }
}
