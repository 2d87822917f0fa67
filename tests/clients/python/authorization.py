"""An authorizer that was written for crossbar (authorizer.py) decides about requests.

Every test runs over each transport and serializer of autobahn-python; the authorizer uses the same
ones.
"""

import asyncio
import os
import pathlib
import sys

from autobahn.wamp.types import (
    CallOptions,
    PublishOptions,
    RegisterOptions,
    SubscribeOptions,
    TransportDetails,
)

import connect
from authorizer import Authorizer
from check import Report, check, check_error, check_true
from connect import SERIALIZERS, TRANSPORTS, Client
from nodes import ports, spread, spread_out
from pubsub import inbox

PORTS = ports("LOGIN_PORT", "8080")
REALM = "authorized"
DENIED = "wamp.error.not_authorized"
FAILED = "wamp.error.authorization_failed"
ACKNOWLEDGE = PublishOptions(acknowledge=True)
PREFIX = SubscribeOptions(match="prefix")
# What crossbar's documentation lists, and what crossbar gives.
DETAILS = {"session", "realm", "authid", "authrole", "authmethod", "authprovider", "authextra",
           "transport"}
# Of a transport: as older crossbars tell it, and as newer ones do (autobahn's TransportDetails).
TRANSPORT_OLD = {"type", "protocol", "peer", "http_headers_received", "http_headers_sent",
                 "cbtid"}
TRANSPORT_NEW = set(TransportDetails().marshal())
# Those of them that tell of the router and its process.
TRANSPORT_OWN = {"own", "own_pid", "own_tid", "own_fd", "is_server", "websocket_extensions_in_use"}


class Watched(Authorizer, Client):
    """The authorizer, with a memory of what it was asked."""

    def __init__(self, realm):
        Client.__init__(self, realm)
        self.asked = []

    async def onJoin(self, details):
        await super().onJoin(details)
        self.joined.set_result(details)

    async def authorize(self, session, uri, action, options):
        self.asked.append((session, uri, action, options))
        return await super().authorize(session, uri, action, options)

    def drain(self):
        """What it was asked since the last time: by whom, and about what."""
        asked, self.asked = self.asked, []
        return [(session["session"], action, uri) for session, uri, action, _ in asked]


class Odd(Watched):
    """Answers with whatever a test wants, or raises it."""

    answer = None

    async def authorize(self, *args):
        self.asked.append(args)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Old(Watched):
    """Of the time before crossbar gave the options."""

    async def authorize(self, session, uri, action):
        return True


class Slow(Watched):
    """Takes its time for everything below `com.shop.slow`."""

    def __init__(self, realm):
        super().__init__(realm)
        self.is_done = asyncio.Event()

    async def authorize(self, session, uri, action, options):
        if uri.startswith("com.shop.slow"):
            await self.is_done.wait()
        return True


class Member(Client):
    """Joins with a ticket, or else as a visitor whom nobody knows."""

    authid, ticket = None, None

    def onConnect(self):
        self.join(self.config.realm, ["ticket" if self.ticket else "anonymous"], self.authid)

    def onChallenge(self, challenge):
        return self.ticket


class Shop:
    """The sessions of one test, all over one transport and serializer."""

    def __init__(self, transport, serializer):
        self.transport = transport
        self.serializer = serializer
        self.sessions = []

    async def join(self, kind):
        node = spread.next()
        session = await connect.join(self.transport, self.serializer, port=PORTS[node],
                                     realm=REALM, kind=kind)
        self.sessions.append(session)
        await spread.note(node, session.id)
        return session

    async def visitor(self):
        return await self.join(Member)

    async def named(self, authid):
        ticket = os.environ[f"{authid.upper()}_TICKET"]
        return await self.join(type("Named", (Member,), dict(authid=authid, ticket=ticket)))

    async def close(self):
        for session in self.sessions:
            if session._transport and session.id:
                await session.goodbye()


def ignore(*args, **kwargs):
    """Handles what must never come."""


def quiet(events):
    check(events.qsize(), 0, "events")


