"""Publish and subscribe as an autobahn-python application sees it; each test takes a `Cell`."""

import asyncio

from autobahn.wamp.protocol import Subscription
from autobahn.wamp.types import PublishOptions, SubscribeOptions

from check import check, check_error, check_true
from connect import DISCLOSING_REALM
from samples import ALL_BYTES, BINARY, SHARED, WIDE

ACKNOWLEDGE = PublishOptions(acknowledge=True)
LARGE_CHARACTERS = 700_000
LARGE_BYTES = 500_000


async def inbox(session, topic):
    """Subscribes; returns the subscription and a queue of `(args, kwargs, details)`."""
    queue = asyncio.Queue()

    def on_event(*args, details, **kwargs):
        queue.put_nowait((list(args), kwargs, details))

    subscription = await session.subscribe(on_event, topic, SubscribeOptions(details=True))
    return subscription, queue


async def acknowledged_publish(cell):
    topic = cell.uri("acknowledged")
    subscriber, publisher = await cell.join(), await cell.join()
    _, events = await inbox(subscriber, topic)
    publication = await publisher.publish(topic, 1, "two", three=3, options=ACKNOWLEDGE)
    args, kwargs, details = await events.get()
    check(args, [1, "two"])
    check(kwargs, {"three": 3})
    check(details.publication, publication.id, "publication id")
    check_true(1 <= publication.id <= 2**53, "publication id in range")


async def plain_publish(cell):
    topic = cell.uri("plain")
    subscriber, publisher = await cell.join(), await cell.join()
    _, events = await inbox(subscriber, topic)
    check(publisher.publish(topic, "quiet"), None, "answer")
    args, kwargs, _ = await events.get()
    check(args, ["quiet"])
    check(kwargs, {})


async def publish_without_payload(cell):
    topic = cell.uri("bare")
    subscriber, publisher = await cell.join(), await cell.join()
    _, events = await inbox(subscriber, topic)
    publisher.publish(topic)
    publisher.publish(topic, only="keywords")
    check((await events.get())[:2], ([], {}))
    check((await events.get())[:2], ([], {"only": "keywords"}))


async def publish_to_nobody(cell):
    publisher = await cell.join()
    publication = await publisher.publish(cell.uri("nobody"), options=ACKNOWLEDGE)
    check_true(publication.id > 0, "publication id")


async def no_event_after_unsubscribe(cell):
    topic, after = cell.uri("left"), cell.uri("after")
    subscriber, publisher = await cell.join(), await cell.join()
    subscription, events = await inbox(subscriber, topic)
    _, markers = await inbox(subscriber, after)
    await publisher.publish(topic, 1, options=ACKNOWLEDGE)
    await events.get()
    await subscription.unsubscribe()
    await publisher.publish(topic, 2, options=ACKNOWLEDGE)
    await publisher.publish(after, options=ACKNOWLEDGE)
    await markers.get()
    check(events.qsize(), 0, "events after UNSUBSCRIBED")


async def unsubscribe_under_fire(cell):
    """autobahn closes the connection at an EVENT that follows UNSUBSCRIBED."""
    topic, after = cell.uri("fire"), cell.uri("ceasefire")
    subscriber, publisher = await cell.join(), await cell.join()
    _, markers = await inbox(subscriber, after)
    for _ in range(10):
        subscription, events = await inbox(subscriber, topic)
        for number in range(100):
            publisher.publish(topic, number)
        await events.get()
        await subscription.unsubscribe()
    publisher.publish(after)
    await markers.get()


async def unknown_subscription(cell):
    session = await cell.join()
    ghost = Subscription(987654321, "", session, None)
    session._subscriptions[ghost.id] = [ghost]
    await check_error(session._unsubscribe(ghost), "wamp.error.no_such_subscription")


async def publisher_is_excluded(cell):
    topic = cell.uri("own")
    publisher, other = await cell.join(), await cell.join()
    _, own = await inbox(publisher, topic)
    _, others = await inbox(other, topic)
    await publisher.publish(topic, "mine", options=ACKNOWLEDGE)
    await other.publish(topic, "theirs", options=ACKNOWLEDGE)
    check((await own.get())[0], ["theirs"])
    check((await others.get())[0], ["mine"])
    check(own.qsize() + others.qsize(), 0, "further events")


async def publisher_included_on_demand(cell):
    topic = cell.uri("mine.too")
    publisher, other = await cell.join(), await cell.join()
    _, own = await inbox(publisher, topic)
    _, others = await inbox(other, topic)
    publisher.publish(topic, "all", options=PublishOptions(exclude_me=False))
    check((await own.get())[0], ["all"])
    check((await others.get())[0], ["all"])


