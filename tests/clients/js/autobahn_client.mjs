// autobahn-js behind the small interface of the tests: positional and named values go in and
// come out as `args` and `kwargs`, WAMP errors as `Fault`.

import './quiet.mjs';
import autobahn from 'autobahn';
import autobahn22 from 'autobahn-22';
import { WebSocket } from 'ws';
import { bounded, HOST, REALM, urlOf, webUrlOf } from './check.mjs';
import { Fault } from './fault.mjs';
import { XMLHttpRequest } from './xml_http_request.mjs';

// Version 26 uses the WebSocket that Node has built in: from 22 on, in 20 with a flag.
globalThis.WebSocket ??= WebSocket;
globalThis.XMLHttpRequest ??= XMLHttpRequest;

const LIBRARIES = { autobahn, 'autobahn-22': autobahn22 };
const SERIALIZERS = {
  json: 'JSONSerializer',
  msgpack: 'MsgpackSerializer',
  cbor: 'CBORSerializer',
};
const JOIN_TIMEOUT_MS = 10_000;

export class AutobahnClient {
  constructor(library, transport, serializer, { port, realm = REALM, retry = false }) {
    this.library = LIBRARIES[library];
    const { [SERIALIZERS[serializer]]: Serializer } = this.library.serializer;
    this.connection = new this.library.Connection({
      realm,
      transports: [
        {
          websocket: { type: 'websocket', url: urlOf(port), serializers: [new Serializer()] },
          rawsocket: { type: 'rawsocket', host: HOST, port },
          longpoll: { type: 'longpoll', url: `${webUrlOf(port)}/longpoll` },
        }[transport],
      ],
      max_retries: retry ? 50 : 0,
      initial_retry_delay: 0.1,
      retry_delay_growth: 1,
      on_user_error: () => {},
      on_internal_error: (error) => this.onViolation(error),
      use_deferred: deferred,
    });
    this.closed = new Promise((resolve) => {
      this.connection.onclose = (how, details) => {
        this.onLost?.(how);
        if (!details.will_retry) resolve(details.reason ?? how);
        return !retry;
      };
    });
  }

  /// The library closes the connection by itself, over what it takes for a violation.
  onViolation({ error }) {
    console.log(error);
  }

  async join() {
    const opened = new Promise((resolve, reject) => {
      this.connection.onopen = (session, details) => {
        this.session = session;
        this.details = details;
        this.onJoin?.();
        resolve(this);
      };
      this.closed.then((reason) => reject(new Fault(reason)));
    });
    this.closed.catch(() => {});
    this.connection.open();
    return bounded(opened, 'join', JOIN_TIMEOUT_MS);
  }

  get id() {
    return this.session.id;
  }

  get identity() {
    const { authid, authrole } = this.details;
    return { id: this.id, authid, authrole };
  }

  /// Calls `handler(args, kwargs, details)`; returns the subscription's id and its end.
  async subscribe(topic, handler, options) {
    const subscription = await fault(this.session.subscribe(topic, handler, options));
    return { id: subscription.id, stop: () => fault(subscription.unsubscribe()) };
  }

  async publish(topic, args, kwargs, options) {
    const acknowledged = { acknowledge: true, ...options };
    return (await fault(this.session.publish(topic, args, kwargs, acknowledged))).id;
  }

  post(topic, args, kwargs) {
    this.session.publish(topic, args, kwargs);
  }

  call(procedure, args, kwargs, options) {
    return this.start(procedure, args, kwargs, options).result;
  }

  /// A call under way, which `cancel(mode)` cancels. `onProgress` gets each partial result.
  start(procedure, args, kwargs, { onProgress, ...options } = {}) {
    if (onProgress) options.receive_progress = true;
    const promise = this.session.call(procedure, args, kwargs, options);
    promise.onProgress = (value) => onProgress(this.#payload(value));
    return {
      result: fault(promise).then((value) => this.#payload(value)),
      cancel: (mode) => promise.cancel(mode && { mode }),
    };
  }

  #payload(value) {
    if (value instanceof this.library.Result) return { args: value.args, kwargs: value.kwargs };
    return { args: value === null ? [] : [value], kwargs: {} };
  }

  /// `endpoint(args, kwargs, details, progress)` returns `{ args, kwargs }` or throws a `Fault`;
  /// `progress(args, kwargs)` sends a partial result.
  async register(procedure, endpoint, options) {
    const onCall = async (args, kwargs, details) => {
      try {
        const result = await endpoint(args, kwargs, details, details.progress);
        return new this.library.Result(result.args, result.kwargs);
      } catch (error) {
        throw new this.library.Error(error.uri, error.args, error.kwargs);
      }
    };
    const registration = await fault(this.session.register(procedure, onCall, options));
    return { id: registration.id, stop: () => fault(registration.unregister()) };
  }

  /// Says GOODBYE; returns the reason of the router's answer.
  async leave() {
    if (!this.session?.isOpen) return null;
    this.connection.close();
    return bounded(this.closed, 'leave', JOIN_TIMEOUT_MS);
  }
}

/// A promise whose `onProgress` is told partial results: the library notifies its deferred of them.
function deferred() {
  const made = { notify: (value) => made.promise.onProgress(value) };
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

async function fault(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error?.error ? new Fault(error.error, error.args, error.kwargs) : error;
  }
}