async def publications_and_subscriptions(shop):
    authorizer = await shop.join(Watched)
    ann, stranger = await shop.named("ann"), await shop.visitor()
    _, events = await inbox(ann, "com.shop.basket.ann")
    await ann.publish("com.shop.basket.ann", "bread",
                      options=PublishOptions(acknowledge=True, exclude_me=False))
    check((await events.get())[0], ["bread"])
    refused = stranger.publish("com.shop.basket.ann", 1, options=ACKNOWLEDGE)
    error = await check_error(refused, DENIED)
    check(error.args[0], 'the role "visitor" may not publish to "com.shop.basket.ann"')
    await check_error(stranger.subscribe(ignore, "com.shop.basket.ann"), DENIED)
    stranger.publish("com.shop.basket.ann", 2)  # is dropped: nobody waits for an answer
    await check_error(stranger.publish("com.other", options=ACKNOWLEDGE), DENIED)
    quiet(events)
    check(authorizer.drain(), [
        (ann.id, "subscribe", "com.shop.basket.ann"),
        (ann.id, "publish", "com.shop.basket.ann"),
        (stranger.id, "publish", "com.shop.basket.ann"),
        (stranger.id, "subscribe", "com.shop.basket.ann"),
        (stranger.id, "publish", "com.shop.basket.ann"),
        (stranger.id, "publish", "com.other"),
    ])


async def calls_and_registrations(shop):
    authorizer = await shop.join(Watched)
    ann, stranger = await shop.named("ann"), await shop.visitor()
    await check_error(stranger.register(ignore, "com.shop.door.ann"), DENIED)
    await ann.register(lambda name: f"hello {name}", "com.shop.door.ann")
    check(await stranger.call("com.shop.door.ann", "you"), "hello you")
    await check_error(stranger.call("com.shop.safe"), DENIED)
    check(authorizer.drain(), [
        (stranger.id, "register", "com.shop.door.ann"),
        (ann.id, "register", "com.shop.door.ann"),
        (stranger.id, "call", "com.shop.door.ann"),
        (stranger.id, "call", "com.shop.safe"),
    ])


async def patterns_and_options(shop):
    """The authorizer knows a pattern by `options`, where all else stands that was asked for."""
    authorizer, visitor = await shop.join(Watched), await shop.visitor()
    await visitor.subscribe(ignore, "com.shop.news", options=PREFIX)
    await check_error(visitor.subscribe(ignore, "com.shop.", options=PREFIX), DENIED)
    wildcard = RegisterOptions(match="wildcard", invoke="roundrobin")
    await check_error(visitor.register(ignore, "com.shop..ann", options=wildcard), DENIED)
    await check_error(visitor.call("com.shop.safe", options=CallOptions(timeout=9)), DENIED)
    await check_error(visitor.publish("com.shop.safe", options=ACKNOWLEDGE), DENIED)
    options = [(uri, options) for _, uri, _, options in authorizer.asked]
    check(options, [
        ("com.shop.news", {"match": "prefix"}),
        ("com.shop.", {"match": "prefix"}),
        ("com.shop..ann", {"match": "wildcard", "invoke": "roundrobin"}),
        ("com.shop.safe", {"match": "exact", "timeout": 9}),
        ("com.shop.safe", {"match": "exact", "acknowledge": True}),
    ])


async def what_may_be_cached(shop):
    """By session and action; a denial as well; and nothing that does not say so."""
    authorizer = await shop.join(Watched)
    visitor, other = await shop.visitor(), await shop.visitor()
    topic = "com.shop.news.today"
    for _ in range(3):
        await visitor.subscribe(ignore, topic)
        await check_error(visitor.publish(topic, options=ACKNOWLEDGE), DENIED)
    await other.subscribe(ignore, topic)
    check(authorizer.drain(), [
        (visitor.id, "subscribe", topic), (visitor.id, "publish", topic),
        (other.id, "subscribe", topic),
    ])
    door = f"com.shop.door.{visitor.details.authid}"
    registration = await visitor.register(lambda: 1, door)
    await registration.unregister()
    await visitor.register(lambda: 2, door)
    await check_error(other.register(ignore, door), DENIED)
    await check_error(other.register(ignore, door), DENIED)
    check(await other.call(door) + await other.call(door), 4)
    check(authorizer.drain(), [
        (visitor.id, "register", door), (visitor.id, "register", door),
        (other.id, "register", door), (other.id, "register", door),
        (other.id, "call", door), (other.id, "call", door),
    ])


async def whom_callees_and_subscribers_learn_of(shop):
    """autobahn-python cannot ask to be disclosed: what is told comes from the authorizer alone."""
    authorizer = await shop.join(Watched)
    backend, ann = await shop.named("backend"), await shop.named("ann")

    def caller(details):
        return [details.caller, details.caller_authid, details.caller_authrole]

    with_details = RegisterOptions(details=True)
    for procedure in ["com.shop.order", "com.shop.door.backend"]:
        await backend.register(caller, procedure, options=with_details)
    for _ in range(2):  # the second time from memory
        check(await ann.call("com.shop.order"), [ann.id, "ann", "visitor"])
    check(await ann.call("com.shop.door.backend"), [None, None, None])
    _, wishes = await inbox(backend, "com.shop.wishes")
    _, basket = await inbox(backend, "com.shop.basket.ann")
    for _ in range(2):
        await ann.publish("com.shop.wishes", options=ACKNOWLEDGE)
        _, _, details = await wishes.get()
        check([details.publisher, details.publisher_authid, details.publisher_authrole],
              [ann.id, "ann", "visitor"])
    await ann.publish("com.shop.basket.ann", options=ACKNOWLEDGE)
    _, _, details = await basket.get()
    check([details.publisher, details.publisher_authid], [None, None])
    check(authorizer.drain(), [
        (ann.id, "call", "com.shop.order"), (ann.id, "call", "com.shop.door.backend"),
        (ann.id, "publish", "com.shop.wishes"), (ann.id, "publish", "com.shop.basket.ann"),
    ])


