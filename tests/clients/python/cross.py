"""Every client with every other: equal values must arrive, whichever way they went.

The peers are sessions of all three libraries over all their transports and serializers; the
JavaScript ones live in js/peers.mjs. Each offers the same procedures, which this driver calls. With
several nodes there is a peer of each kind at each of them: events are for all, and whoever calls has
callees at other nodes.
"""

import asyncio
import os
import sys

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallResult

from check import Report, check, describe
from connect import SERIALIZERS, TRANSPORTS, join
from nodes import PORTS, around, check_is_at, named
from samples import ALL_BYTES, BINARY, SHARED

FAULT = "org.cross.fault"
PEERS_JS = os.path.join(os.path.dirname(__file__), "..", "js", "peers.mjs")
EXPECTED = describe([SHARED, BINARY, ALL_BYTES])
START_TIMEOUT_S = 30
HEARD_TIMEOUT_S = 10


class Peer:
    """One autobahn-python session that publishes, receives, calls and answers on demand."""

    def __init__(self, name, session):
        self.name = name
        self.session = session

    @classmethod
    async def join(cls, transport, serializer, node):
        session = await join(transport, serializer, port=PORTS[node])
        await check_is_at(node, session.id)
        peer = cls(named(f"python.{transport}.{serializer}", node), session)
        await peer.session.subscribe(peer.on_values, "org.cross.values")
        for procedure in (peer.echo, peer.fail, peer.publish, peer.call, peer.call_failing):
            await peer.session.register(procedure, f"org.cross.{peer.name}.{procedure.__name__}")
        return peer

    def on_values(self, *args, sender):
        self.session.publish("org.cross.heard", self.name, sender, describe(list(args)))

    def echo(self, *args):
        return CallResult(*args)

    def fail(self, *args):
        raise ApplicationError(FAULT, *args)

    def publish(self):
        self.session.publish("org.cross.values", SHARED, BINARY, ALL_BYTES, sender=self.name)

    async def call(self, target):
        result = await self.session.call(f"org.cross.{target}.echo", SHARED, BINARY, ALL_BYTES)
        return describe(list(result.results))

    async def call_failing(self, target):
        try:
            await self.session.call(f"org.cross.{target}.fail", SHARED, BINARY, ALL_BYTES)
        except ApplicationError as error:
            return f"{error.error} {describe(list(error.args))}"


async def start_javascript():
    """Starts the JavaScript peers; returns the process and their names, by kind and node."""
    command = ["node", PEERS_JS]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
    word, *names = line.decode().split()
    check(word, "ready", "first line of the JavaScript peers")
    count = len(PORTS)
    return process, [names[start : start + count] for start in range(0, len(names), count)]


async def published(driver, heard, sender, names):
    """What one peer publishes reaches all the others, once and unchanged."""
    await driver.call(f"org.cross.{sender}.publish")
    missing = set(names) - {sender}
    while missing:
        try:
            event = await asyncio.wait_for(heard.get(), HEARD_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"not heard by {sorted(missing)}") from None
        receiver, origin, description = event
        check(origin, sender, f"sender told by {receiver}")
        check(description, EXPECTED, f"what {receiver} received")
        missing.remove(receiver)
    check(heard.qsize(), 0, "events delivered twice")


async def called(driver, caller, names):
    for target in names:
        description = await driver.call(f"org.cross.{caller}.call", target)
        check(description, EXPECTED, f"result from {target}")
        description = await driver.call(f"org.cross.{caller}.call_failing", target)
        check(description, f"{FAULT} {EXPECTED}", f"error from {target}")


async def main():
    report = Report()
    process, kinds = await start_javascript()
    try:
        for transport in TRANSPORTS:
            for serializer in SERIALIZERS:
                peers = [await Peer.join(transport, serializer, node) for node in range(len(PORTS))]
                kinds.append([peer.name for peer in peers])
        names = [name for kind in kinds for name in kind]
        driver, heard = await join("rawsocket", "msgpack"), asyncio.Queue()
        await driver.subscribe(lambda *event: heard.put_nowait(event), "org.cross.heard")
        for number in range(len(kinds)):
            name, _ = around(kinds, number)
            await report.run(f"published by {name}", published(driver, heard, name, names))
        for number in range(len(kinds)):
            name, others = around(kinds, number)
            await report.run(f"called by {name}", called(driver, name, others))
        print(f"{len(names)} peers: {' '.join(names)}")
    finally:
        process.kill()
        await process.wait()
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
