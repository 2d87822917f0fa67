"""Restarts routers under load and counts what their clients have lost: it must be nothing.

Publishers publish numbers to a durable topic and wait for each acknowledgement; callers call, and
callees note what they have answered. All of them reconnect by the means of their libraries:
autobahn-python here, wampy.js in traffic.mjs. At the end every acknowledged number must stand in a
history, and every call that was answered must have got its answer, and nobody may stand still.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from balancer import Balancer, is_healthy
from check import Report, check, check_true

import txaio

txaio.use_asyncio()
txaio.start_logging(level="critical")

from autobahn.asyncio.component import Component  # noqa: E402
from autobahn.wamp.exception import ApplicationError, TransportLost  # noqa: E402
from autobahn.wamp.types import PublishOptions, RegisterOptions  # noqa: E402

from connect import open_session  # noqa: E402

BIN = os.environ["STENTOR_BIN"]
TRAFFIC_JS = Path(__file__).with_name("traffic.mjs")
TOPIC = "com.example.number"
PROCEDURE = "com.example.answer"
LOAD_S = 2
# Clients come back after a drain, the pause of their libraries, and another attempt.
RETURN_TIMEOUT_S = 15
PUBLISHERS, CALLERS, CALLEES = 3, 4, 4

CONFIG = """
[[listener]]
listen = "127.0.0.1:{port}"
health = "/healthz"
[timeouts]
drain_ms = 2000
drain_delay_ms = {delay}
[storage]
path = "{store}"
[[realm]]
name = "realm1"
history_answer = "list"
[[realm.authenticator]]
method = "anonymous"
[[realm.history]]
topic = "com.example.number"
events = 100000
store = "durable"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
"""


class Router:
    def __init__(self, folder, name, delay_ms):
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self.port = free_port()
        text = CONFIG.format(port=self.port, delay=delay_ms, store=folder / f"{name}.store")
        self.config.write_text(text)
        self.process = None

    async def start(self):
        with self.log.open("ab") as log:
            command = (BIN, "--config", str(self.config))
            self.process = await asyncio.create_subprocess_exec(*command, stderr=log)
        while not await is_healthy(self.port):
            check_true(self.process.returncode is None, "the router runs")
            await asyncio.sleep(0.02)

    async def stop(self):
        """Drains; the process must end well."""
        self.process.send_signal(signal.SIGTERM)
        check(await asyncio.wait_for(self.process.wait(), 20), 0, "exit code")

    def kill(self):
        if self.process and self.process.returncode is None:
            self.process.kill()


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Traffic:
    """Clients of autobahn-python on one port, and what they know to be done."""

    def __init__(self, port):
        self.port = port
        self.acknowledged = set()
        self.answered = set()
        self.results = set()
        self.number = 0
        self.running = True
        self.tasks = []

    def start(self):
        for _ in range(CALLEES):
            self.component(self.serve)
        for _ in range(PUBLISHERS):
            self.component(self.publish)
        for _ in range(CALLERS):
            self.component(self.call)

    def component(self, main):
        """A client that joins again, whatever ends its session, and goes on."""
        transport = {
            "type": "websocket",
            "url": f"ws://127.0.0.1:{self.port}/ws",
            "serializers": ["cbor"],
            "max_retries": -1,
            "initial_retry_delay": 0.1,
            "max_retry_delay": 0.5,
        }
        component = Component(transports=[transport], realm="realm1")

        @component.on_join
        async def joined(session, _details):
            await main(session)

        self.tasks.append(asyncio.ensure_future(self.keep(component)))

    async def keep(self, component):
        """A component ends when its session was told to leave: that is no end here."""
        while self.running:
            try:
                await component.start(loop=asyncio.get_running_loop())
            except Exception:
                pass  # It is refused, or cut off.
            await asyncio.sleep(0.1)

    def next_number(self):
        self.number += 1
        return self.number

    async def publish(self, session):
        number = self.next_number()
        while self.running and session.is_attached():
            try:
                options = PublishOptions(acknowledge=True)
                await session.publish(TOPIC, f"py-{number}", options=options)
            except (ApplicationError, TransportLost):
                return  # Nobody knows, so the next number is another one.
            self.acknowledged.add(f"py-{number}")
            number = self.next_number()
            await asyncio.sleep(0.02)

    async def call(self, session):
        while self.running and session.is_attached():
            name = f"py-{self.next_number()}"
            try:
                result = await session.call(PROCEDURE, name)
                check(result, name, "result")
                self.results.add(name)
            except ApplicationError as error:
                if error.error == ApplicationError.NO_SUCH_PROCEDURE:
                    # All callees may be behind the other router: come again, perhaps there.
                    session.leave()
                    return
            except TransportLost:
                pass
            await asyncio.sleep(0.03)

    async def serve(self, session):
        async def answer(name):
            await asyncio.sleep(0.05)
            # Whoever calls when the traffic ends does not wait for the answer.
            if self.running:
                self.answered.add(name)
            return name

        await session.register(answer, PROCEDURE, options=RegisterOptions(invoke="roundrobin"))

    def progress(self):
        return len(self.acknowledged), len(self.results)

    async def stop(self):
        self.running = False
        await asyncio.sleep(0.5)
        for task in self.tasks:
            task.cancel()


class Wampy:
    """The same with wampy.js, but no callees."""

    def __init__(self, port):
        self.port = port
        self.acknowledged, self.results = set(), set()

    async def start(self):
        pipe = asyncio.subprocess.PIPE
        command = ("node", str(TRAFFIC_JS), str(self.port), TOPIC, PROCEDURE)
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        async for line in self.process.stdout:
            kind, name = json.loads(line)
            {"acknowledged": self.acknowledged, "result": self.results}[kind].add(name)

    def progress(self):
        return len(self.acknowledged), len(self.results)

    async def stop(self):
        self.process.stdin.close()
        await asyncio.wait_for(self.reading, 10)
        check(await self.process.wait(), 0, "exit code of traffic.mjs")

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()


async def history(port):
    """All numbers in the history of a router."""
    session = await open_session("websocket", "cbor", port=port)
    await session.joined
    subscription = await session.subscribe(lambda *_: None, TOPIC)
    numbers, after = set(), {}
    while True:
        answer = await session.call("wamp.subscription.get_events", subscription.id, **after)
        events = answer.results[0] if hasattr(answer, "results") else answer
        if not events:
            await session.goodbye()
            return numbers
        numbers.update(event["args"][0] for event in events)
        after = {"after_publication": events[-1]["publication"]}


async def goes_on(*clients):
    """Everybody publishes and calls again."""
    before = [client.progress() for client in clients]

    def has_gone_on():
        pairs = zip((client.progress() for client in clients), before)
        return all(now > then + 3 for after, was in pairs for now, then in zip(after, was))

    for _ in range(RETURN_TIMEOUT_S * 20):
        if has_gone_on():
            return
        await asyncio.sleep(0.05)
    after = [client.progress() for client in clients]
    check_true(False, f"somebody stands still: {before}, then {after}")


async def under_load(port, routers, restart):
    """Runs traffic on a port while `restart` does its work, and looks what is lost."""
    python, wampy = Traffic(port), Wampy(port)
    python.start()
    await wampy.start()
    try:
        await goes_on(python, wampy)
        await restart(lambda: goes_on(python, wampy))
        await python.stop()
        await wampy.stop()
    finally:
        wampy.kill()
    kept = set()
    for router in routers:
        kept |= await history(router.port)
    acknowledged = python.acknowledged | wampy.acknowledged
    lost = acknowledged - kept
    check_true(not lost, f"{len(lost)} of {len(acknowledged)} publications lost: {sorted(lost)[:5]}")
    results = python.results | wampy.results
    unheard = python.answered - results
    check_true(not unheard, f"{len(unheard)} answered calls lost: {sorted(unheard)[:5]}")
    print(f"{len(acknowledged)} publications acknowledged, {len(results)} calls answered")


async def one_router(folder):
    router = Router(folder, "one", 0)
    try:
        await router.start()

        async def restart(go_on):
            for _ in range(2):
                await router.stop()
                await router.start()
                await go_on()

        await under_load(router.port, [router], restart)
        await router.stop()
    finally:
        router.kill()


async def two_routers(folder):
    routers = [Router(folder, name, 400) for name in ("left", "right")]
    balancer = Balancer([router.port for router in routers])
    try:
        for router in routers:
            await router.start()
        await balancer.start()

        async def restart(go_on):
            for router in routers:
                await router.stop()
                await go_on()
                await router.start()
                await asyncio.sleep(LOAD_S / 2)
                await go_on()

        await under_load(balancer.port, routers, restart)
        balancer.stop()
        for router in routers:
            await router.stop()
    finally:
        for router in routers:
            router.kill()


async def main():
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await report.run("a restart under load", one_router(folder), 80)
        await report.run("a rolling restart behind a balancer", two_routers(folder), 80)
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
