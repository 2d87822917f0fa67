// Events of a topic with autobahn-js: each once and in order, whatever happens to the connection,
// or a gap that is told. For Node.js and browsers. The router must keep a history of the topic;
// see the README.

const PAGE = 500; // events that are asked for at once
const HELD = 1_000; // events that wait while the history is read
const KNOWN = 4_096; // publications that are remembered
const OVERTAKEN = 64; // how far an event may come before another that is kept before it
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const JOIN_MS = 10_000;

export class CatchUp {
  #known = new Set(); // the last publications that were had, oldest first
  #isFromBeginning = false; // the history was empty when it was looked at first
  #hasSubscribed = false;
  #line = null; // the present connection, and what comes live while the history is read

  /// `onEvent({ publication, topic, args, kwargs })`; `onGap(reason)`: before the next event some
  /// are missing; `onError(error)`. Call `join` for each new session.
  constructor({ topic, match = 'exact', onEvent, onGap, onError }) {
    Object.assign(this, { topic, match, onEvent, onGap, onError });
  }

  async join(session) {
    const line = (this.#line = { session, held: [], hasOverflowed: false });
    const live = (args, kwargs, { publication, topic }) =>
      this.#live(line, { publication, topic, args, kwargs });
    try {
      if (!this.#known.size && !this.#isFromBeginning) await this.#begin(session);
      const { id } = await session.subscribe(this.topic, live, { match: this.match });
      this.#hasSubscribed = true;
      await this.#catchUp(line, id).catch((error) => {
        if (this.#isPresent(line)) this.onGap(`the history cannot be read: ${text(error)}`);
      });
    } catch (error) {
      if (this.#isPresent(line)) this.onError(new Error(`no subscription: ${text(error)}`));
      return;
    }
    if (!this.#isPresent(line)) return;
    const { held } = line;
    line.held = null;
    for (const event of held) this.#deliver(event);
    if (line.hasOverflowed) this.onGap('too much came while the history could not be read');
  }

  /// Where the history stands, before anything is missed.
  async #begin(session) {
    if (this.#hasSubscribed) this.onGap('nothing is known of what came before');
    try {
      const args = [this.topic, { match: this.match }];
      const id = await session.call('wamp.subscription.lookup', args);
      if (id === null) throw new Error(`nobody keeps a history of ${this.topic}`);
      const { events, isComplete } = await this.#read(session, id, { reverse: true, limit: 1 });
      if (events.length) this.#known.add(events[0].publication);
      else if (isComplete) this.#isFromBeginning = true;
      else throw new Error(`no event of ${this.topic} is kept`);
    } catch (error) {
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
      const page = await this.#read(line.session, id, { limit: PAGE, ...range });
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

  async #read(session, id, named) {
    const { args, kwargs } = await session.call('wamp.subscription.get_events', [id], named);
    // By `history_answer` of the realm the events are arguments, or one list.
    const events = Array.isArray(args[0]) ? args[0] : args;
    return {
      events: events.map(({ publication, details, args = [], kwargs = {} }) => {
        return { publication, topic: details?.topic ?? this.topic, args, kwargs };
      }),
      isComplete: kwargs.complete === true,
      hasMore: kwargs.is_limit_reached === true && events.length > 0,
    };
  }

  #live(line, event) {
    if (line.held === null) this.#deliver(event);
    else if (line.held.length < HELD) line.held.push(event);
    else line.hasOverflowed = true;
  }

  #deliver(event) {
    if (this.#known.has(event.publication)) return;
    this.#known.add(event.publication);
    if (this.#known.size > KNOWN) this.#known.delete(this.#known.values().next().value);
    try {
      this.onEvent(event);
    } catch (error) {
      this.onError(error);
    }
  }

  /// What was under way on a connection that has ended is of no interest.
  #isPresent(line) {
    return this.#line === line && line.session.isOpen;
  }
}

/// Joins again whenever a connection ends, with pauses that grow, also after GOODBYE, which the
/// library takes for the end. `makeConnection()` makes a `Connection`, which is not open yet;
/// `onJoin(session)` is called for each one. Returns a function that ends it.
export function stayJoined(makeConnection, { onJoin, onError }) {
  let pause = FIRST_PAUSE_MS;
  let isStopped = false;
  let [present, timer] = [null, null];
  const connect = () => {
    const connection = (present = makeConnection());
    const end = (...why) => {
      if (present !== connection || isStopped) return true;
      clearTimeout(timer);
      present = null;
      onError(new Error(['connection', ...why].filter(Boolean).join(' ')));
      timer = setTimeout(connect, pause * (0.5 + Math.random() / 2));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      return true; // The library is not to try besides.
    };
    connection.onopen = (session) => {
      if (present !== connection) return connection.close();
      clearTimeout(timer);
      pause = FIRST_PAUSE_MS;
      onJoin(session);
    };
    connection.onclose = (how, { reason, message }) => end(how, reason, message);
    // Some WebSockets, such as that of Node.js 20, do not say that they could not connect.
    timer = setTimeout(() => {
      end('takes too long');
      connection.close();
    }, JOIN_MS);
    connection.open();
  };
  connect();
  return () => {
    isStopped = true;
    clearTimeout(timer);
    if (present?.isConnected) present.close();
  };
}

function text(error) {
  return [error.error ?? error.message ?? error, ...(error.args ?? [])].join(' ');
}
