"""Hears the events of a topic, none twice and none left out, and publishes some itself.

    pip install autobahn                 # with Twisted: autobahn[twisted]
    python3 example.py [asyncio|twisted] [URL] [NAME] [json|msgpack|cbor]

NAME: publishes [NAME, 1], [NAME, 2] and so on, one each second.
"""

import asyncio
import sys
from itertools import count

import txaio

arguments = dict(enumerate(sys.argv))
framework = arguments.get(1, "asyncio")
if framework == "twisted":
    txaio.use_twisted()
    from autobahn.twisted.component import Component
else:
    txaio.use_asyncio()
    from autobahn.asyncio.component import Component

from autobahn.wamp.types import PublishOptions  # noqa: E402
from catch_up import CatchUp, stay_joined  # noqa: E402

TOPIC = "com.example.numbers"
EVERY_S = 1
numbers = count(1)


def say(*words):
    print(*words, flush=True)


def complain(text):
    print(text, file=sys.stderr, flush=True)


def make_component():
    transport = {
        "type": "websocket",
        "url": arguments.get(2, "ws://127.0.0.1:8080/ws"),
        "serializers": [arguments.get(4, "cbor")],
        "max_retries": 0,
        # Without them a connection that dies without a word is noticed late.
        "options": {"auto_ping_interval": 10, "auto_ping_timeout": 10},
    }
    return Component(transports=[transport], realm="realm1")


catch_up = CatchUp(
    TOPIC,
    on_event=lambda event: say("heard", *event.args),
    on_gap=lambda reason: say("gap", reason),
    on_error=complain,
)


async def joined(session):
    await catch_up.join(session)
    while 3 in arguments and session.is_attached():
        await txaio.sleep(EVERY_S)
        await publish(session, arguments[3], next(numbers))


async def publish(session, name, number):
    # Without `exclude_me` the own events come as all others do, and the history holds no event that
    # would be taken for one that was missed.
    options = PublishOptions(acknowledge=True, exclude_me=False)
    try:
        await session.publish(TOPIC, name, number, options=options)
        say("published", name, number)
    except Exception as error:
        complain(f"not acknowledged: {name} {number}: {error}")


async def main(loop):
    await stay_joined(make_component, loop, joined, complain)


async def main_of_asyncio():
    await main(asyncio.get_running_loop())


if framework == "twisted":
    from twisted.internet.defer import ensureDeferred
    from twisted.internet.task import react

    react(lambda reactor: ensureDeferred(main(reactor)))
else:
    asyncio.run(main_of_asyncio())