async def publisher_disclosed_by_the_realm(cell):
    topic = cell.uri("disclosed")
    subscriber, publisher = [await cell.join(realm=DISCLOSING_REALM) for _ in range(2)]
    _, events = await inbox(subscriber, topic)
    publisher.publish(topic)
    _, _, details = await events.get()
    check(identity(details, "publisher"), own_identity(publisher), "publisher")


def identity(details, role):
    return tuple(getattr(details, key) for key in (role, f"{role}_authid", f"{role}_authrole"))


def own_identity(session):
    return (session.details.session, session.details.authid, session.details.authrole)


async def pattern_subscriptions(cell):
    """Each matching subscription gets the event once, with the topic that it was published to."""
    base = cell.uri("pattern")
    subscriber, publisher = await cell.join(), await cell.join()
    seen = asyncio.Queue()
    patterns = {"exact": f"{base}.a.b", "prefix": f"{base}.a", "wildcard": f"{base}..b"}
    for match, pattern in patterns.items():

        def on_event(number, details, match=match):
            seen.put_nowait((number, match, details.topic))

        await subscriber.subscribe(on_event, pattern, SubscribeOptions(match=match, details=True))
    for number, name in enumerate(["a.b", "a.c", "x.b", "x.c"]):
        await publisher.publish(f"{base}.{name}", number, options=ACKNOWLEDGE)
    expected = [
        (0, "exact", f"{base}.a.b"),
        (0, "prefix", f"{base}.a.b"),
        (0, "wildcard", f"{base}.a.b"),
        (1, "prefix", f"{base}.a.c"),
        (2, "wildcard", f"{base}.x.b"),
    ]
    check(sorted([await seen.get() for _ in expected]), expected)
    check(seen.qsize(), 0, "further events")


async def many_subscribers(cell):
    topic = cell.uri("many")
    publisher = await cell.join()
    boxes = [(await inbox(await cell.join(), topic)) for _ in range(5)]
    check(len({subscription.id for subscription, _ in boxes}), 1, "subscription ids")
    publication = await publisher.publish(topic, "all", options=ACKNOWLEDGE)
    for _, events in boxes:
        args, _, details = await events.get()
        check(args, ["all"])
        check(details.publication, publication.id, "publication id")


async def second_subscription_of_a_topic(cell):
    topic = cell.uri("twice")
    subscriber, publisher = await cell.join(), await cell.join()
    first, events = await inbox(subscriber, topic)
    second, events_again = await inbox(subscriber, topic)
    check(second.id, first.id, "subscription id")
    await publisher.publish(topic, 1, options=ACKNOWLEDGE)
    check((await events.get())[0], [1])
    check((await events_again.get())[0], [1])
    check(events.qsize(), 0, "events delivered twice")


async def order_across_topics(cell):
    topics = [cell.uri(f"order.{number}") for number in range(3)]
    subscriber, publisher = await cell.join(), await cell.join()
    seen = asyncio.Queue()
    for topic in topics:
        await subscriber.subscribe(seen.put_nowait, topic)
    for number in range(600):
        publisher.publish(topics[number % 3], number)
    check([await seen.get() for _ in range(600)], list(range(600)), "order")


async def reserved_topic(cell):
    publisher = await cell.join()
    answer = publisher.publish("wamp.session.on_join", options=ACKNOWLEDGE)
    await check_error(answer, "wamp.error.invalid_uri")
    publisher.publish("wamp.session.on_join")
    await publisher.publish(cell.uri("still.here"), options=ACKNOWLEDGE)


async def event_values(cell):
    topic = cell.uri("values")
    subscriber, publisher = await cell.join(), await cell.join()
    _, events = await inbox(subscriber, topic)
    await publisher.publish(topic, SHARED, WIDE, BINARY, b"", options=ACKNOWLEDGE, raw=ALL_BYTES)
    args, kwargs, _ = await events.get()
    check(args, [SHARED, WIDE, BINARY, b""])
    check(kwargs, {"raw": ALL_BYTES})


async def large_event(cell):
    topic = cell.uri("large")
    subscriber, publisher = await cell.join(), await cell.join()
    _, events = await inbox(subscriber, topic)
    text, data = "aä" * (LARGE_CHARACTERS // 3), b"\xfb" * LARGE_BYTES
    await publisher.publish(topic, text, options=ACKNOWLEDGE)
    await publisher.publish(topic, data, options=ACKNOWLEDGE)
    check((await events.get())[0], [text])
    check((await events.get())[0], [data])


TESTS = [
    acknowledged_publish,
    plain_publish,
    publish_without_payload,
    publish_to_nobody,
    no_event_after_unsubscribe,
    unsubscribe_under_fire,
    unknown_subscription,
    publisher_is_excluded,
    publisher_included_on_demand,
    publisher_disclosed_by_the_realm,
    pattern_subscriptions,
    many_subscribers,
    second_subscription_of_a_topic,
    order_across_topics,
    reserved_topic,
    event_values,
    large_event,
]
