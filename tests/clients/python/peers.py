"""The peers of features.py: sessions of all three libraries behind one interface.

The JavaScript ones live in a process of their own, js/remote.mjs, which does what it is told.
"""

import asyncio
import json
import os
from dataclasses import dataclass, replace

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import (
    CallOptions,
    CallResult,
    PublishOptions,
    RegisterOptions,
    SubscribeOptions,
)

from check import check, check_true
from connect import SERIALIZERS, TRANSPORTS, join
from nodes import PORTS, check_is_at, named

REMOTE_JS = os.path.join(os.path.dirname(__file__), "..", "js", "remote.mjs")
ANSWER_TIMEOUT_S = 10
GIVEN_UP = "given up"


@dataclass(frozen=True)
class Library:
    """What applications of a client library can do; README.md has the same table."""

    name: str
    cancel_modes: tuple  # None: no mode given, which means killnowait
    breaking_modes: tuple = ()  # the library takes the answer for a violation, and disconnects
    is_interrupted: bool = False  # as a callee whose caller has canceled
    sends_chunks: bool = False  # where the test announces it
    asks_disclosure: bool = True  # disclose_me
    demands_disclosure: bool = False  # disclose_caller
    tells_publication: bool = True
    fills_uris_in: bool = True  # an exact topic or procedure, which the router leaves out


AUTOBAHN_JS = Library(
    "autobahn-js",
    cancel_modes=("kill",),
    breaking_modes=("skip", "killnowait", None),
    demands_disclosure=True,
)
LIBRARIES = {
    "python": Library(
        "autobahn-python",
        cancel_modes=(None,),
        is_interrupted=True,
        asks_disclosure=False,
    ),
    "autobahn": AUTOBAHN_JS,
    "autobahn_22": replace(AUTOBAHN_JS, name="autobahn-js 22"),
    "wampy": Library(
        "wampy.js",
        cancel_modes=("skip", "kill", "killnowait", None),
        sends_chunks=True,
        tells_publication=False,
        fills_uris_in=False,
    ),
}


class Peer:
    """One session; `reports` holds what came to it unasked. Those of one kind have one number."""

    number = None

    def __init__(self, name, node):
        self.name = name
        self.node = node
        self.library = LIBRARIES[name.split(".")[0]]
        self.reports = asyncio.Queue()

    def uri(self, endpoint):
        """Of this session: another one of the same peer offers others."""
        return f"org.features.{self.name}.{self.identity['id']}.{endpoint}"

    def told_uri(self, uri, match):
        """What the application is told of the URI, which the router sends for patterns only."""
        return uri if match != "exact" or self.library.fills_uris_in else None

    async def report(self):
        try:
            return await asyncio.wait_for(self.reports.get(), ANSWER_TIMEOUT_S)
        except asyncio.TimeoutError:
            message = f"{self.name}: got no report in {ANSWER_TIMEOUT_S} s, expected one"
            raise AssertionError(message) from None

    def take_reports(self):
        return [self.reports.get_nowait() for _ in range(self.reports.qsize())]


class RemotePeer(Peer):
    """A JavaScript session."""

    def __init__(self, name, node, remote):
        super().__init__(name, node)
        self.remote = remote

    async def join(self):
        self.identity = await self.remote.do(self.name, "join")

    async def lost(self):
        await self.remote.do(self.name, "lost")

    async def subscribe(self, topic, match):
        await self.remote.do(self.name, "subscribe", topic, {"match": match})

    async def publish(self, topic, *args, **options):
        return await self.remote.do(self.name, "publish", topic, args, options)

    async def register(self, procedure, endpoint, **options):
        await self.remote.do(self.name, "register", procedure, endpoint, options)

    async def call(self, procedure, *args, **options):
        return await self.remote.do(self.name, "call", procedure, args, options)

    async def call_in_chunks(self, procedure):
        return await self.remote.do(self.name, "callInChunks", procedure)

    async def cancel(self, mode):
        await self.remote.do(self.name, "cancel", mode)

    async def release(self):
        await self.remote.do(self.name, "release")