async def an_authorizer_that_calls_others(shop):
    """It looks up in the backend who is a clerk, while the request waits."""
    await shop.join(Watched)
    backend = await shop.named("backend")
    ann, stranger = await shop.named("ann"), await shop.visitor()
    await check_error(ann.publish("com.shop.stock.bread", options=ACKNOWLEDGE), FAILED)
    await backend.register(lambda: ["ann"], "com.shop.clerks")
    await ann.publish("com.shop.stock.bread", options=ACKNOWLEDGE)
    await check_error(stranger.publish("com.shop.stock.bread", options=ACKNOWLEDGE), DENIED)


async def order_while_it_thinks(shop):
    """Whoever waits keeps its order, and nobody else waits."""
    slow, backend = await shop.join(Slow), await shop.named("backend")
    ann, stranger = await shop.named("ann"), await shop.visitor()
    _, events = await inbox(backend, "com.shop.free")
    first = ann.publish("com.shop.slow", options=ACKNOWLEDGE)
    second = ann.publish("com.shop.free", "behind", options=ACKNOWLEDGE)
    await stranger.publish("com.shop.free", "ahead", options=ACKNOWLEDGE)
    check((await events.get())[0], ["ahead"])
    check([first.done(), second.done()], [False, False], "answers")
    slow.is_done.set()
    await first
    await second
    check((await events.get())[0], ["behind"])


async def authorizers_that_raise(shop):
    """They deny, and what they raise is no business of the client's."""
    await shop.join(Watched)
    visitor = await shop.visitor()
    error = await check_error(visitor.call("com.shop.cellar"), FAILED)
    check_true("key" not in str(error.args), "the client learns what it raised")
    await check_error(visitor.publish("com.shop.cellar", options=ACKNOWLEDGE), FAILED)
    await check_error(visitor.subscribe(ignore, "com.shop.cellar"), FAILED)
    await check_error(visitor.register(ignore, "com.shop.cellar"), FAILED)
    await visitor.subscribe(ignore, "com.shop.news.today")


async def an_error_of_python(shop):
    odd, visitor = await shop.join(Odd), await shop.visitor()
    for odd.answer in [KeyError("authid"), TypeError("no")]:
        await check_error(visitor.call("com.shop.order"), FAILED)
    odd.answer = True
    await check_error(visitor.call("com.shop.order"), "wamp.error.no_such_procedure")


async def answers_that_are_none(shop):
    odd, visitor = await shop.join(Odd), await shop.visitor()
    _, events = await inbox(await shop.named("backend"), "com.shop.order")
    wrong = [None, 1, 0, 1.0, "true", "", [], [True], {}, {"allow": None}, {"allow": 1},
             {"allow": "true"}, {"allowed": True}, {"cache": True}, {"allow": True, "alow": False},
             {"allow": True, "cache": 1}, {"allow": True, "disclose": "no"}]
    for odd.answer in wrong:
        outcome = check_error(visitor.publish("com.shop.order", options=ACKNOWLEDGE), FAILED)
        await named(outcome, f"answer {odd.answer!r}")
    check(len(odd.asked), len(wrong), "questions")
    quiet(events)
    odd.answer = True
    await visitor.publish("com.shop.order", "at last", options=ACKNOWLEDGE)
    check((await events.get())[0], ["at last"])


async def answers_that_are_some(shop):
    """`validate` is of newer crossbars, which allow null for it."""
    odd, visitor = await shop.join(Odd), await shop.visitor()
    yes = {"allow": True}
    for odd.answer in [True, yes, yes | {"cache": False, "disclose": False},
                       yes | {"validate": None}, yes | {"validate": {"args": []}}]:
        granted = visitor.publish("com.shop.order", options=ACKNOWLEDGE)
        await named(granted, f"answer {odd.answer!r}")
    for odd.answer in [False, {"allow": False}, {"allow": False, "disclose": True}]:
        denied = check_error(visitor.publish("com.shop.order", options=ACKNOWLEDGE), DENIED)
        await named(denied, f"answer {odd.answer!r}")


