"""One grant and one denial of each action, on a realm whose clients may do very little.

The rules are those that run.sh writes for the realm `restricted`; the other realms allow everything.
"""

from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions

from check import check, check_error, check_true
from pubsub import inbox

RESTRICTED_REALM = "restricted"
DENIED = "wamp.error.not_authorized"
ACKNOWLEDGE = PublishOptions(acknowledge=True)


def ignore(*args, **kwargs):
    """Handles what must never come."""


async def publish_and_subscribe_with_permissions(cell):
    session, other = [await cell.join(realm=RESTRICTED_REALM) for _ in range(2)]
    topic = f"org.open.{cell.uri('news')}"
    _, events = await inbox(session, topic)
    await other.publish(topic, "granted", options=ACKNOWLEDGE)
    check((await events.get())[0], ["granted"])
    error = await check_error(other.publish("org.shut", 1, options=ACKNOWLEDGE), DENIED)
    check(error.args[0], 'the role "anonymous" may not publish to "org.shut"')
    await check_error(session.subscribe(ignore, "org.shut"), DENIED)
    prefix = SubscribeOptions(match="prefix")
    await session.subscribe(ignore, "org.open.", options=prefix)
    await check_error(session.subscribe(ignore, "org", options=prefix), DENIED)


async def call_and_register_with_permissions(cell):
    callee, caller = [await cell.join(realm=RESTRICTED_REALM) for _ in range(2)]
    procedure = f"org.open.{cell.uri('add')}"
    await callee.register(lambda a, b: a + b, procedure)
    check(await caller.call(procedure, 2, 3), 5)
    await check_error(caller.call("org.shut"), DENIED)
    await check_error(callee.register(ignore, "org.shut"), DENIED)
    prefix = RegisterOptions(match="prefix")
    await check_error(callee.register(ignore, "org", options=prefix), DENIED)
    check_true(await caller.call("wamp.session.count") >= 2, "a meta procedure that is granted")
    await check_error(caller.call("wamp.session.list"), DENIED)


TESTS = [publish_and_subscribe_with_permissions, call_and_register_with_permissions]
