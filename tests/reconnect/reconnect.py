"""Runs the examples of examples/reconnect behind proxies that cut their connections.

Publishers number what they publish, the examples say what they hear and where something is missing,
and publish themselves. At the end each has heard every number once and in order, or has told a gap
where numbers are missing, and nowhere else.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from check import Report, check, check_true
from connect import open_session
from proxy import Mode, Proxy

from autobahn.wamp.types import PublishOptions

BIN = os.environ["STENTOR_BIN"]
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "reconnect"
TOPIC = "com.example.numbers"
EVENTS = 2_000  # in the history
MORE = f"""
[[realm.role.permission]]
uri = "com.example"
match = "prefix"
allow = ["subscribe"]
[[realm.role.permission]]
uri = "wamp.session.kill_all"
allow = ["call"]
[[realm.history]]
topic = "com.example"
match = "prefix"
events = {EVENTS}
"""
PATIENCE_S = 45
MOST_S = 180
CUTS, CUTS_IN_PAGE, PAGES = 6, 2, 8  # of each client at least
NODE, PYTHON = "node", sys.executable
# The same once more, but subscribed to a prefix instead of the topic.
BY_PATTERN = "by-pattern"
PATTERNS = {
    "autobahn-js/example.mjs": ("  topic: TOPIC,", "  topic: 'com.example', match: 'prefix',"),
    "autobahn-python/example.py": ("    TOPIC,\n", "    'com.example', match='prefix',\n"),
    "wampy/example.mjs": ("  topic: TOPIC,", "  topic: 'com.example', match: 'prefix',"),
}
# Name, command with the place of the URL and the name, and whether it hears what it publishes.
CLIENTS = [
    ("js-json", (NODE, "autobahn-js/example.mjs", "{url}", "{name}", "JSON"), True),
    ("js-cbor", (NODE, "by-pattern/autobahn-js/example.mjs", "{url}", "{name}", "CBOR"), True),
    ("asyncio", (PYTHON, "autobahn-python/example.py", "asyncio", "{url}", "{name}"), True),
    (
        "twisted",
        (PYTHON, "by-pattern/autobahn-python/example.py", "twisted", "{url}", "{name}", "json"),
        True,
    ),
    ("wampy-json", (NODE, "wampy/example.mjs", "{url}", "{name}", "Json"), False),
    ("wampy-msgpack", (NODE, "by-pattern/wampy/example.mjs", "{url}", "{name}", "Msgpack"), False),
]


async def until(condition, what):
    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    check_true(False, f"{what} within {PATIENCE_S} s")


class Router:
    """With the configuration of the examples, but another port, a history of the prefix besides,
    and leave to subscribe to it and to end sessions.
    """

    def __init__(self, folder):
        self.config, self.log = folder / "stentor.toml", folder / "router.log"
        self.port = free_port()
        text = (EXAMPLES / "stentor.toml").read_text()
        for old, new in ((":8080", f":{self.port}"), ("events = 1000", f"events = {EVENTS}")):
            check(text.count(old), 1, f"occurrences of {old}")
            text = text.replace(old, new)
        text += MORE
        self.config.write_text(text)

    async def start(self):
        with self.log.open("ab") as log:
            command = (BIN, "--config", str(self.config))
            self.process = await asyncio.create_subprocess_exec(*command, stderr=log)
        for _ in range(PATIENCE_S * 20):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                return writer.close()
            except OSError:
                check_true(self.process.returncode is None, self.log.read_text())
                await asyncio.sleep(0.05)

    def answer_by_list(self):
        text, realm = self.config.read_text(), 'name = "realm1"\n'
        self.config.write_text(text.replace(realm, f'{realm}history_answer = "list"\n'))

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        check(await asyncio.wait_for(self.process.wait(), 20), 0, "exit code")


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def copy_examples(folder):
    for copy in (folder, folder / BY_PATTERN):
        shutil.copytree(EXAMPLES, copy, dirs_exist_ok=True)
    for name, (topic, pattern) in PATTERNS.items():
        example = folder / BY_PATTERN / name
        text = example.read_text()
        check(text.count(topic), 1, f"occurrences of {topic} in {name}")
        example.write_text(text.replace(topic, pattern))


class Publishers:
    """Two sessions on the router itself, which nobody cuts."""

    def __init__(self, port):
        self.port = port
        self.last = {"left": 0, "right": 0}

    async def join(self):
        self.sessions = {}
        for name in self.last:
            self.sessions[name] = await open_session("rawsocket", "cbor", port=self.port)
            await self.sessions[name].joined

    async def publish(self, count):
        """So many events of each, as fast as they can."""
        for _ in range(count):
            for name, session in self.sessions.items():
                self.last[name] += 1
                session.publish(TOPIC, name, self.last[name])
        options = PublishOptions(acknowledge=True)
        for name, session in self.sessions.items():
            self.last[name] += 1
            await session.publish(TOPIC, name, self.last[name], options=options)

    async def trickle(self):
        while True:
            await self.publish(1)
            await asyncio.sleep(0.05)


class Client:
    """An example that runs as it stands, and what it has said."""

    def __init__(self, name, command, hears_itself, proxy):
        self.name, self.command, self.hears_itself = name, command, hears_itself
        self.proxy = proxy
        self.said = []
        self.published = set()
        self.heard = {}
        self.gaps = 0

    async def start(self, folder):
        await self.proxy.start()
        url = f"ws://127.0.0.1:{self.proxy.port}/ws"
        command = [part.format(url=url, name=self.name) for part in self.command]
        self.errors = folder / f"{self.name}.err"
        with self.errors.open("wb") as errors:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, stdout=pipe, stderr=errors
            )
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        async for line in self.process.stdout:
            kind, *rest = line.decode().split()
            if kind == "published":
                self.published.add(int(rest[1]))
            elif kind == "heard":
                self.said.append((rest[0], int(rest[1])))
                self.heard[rest[0]] = int(rest[1])
            elif kind == "gap":
                self.said.append(None)
                self.gaps += 1

    async def leave(self):
        """Those in JavaScript say GOODBYE, those in Python end as any program does."""
        self.process.terminate()
        code = await self.process.wait()
        if self.command[0] == NODE:
            check(code, 0, "exit code")

    async def stop(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.reading
        self.proxy.stop()

    def judge(self, existing):
        """`existing`: the numbers of each name that were published for sure."""
        places, last, explained = {}, {}, set()
        for place, event in enumerate(self.said):
            if event is None:
                continue
            name, number = event
            before = last.get(name)
            if before is not None:
                check_true(number > before, f"{name} {number} behind {before}")
                missing = [n for n in range(before + 1, number) if n in existing.get(name, ())]
                gaps = [p for p in range(places[name], place) if self.said[p] is None]
                if missing and (name != self.name or self.hears_itself):
                    check_true(gaps, f"no gap told for {name} {missing[:9]}, {len(missing)} in all")
                    explained.update(gaps)
            places[name], last[name] = place, number
        told = [place for place, event in enumerate(self.said) if event is None]
        check(sorted(explained), told, "places where a gap is told and something is missing")
        check_true(len(told) >= 2, f"both gaps are told: {len(told)}")

    def judge_own(self):
        own = [event[1] for event in self.said if event and event[0] == self.name]
        check_true(self.published, "it has published")
        acknowledged = self.published.intersection(own)
        if not self.hears_itself:
            check(acknowledged, set(), "own publications that were taken for missed ones")

    def judge_proxy(self):
        for name, least in (("cuts", CUTS), ("cuts_in_page", CUTS_IN_PAGE), ("pages", PAGES)):
            count = getattr(self.proxy, name)
            check_true(count >= least, f"{name}: {count} of {least}")


class Course:
    """What happens to all of them, one after the other."""

    def __init__(self, router, publishers, clients):
        self.router, self.publishers, self.clients = router, publishers, clients

    def enter(self, mode):
        for client in self.clients:
            client.proxy.enter(mode)

    async def all(self, condition, what):
        try:
            await until(lambda: all(map(condition, self.clients)), f"all {what}")
        except AssertionError:
            late = [(c.name, c.heard) for c in self.clients if not condition(c)]
            print(f"late: {late}; last: {self.publishers.last}")
            raise

    async def heard_all(self):
        last = dict(self.publishers.last)

        def has_heard(client):
            return all(client.heard.get(name, 0) >= number for name, number in last.items())

        await self.all(has_heard, "hear the last numbers")

    async def run(self):
        await self.all(lambda client: client.published, "join and publish")
        trickle = asyncio.create_task(self.publishers.trickle())
        await self.cut_often()
        trickle.cancel()
        await self.miss_much()
        await self.overflow()
        await self.say_goodbye()
        await self.restart()
        await self.publishers.publish(10)
        await self.heard_all()

    async def cut_often(self):
        self.enter(Mode.CUTTING)
        await self.all(
            lambda client: client.proxy.cuts >= CUTS
            and client.proxy.cuts_in_page >= CUTS_IN_PAGE,
            "are cut often",
        )
        self.enter(Mode.CLOSED)
        await self.publishers.publish(EVENTS // 4)  # Of each: more than a page.
        self.enter(Mode.CUTTING)
        await asyncio.sleep(1.5)
        self.enter(Mode.CALM)
        await self.heard_all()

    async def miss_much(self):
        """More than the history holds."""
        self.enter(Mode.CLOSED)
        gaps = {client: client.gaps for client in self.clients}
        await self.publishers.publish(EVENTS * 2 // 3)
        self.enter(Mode.CALM)
        await self.all(lambda client: client.gaps > gaps[client], "tell a gap")
        await self.heard_all()

    async def overflow(self):
        """More comes live while a history is asked than a client holds."""
        self.enter(Mode.GATE)
        await self.all(lambda client: client.proxy.waiting, "ask")
        await self.publishers.publish(700)
        for client in self.clients:
            client.proxy.enter(Mode.CALM)
        await self.heard_all()

    async def say_goodbye(self):
        """To everybody but the caller; what comes next is missed."""
        for _ in range(2):
            await self.publishers.sessions["left"].call("wamp.session.kill_all")
            await self.publishers.join()
            await self.publishers.publish(30)
            await self.heard_all()

    async def restart(self):
        """The history begins anew, and nobody has heard the end of the old one. The answers have
        the other form that there is.
        """
        self.enter(Mode.CLOSED)
        await self.publishers.publish(20)
        await self.router.stop()
        self.router.answer_by_list()
        await self.router.start()
        await self.publishers.join()
        await self.publishers.publish(10)
        self.enter(Mode.CALM)
        await self.heard_all()


async def main():
    print(f"SEED={SEED}", flush=True)
    # What it has started ends with it.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_examples(folder)
        (folder / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
        await report.run("bounds of the recipes", bounds(folder), PATIENCE_S)
        router = Router(folder)
        clients = [
            Client(*client, Proxy(router.port, random.Random(f"{SEED} {client[0]}")))
            for client in CLIENTS
        ]
        publishers = Publishers(router.port)
        try:
            await router.start()
            await publishers.join()
            for client in clients:
                await client.start(folder)
            course = Course(router, publishers, clients)
            await report.run("the course of events", course.run(), MOST_S)
            await tell(report, publishers, clients)
        finally:
            for client in clients:
                await client.stop()
            await router.stop()
    return report.close()


async def bounds(folder):
    """What no course of events can be relied on to reach."""
    for program in ((NODE, "bounds.mjs"), (PYTHON, "bounds.py")):
        shutil.copy(Path(__file__).with_name(program[1]), folder)
        process = await asyncio.create_subprocess_exec(
            *program, cwd=folder, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        check_true(process.returncode == 0, f"{program[1]} fails:\n{output.decode()}")


async def tell(report, publishers, clients):
    existing = {name: set(range(1, last + 1)) for name, last in publishers.last.items()}
    existing.update({client.name: client.published for client in clients})
    for client in clients:
        failed = report.failed
        for what, judge in (
            ("each event once, in order, or a gap told", lambda c: c.judge(existing)),
            ("its own publications", Client.judge_own),
            ("cuts and pages", Client.judge_proxy),
        ):
            await report.run(f"{client.name}: {what}", as_test(judge, client))
        await report.run(f"{client.name}: leaves", client.leave())
        proxy = client.proxy
        print(
            f"{client.name}: {len(client.said)} events and gaps, {client.gaps} gaps, "
            f"{proxy.cuts} cuts, {proxy.cuts_in_page} amid a page, {proxy.pages} pages"
        )
        if report.failed > failed:
            print(client.errors.read_text()[-6000:])


async def as_test(judge, client):
    judge(client)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