async def an_authorizer_of_three_arguments(shop):
    """crossbar calls those once more without options; here they deny, as the documentation says."""
    await shop.join(Old)
    visitor = await shop.visitor()
    await check_error(visitor.call("com.shop.order"), FAILED)


async def without_an_authorizer(shop):
    visitor = await shop.visitor()
    await check_error(visitor.subscribe(ignore, "com.shop.news"), FAILED)
    authorizer = await shop.join(Watched)
    await visitor.subscribe(ignore, "com.shop.news.today")
    await authorizer.goodbye()
    await check_error(visitor.subscribe(ignore, "com.shop.news.yesterday"), FAILED)


async def nobody_else_authorizes(shop):
    """By the rules, about which nobody is asked."""
    authorizer, visitor = await shop.join(Watched), await shop.visitor()
    await check_error(visitor.call("com.shop.authorize", {}, "com.shop.x", "call", {}), DENIED)
    await check_error(visitor.register(ignore, "com.shop.authorize"), DENIED)
    check(authorizer.drain(), [], "questions")


async def what_it_learns_of_a_session(shop):
    authorizer = await shop.join(Watched)
    ann, stranger = await shop.named("ann"), await shop.visitor()
    await check_error(ann.call("com.shop.safe"), DENIED)
    await check_error(stranger.call("com.shop.safe"), DENIED)
    known, unknown = [session for session, *_ in authorizer.asked]
    for details, session, method in [(known, ann, "ticket"), (unknown, stranger, "anonymous")]:
        check(set(details), DETAILS, "members")
        transport = details.pop("transport")
        check(details, {
            "session": session.id,
            "realm": REALM,
            "authid": session.details.authid,
            "authrole": "visitor",
            "authmethod": method,
            "authprovider": "static",
            "authextra": {},
        })
        check_transport(transport, session, shop)


def check_transport(transport, session, shop):
    missing = (TRANSPORT_OLD | TRANSPORT_NEW) - set(transport)
    check(missing, TRANSPORT_OWN, "members of transport that are missing")
    host, port = session._transport.transport.get_extra_info("sockname")
    check(transport["peer"], f"tcp4:{host}:{port}", "peer")
    check(transport["type"], shop.transport, "type")
    details = TransportDetails.parse(transport).marshal()  # as an authorizer reads it
    check(details["peer"], transport["peer"], "peer")
    check(details["channel_type"], "tcp", "channel_type")
    check(details["channel_framing"], shop.transport, "channel_framing")
    check(details["channel_serializer"], shop.serializer, "channel_serializer")
    check(details["is_secure"], False, "is_secure")


async def named(outcome, what):
    try:
        return await outcome
    except Exception as fault:
        raise AssertionError(f"{what}: {fault}") from fault


async def as_a_program(shop):
    """The file as it is, in a process of its own."""
    scheme = "rs" if shop.transport == "rawsocket" else "ws"
    url = f"{scheme}://{connect.HOST}:{PORTS[spread.next()]}" + ("/ws" if scheme == "ws" else "")
    process = await asyncio.create_subprocess_exec(
        sys.executable, pathlib.Path(__file__).with_name("authorizer.py"),
        env=os.environ | {"CBURL": url, "CBREALM": REALM},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    try:
        async for line in process.stdout:
            if line.endswith(b"authorizes as authorizer\n"):
                break
        else:
            raise AssertionError("it does not authorize")
        visitor = await shop.visitor()
        await visitor.subscribe(ignore, "com.shop.news.today")
        await check_error(visitor.publish("com.shop.news.today", options=ACKNOWLEDGE), DENIED)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


TESTS = [
    publications_and_subscriptions,
    calls_and_registrations,
    patterns_and_options,
    what_may_be_cached,
    whom_callees_and_subscribers_learn_of,
    an_authorizer_that_calls_others,
    order_while_it_thinks,
    authorizers_that_raise,
    an_error_of_python,
    answers_that_are_none,
    answers_that_are_some,
    an_authorizer_of_three_arguments,
    without_an_authorizer,
    nobody_else_authorizes,
    what_it_learns_of_a_session,
]


async def with_shop(test, transport, serializer):
    shop = Shop(transport, serializer)
    try:
        await spread_out(test, shop)
    finally:
        await shop.close()


async def main():
    report = Report()
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    cells = [(test, transport, serializer)
             for transport in TRANSPORTS for serializer in SERIALIZERS for test in TESTS]
    cells += [(as_a_program, transport, "cbor") for transport in TRANSPORTS]
    for test, *cell in cells:
        name = f"{'/'.join(cell)}: {test.__name__}"
        if only in name:
            await report.run(name, with_shop(test, *cell))
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
