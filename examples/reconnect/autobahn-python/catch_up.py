"""Events of a topic with autobahn-python: each once and in order, whatever happens to the
connection, or a gap that is told. With asyncio as well as with Twisted. The router must keep a
history of the topic; see the README.
"""

import random
from itertools import islice
from typing import NamedTuple

import txaio
from autobahn.wamp.protocol import ApplicationSession
from autobahn.wamp.types import SubscribeOptions

PAGE = 500  # events that are asked for at once
HELD = 1_000  # events that wait while the history is read
KNOWN = 4_096  # publications that are remembered
OVERTAKEN = 64  # how far an event may come before another that is kept before it
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30
BEGINNING = 0  # no publication has this id


class Event(NamedTuple):
    publication: int
    topic: str
    args: list
    kwargs: dict


class Line:
    """One connection, and what comes live while the history is read."""

    def __init__(self, session):
        self.session = session
        self.held = []
        self.has_overflowed = False


class CatchUp:
    """Calls `on_event(event)`; `on_gap(reason)`: before the next event some are missing;
    `on_error(text)`. `join` is to be called for each new session.
    """

    def __init__(self, topic, on_event, on_gap, on_error, match="exact"):
        self.topic, self.match = topic, match
        self.on_event, self.on_gap, self.on_error = on_event, on_gap, on_error
        self.known = {}  # the last publications that were had, oldest first
        self.is_from_beginning = False  # the history was empty when it was looked at first
        self.has_subscribed = False
        self.line = None

    async def join(self, session):
        line = self.line = Line(session)

        def live(*args, details, **kwargs):
            self._live(line, Event(details.publication, details.topic, list(args), kwargs))

        try:
            if not self.known and not self.is_from_beginning:
                await self._begin(session)
            options = SubscribeOptions(match=self.match, details=True)
            subscription = await session.subscribe(live, self.topic, options)
        except Exception as error:
            if self._is_present(line):
                self.on_error(f"no subscription: {error}")
            return
        self.has_subscribed = True
        try:
            await self._catch_up(line, subscription.id)
        except Exception as error:
            if self._is_present(line):
                self.on_gap(f"the history cannot be read: {error}")
        if self._is_present(line):
            held, line.held = line.held, None
            for event in held:
                self._deliver(event)
            if line.has_overflowed:
                self.on_gap("too much came while the history could not be read")

    async def _begin(self, session):
        """Looks where the history stands, before anything is missed."""
        if self.has_subscribed:
            self.on_gap("nothing is known of what came before")
        try:
            found = await session.call(
                "wamp.subscription.lookup", self.topic, {"match": self.match}
            )
            if found is None:
                raise LookupError(f"nobody keeps a history of {self.topic}")
            events, is_complete, _ = await self._read(session, found, reverse=True, limit=1)
            if events:
                self.known[events[0].publication] = True
            elif is_complete:
                self.is_from_beginning = True
            else:
                raise LookupError(f"no event of {self.topic} is kept")
        except Exception as error:
            self.on_error(f"gaps cannot be filled: {error}")

    async def _catch_up(self, line, subscription):
        """Reads what came after an event that was had some time ago: the last one may have
        overtaken others.
        """
        after = self._anchor()
        while after is not None:
            bound = {"after_publication": after} if after != BEGINNING else {}
            page = await self._read(line.session, subscription, limit=PAGE, **bound)
            if not self._is_present(line):
                return
            events, is_complete, has_more = page
            if after != BEGINNING and not is_complete and not events:
                after = BEGINNING  # It is no longer kept, but perhaps a later one that was had.
                continue
            if not self._is_joined(after, events, is_complete):
                self.on_gap("the history does not reach back far enough")
            for event in events:
                self._deliver(event)
                after = event.publication
            if has_more:
                continue
            if not line.has_overflowed:
                return
            # What found no room is in the history by now, and so is all that did.
            line.held, line.has_overflowed = [], False

    def _anchor(self):
        """After which publication the history is to be read; `None` if that is not known."""
        if len(self.known) >= OVERTAKEN:
            return next(islice(reversed(self.known), OVERTAKEN - 1, None))
        return BEGINNING if self.is_from_beginning else next(iter(self.known), None)

    def _is_joined(self, after, events, is_complete):
        """Whether nothing is missing between what was had and a page."""
        if after != BEGINNING:
            return is_complete
        known = [event.publication in self.known for event in events]
        return any(known) or not self.known if is_complete else known[:1] == [True]

    async def _read(self, session, subscription, **named):
        answer = await session.call("wamp.subscription.get_events", subscription, **named)
        events, verdict = answer.results, answer.kwresults
        # By `history_answer` of the realm the events are arguments, or one list.
        if events and isinstance(events[0], list):
            events = events[0]
        events = [self._event(event) for event in events]
        has_more = verdict["is_limit_reached"] and bool(events)
        return events, verdict["complete"], has_more

    def _event(self, entry):
        topic = entry.get("details", {}).get("topic", self.topic)
        return Event(entry["publication"], topic, entry.get("args", []), entry.get("kwargs", {}))

    def _live(self, line, event):
        if line.held is None:
            self._deliver(event)
        elif len(line.held) < HELD:
            line.held.append(event)
        else:
            line.has_overflowed = True

    def _deliver(self, event):
        if event.publication in self.known:
            return
        self.known[event.publication] = True
        if len(self.known) > KNOWN:
            del self.known[next(iter(self.known))]
        try:
            self.on_event(event)
        except Exception as error:
            self.on_error(f"{type(error).__name__} in on_event: {error}")

    def _is_present(self, line):
        """What was under way on a connection that has ended is of no interest."""
        return self.line is line and line.session.is_attached()


async def stay_joined(make_component, loop, on_join, on_error):
    """Joins again whenever a session ends, with pauses that grow, also after a GOODBYE that the
    library takes for the end. `make_component()` makes a component for one connection, whose
    transport has `max_retries` 0: the pauses are made here. `loop` is the reactor with Twisted.
    """
    pause = FIRST_PAUSE_S

    async def joined(session, _details):
        nonlocal pause
        pause = FIRST_PAUSE_S
        await on_join(session)

    def failed(_component, error):
        on_error(f"connection: {getattr(error, 'error', error)}")

    while True:
        component = make_component()
        component.on("join", joined)
        component.on("disconnect", forget_requests)
        component.on("connectfailure", failed)
        try:
            await component.start(loop)
            on_error("connection: the session was ended")
        except Exception:
            pass  # Why is said above.
        await txaio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, LONGEST_PAUSE_S)


def forget_requests(session, was_clean):
    """Lets requests fail that nobody answers any more: with components they would wait for ever."""
    ApplicationSession.onDisconnect(session)
