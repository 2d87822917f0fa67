// Events of a topic with wampy.js: each once and in order, whatever happens to the connection, or a
// gap that is told. For Node.js and browsers. The router must keep a history of the topic; see the
// README.

import { Wampy } from 'wampy';

const PAGE = 500; // events that are asked for at once
const HELD = 1_000; // events that wait while the history is read
const KNOWN = 4_096; // publications that are remembered
const OVERTAKEN = 64; // how far an event may come before another that is kept before it
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const JOIN_MS = 10_000;
const EVENT = 36;

export class CatchUp {
  #known = new Set(); // the last publications that were had, oldest first
  #isFromBeginning = false; // the history was empty when it was looked at first
  #hasSubscribed = false;
  #line = null; // the present connection, and what comes live while the history is read
  #own = new Set(); // publications of this client that are not acknowledged yet

  /// `onEvent({ publication, topic, args, kwargs })`; `onGap(reason)`: before the next event some
  /// are missing; `onError(error)`. Call `join` for each new connection,
  /// and publish to the topic by `publish`.
  constructor({ topic, match = 'exact', onEvent, onGap, onError }) {
    Object.assign(this, { topic, match, onEvent, onGap, onError });
  }

  async join(wampy) {
    const line = (this.#line = { wampy, held: [], hasOverflowed: false });
    const live = ({ argsList: args, argsDict: kwargs, details }) => {
      const { publication } = details;
      if (publication) this.#live(line, this.#event({ publication, details, args, kwargs }));
      else this.onError(new Error('an event has no id: use `withIds` with the serializer'));
    };
    try {
      if (!this.#known.size && !this.#isFromBeginning) await this.#begin(wampy);
      const { subscriptionId } = await wampy.subscribe(this.topic, live, { match: this.match });
      this.#hasSubscribed = true;
      await this.#catchUp(line, subscriptionId).catch((error) => {
        if (isLost(error)) throw error;
        this.onGap(`the history cannot be read: ${text(error)}`);
      });
    } catch (error) {
      if (!isLost(error)) this.onError(new Error(`no subscription: ${text(error)}`));
      return;
    }
    if (!this.#isPresent(line)) return;
    const { held } = line;
    line.held = null;
    for (const event of held) this.#deliver(event);
    if (line.hasOverflowed) this.onGap('too much came while the history could not be read');
  }

  /// Publishes to the topic, or to one that matches. Others get it live, but the history holds it
  /// for this client, too: it is known by its id, and not taken for an event that was missed.
  publish(wampy, topic, payload, options) {
    const published = wampy.publish(topic, payload, options).then((answer) => {
      this.#remember(answer.publicationId);
      return answer;
    });
    const forget = () => this.#own.delete(published);
    this.#own.add(published);
    published.then(forget, forget);
    return published;
  }

  /// Where the history stands, before anything is missed.
  async #begin(wampy) {
    if (this.#hasSubscribed) this.onGap('nothing is known of what came before');
    try {
      const argsList = [this.topic, { match: this.match }];
      const { argsList: [id] } = await wampy.call('wamp.subscription.lookup', { argsList });
      if (id === null) throw new Error(`nobody keeps a history of ${this.topic}`);
      const { events, isComplete } = await this.#read(wampy, id, { reverse: true, limit: 1 });
      if (events.length) this.#known.add(events[0].publication);
      else if (isComplete) this.#isFromBeginning = true;
      else throw new Error(`no event of ${this.topic} is kept`);
    } catch (error) {
      if (isLost(error)) throw error;
      this.onError(new Error(`gaps cannot be filled: ${text(error)}`));
    }
  }

  /// Reads what came after an event that was had some time ago: the last one may have overtaken
  /// others. `after` is null for all of the history.
  async #catchUp(line, id) {
    const known = [...this.#known];
    let after = known.at(-OVERTAKEN) ?? (this.#isFromBeginning ? null : known[0]);
    while (after !== undefined) {
      const range = after === null ? {} : { after_publication: after };
      const page = await this.#read(line.wampy, id, { limit: PAGE, ...range });
      await Promise.allSettled(this.#own); // One of them may be in the page.
      if (!this.#isPresent(line)) return;
      const { events, isComplete, hasMore } = page;
      if (after !== null && !isComplete && !events.length) {
        after = null; // That event is no longer kept, but perhaps a later one that was had.
        continue;
      }
      if (!this.#isJoined(after, page)) this.onGap('the history does not reach back far enough');
      for (const event of events) this.#deliver(event);
      after = events.at(-1)?.publication ?? after;
      if (hasMore) continue;
      if (!line.hasOverflowed) return;
      // What found no room is in the history by now, and so is all that did.
      Object.assign(line, { held: [], hasOverflowed: false });
    }
  }

  /// Whether nothing is missing between what was had and a page.
  #isJoined(after, { events, isComplete }) {
    if (after !== null) return isComplete;
    const first = events.findIndex(({ publication }) => this.#known.has(publication));
    return isComplete ? first >= 0 || !this.#known.size : first === 0;
  }

  async #read(wampy, id, named) {
    const payload = { argsList: [id], argsDict: named };
    const { argsList, argsDict } = await wampy.call('wamp.subscription.get_events', payload);
    // By `history_answer` of the realm the events are arguments, or one list.
    const events = Array.isArray(argsList[0]) ? argsList[0] : argsList;
    return {
      events: events.map((event) => this.#event(event)),
      isComplete: argsDict.complete === true,
      hasMore: argsDict.is_limit_reached === true && events.length > 0,
    };
  }

  #event({ publication, details, args = [], kwargs = {} }) {
    return { publication, topic: details?.topic ?? this.topic, args, kwargs };
  }

  #live(line, event) {
    if (line.held === null) this.#deliver(event);
    else if (line.held.length < HELD) line.held.push(event);
    else line.hasOverflowed = true;
  }

  #deliver(event) {
    if (this.#known.has(event.publication)) return;
    this.#remember(event.publication);
    try {
      this.onEvent(event);
    } catch (error) {
      this.onError(error);
    }
  }

  #remember(publication) {
    this.#known.add(publication);
    if (this.#known.size > KNOWN) this.#known.delete(this.#known.values().next().value);
  }

  /// What was under way on a connection that has ended is of no interest.
  #isPresent(line) {
    return this.#line === line && Boolean(line.wampy.getSessionId());
  }
}

/// A serializer of wampy.js that also says the id of each publication, in the details of the event:
/// `new (withIds(JsonSerializer))()`. The library itself keeps it back.
export function withIds(Serializer) {
  return class extends Serializer {
    decode(data) {
      const message = super.decode(data);
      if (message[0] === EVENT) message[3] = { ...message[3], publication: message[2] };
      return message;
    }
  };
}

/// Joins again whenever a connection ends, with pauses that grow, also after GOODBYE, which the
/// library takes for the end. Calls `onJoin(wampy)` for each connection, which is a `Wampy` of its
/// own, made with `options`. Returns a function that ends it.
export function stayJoined(url, options, { onJoin, onError }) {
  let pause = FIRST_PAUSE_MS;
  let isStopped = false;
  let [present, timer] = [null, null];
  const connect = () => {
    const end = () => {
      if (present !== wampy || isStopped) return;
      clearTimeout(timer);
      present = null;
      onError(new Error('connection closed'));
      timer = setTimeout(connect, pause * (0.5 + Math.random() / 2));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    };
    const wampy = (present = new Wampy(url, { ...options, autoReconnect: false, onClose: end }));
    // Some WebSockets, such as that of Node.js 20, do not say that they could not connect.
    timer = setTimeout(() => {
      end();
      wampy.disconnect();
    }, JOIN_MS);
    wampy.connect().then(() => {
      if (present !== wampy) return wampy.disconnect();
      clearTimeout(timer);
      pause = FIRST_PAUSE_MS;
      return onJoin(wampy);
    }, (error) => onError(new Error(`not joined: ${text(error)}`)));
  };
  connect();
  return () => {
    isStopped = true;
    clearTimeout(timer);
    return present?.disconnect();
  };
}

function isLost(error) {
  return error.name === 'WebsocketError';
}

function text(error) {
  const what = error.errorUri ?? error.error?.message ?? error.message ?? error;
  return [what, ...(error.argsList ?? [])].join(' ');
}