class PythonPeer(Peer):
    """An autobahn-python session of this process."""

    def __init__(self, transport, serializer, node):
        super().__init__(named(f"python.{transport}.{serializer}", node), node)
        self.transport, self.serializer = transport, serializer
        self.waiting = []

    async def join(self):
        self.session = await join(self.transport, self.serializer, port=PORTS[self.node])
        welcome = self.session.details
        self.identity = {
            "id": welcome.session,
            "authid": welcome.authid,
            "authrole": welcome.authrole,
        }
        for endpoint in ("who", "count", "wait", "finish"):
            await self.register(self.uri(endpoint), endpoint)

    async def subscribe(self, topic, match):
        def on_event(*args, details):
            event = {"match": match, "args": list(args), "publication": details.publication}
            self.reports.put_nowait(event | described(details, "topic", "publisher"))

        await self.session.subscribe(on_event, topic, SubscribeOptions(match=match, details=True))

    async def publish(self, topic, *args):
        options = PublishOptions(acknowledge=True)
        return (await self.session.publish(topic, *args, options=options)).id

    async def register(self, procedure, endpoint, **options):
        options = RegisterOptions(details=True, **options)
        await self.session.register(getattr(self, endpoint), procedure, options)

    async def call(self, procedure, *args, progress=False, **options):
        partials = []

        def on_progress(*args, **kwargs):
            partials.append({"args": list(args), "kwargs": kwargs})

        options = CallOptions(on_progress=on_progress if progress else None, **options)
        self.current = self.session.call(procedure, *args, options=options)
        try:
            return {"partials": partials, "result": payload(await self.current)}
        except ApplicationError as error:
            return {"partials": partials, "error": error.error}
        except asyncio.CancelledError:
            while self.session._call_reqs:  # the router's answer ends it, unseen by applications
                await asyncio.sleep(0.001)
            return {"partials": partials, "error": GIVEN_UP}

    async def cancel(self, mode):
        check(mode, None, "mode")
        self.current.cancel()

    async def release(self):
        """Lets the invocations end that wait."""
        for waiting in self.waiting:
            if not waiting.done():
                waiting.set_result("released")
        self.waiting.clear()

    def who(self, *args, details):
        return CallResult(*args, name=self.name, **described(details, "procedure", "caller"))

    def count(self, limit, details):
        if details.progress:
            for number in range(1, limit + 1):
                details.progress(number, of=limit)
            details.progress()
        return CallResult("end", limit)

    def wait(self, details):
        """No coroutine: that would not run at all if INTERRUPT came with its INVOCATION."""
        waiting = asyncio.get_running_loop().create_future()
        waiting.add_done_callback(self.note_interrupt)
        self.waiting.append(waiting)
        self.reports.put_nowait("waiting")
        return waiting

    def note_interrupt(self, waiting):
        if waiting.cancelled():
            self.reports.put_nowait("interrupted")

    async def finish(self, details):
        """Answers in spite of an INTERRUPT."""
        try:
            await self.wait(details)
        except asyncio.CancelledError:
            return "finished"


def payload(result):
    if isinstance(result, CallResult):
        return {"args": list(result.results), "kwargs": result.kwresults}
    return {"args": [] if result is None else [result], "kwargs": {}}


def described(details, *keys):
    """What the details say, of a caller or publisher also who it is."""
    identity = [f"{keys[-1]}_{key}" for key in ("authid", "authrole")]
    return {key: getattr(details, key) for key in (*keys, *identity)}


class Remote:
    """The process of the JavaScript peers."""

    def __init__(self):
        self.answers = {}
        self.peers = {}
        self.number = 0

    async def start(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            "node", REMOTE_JS, stdin=pipe, stdout=pipe
        )
        line = await asyncio.wait_for(self.process.stdout.readline(), ANSWER_TIMEOUT_S)
        self.kinds = json.loads(line)[2]
        for kind in self.kinds:
            for node, name in enumerate(kind):
                self.peers[name] = RemotePeer(name, node, self)
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            number, *rest = json.loads(line)
            if number == 0:
                name, report = rest
                self.peers[name].reports.put_nowait(report)
            else:
                self.answers.pop(number).set_result(rest)

    async def do(self, name, command, *args):
        check_true(not self.reader.done(), "the process of the JavaScript peers has ended")
        self.number += 1
        answer = self.answers[self.number] = asyncio.get_running_loop().create_future()
        line = json.dumps([self.number, name, command, *args])
        self.process.stdin.write(line.encode() + b"\n")
        try:
            value, *fault = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"{name}: no end of {command} {args}") from None
        check_true(not fault, f"{name} could not {command}: {fault}")
        return value

    async def stop(self):
        self.process.kill()
        await self.process.wait()
        self.reader.cancel()


async def join_all(remote):
    """All peers, joined, of one library after the other: of each kind one at each node."""
    cells = [(transport, serializer) for transport in TRANSPORTS for serializer in SERIALIZERS]
    nodes = range(len(PORTS))
    peers = [[PythonPeer(*cell, node) for node in nodes] for cell in cells]
    peers += [[remote.peers[name] for name in kind] for kind in remote.kinds]
    for number, kind in enumerate(peers):
        for peer in kind:
            peer.number = number
            await peer.join()
            await check_is_at(peer.node, peer.identity["id"])
    return peers
