"""Connections of autobahn-python over every transport and serializer it shares with the router.

Sessions are plain `ApplicationSession`s, with futures where a test waits for a state.
"""

import asyncio
import os
import ssl

import txaio

txaio.use_asyncio()
txaio.start_logging(level="critical")

from autobahn.asyncio.rawsocket import WampRawSocketClientFactory  # noqa: E402
from autobahn.asyncio.wamp import ApplicationSession  # noqa: E402
from autobahn.asyncio.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.wamp.serializer import (  # noqa: E402
    CBORSerializer,
    JsonSerializer,
    MsgPackSerializer,
)
from autobahn.wamp.types import ComponentConfig  # noqa: E402
from autobahn.websocket.compress import (  # noqa: E402
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)

from nodes import PORTS, spread  # noqa: E402

HOST = "127.0.0.1"
UNIX_PATH = os.environ.get("ROUTER_UNIX", "")
# The authority that has signed the certificate of the routers; none: their ports speak plainly.
CA = os.environ.get("ROUTER_CA", "")
REALM = os.environ.get("ROUTER_REALM", "realm1")
# A realm that tells who publishes and calls: autobahn-python cannot ask for it.
DISCLOSING_REALM = "disclosing"
JOIN_TIMEOUT_S = 10

SERIALIZERS = {"json": JsonSerializer, "msgpack": MsgPackSerializer, "cbor": CBORSerializer}
TRANSPORTS = ("websocket", "rawsocket")
# WebSockets with messages in batches, compressed, or both.
FORMS = ("websocket-batched", "websocket-deflate", "websocket-batched-deflate")


class Client(ApplicationSession):
    """A session whose joining, leaving and loss of transport can be awaited."""

    def __init__(self, realm):
        super().__init__(ComponentConfig(realm, {}))
        loop = asyncio.get_running_loop()
        self.joined = loop.create_future()
        self.left = loop.create_future()
        self.lost = loop.create_future()

    def onJoin(self, details):
        self.joined.set_result(details)

    def onLeave(self, details):
        if not self.left.done():
            self.left.set_result(details)
        return super().onLeave(details)

    def onUserError(self, fail, msg):
        """Errors that tests raise in handlers on purpose are not worth a log line."""

    def onDisconnect(self):
        super().onDisconnect()
        if not self.lost.done():
            self.lost.set_result(True)

    async def goodbye(self):
        """Leaves the realm; returns the reason of the router's answer."""
        self.leave()
        details = await self.left
        await self.lost
        return details.reason

    def cut(self):
        """Drops the connection as a crash would: neither GOODBYE nor a transport's close."""
        self._transport.transport.abort()

    @property
    def id(self):
        return self._session_id


async def open_session(
    transport, serializer, realm=REALM, unix=False, port=PORTS[0], kind=Client
):
    """Connects a session of a kind and sends HELLO; the caller awaits `joined` or `left`."""
    txaio.config.loop = asyncio.get_running_loop()
    session = kind(realm)
    chosen = SERIALIZERS[serializer](batched="batched" in transport)
    if transport == "rawsocket":
        factory = WampRawSocketClientFactory(lambda: session, serializer=chosen)
    else:
        url = f"{'wss' if CA else 'ws'}://{HOST}:{port}/ws"
        factory = WampWebSocketClientFactory(lambda: session, url=url, serializers=[chosen])
        factory.setProtocolOptions(autoFragmentSize=65536, openHandshakeTimeout=JOIN_TIMEOUT_S)
        if "deflate" in transport:
            factory.setProtocolOptions(
                perMessageCompressionOffers=[PerMessageDeflateOffer()],
                perMessageCompressionAccept=accept_deflate,
            )
    loop = asyncio.get_running_loop()
    if unix:
        await loop.create_unix_connection(factory, UNIX_PATH)
    else:
        context = ssl.create_default_context(cafile=CA) if CA else None
        await loop.create_connection(factory, HOST, port, ssl=context)
    return session


def accept_deflate(response):
    if isinstance(response, PerMessageDeflateResponse):
        return PerMessageDeflateResponseAccept(response)
    return None


def check_form(session, transport):
    """The connection has the form that was asked for: a router may decline it in order."""
    protocol = session._transport
    batched = protocol.websocket_protocol_in_use.endswith(".batched")
    assert batched == ("batched" in transport), protocol.websocket_protocol_in_use
    deflate = bool(protocol.websocket_extensions_in_use)
    assert deflate == ("deflate" in transport), protocol.websocket_extensions_in_use


async def join(transport, serializer, unix=False, port=PORTS[0], realm=REALM, kind=Client):
    """Joins the realm; returns the session, with its WELCOME in `details`."""
    session = await open_session(transport, serializer, realm, unix, port, kind)
    await asyncio.wait({session.joined, session.left}, timeout=JOIN_TIMEOUT_S,
                       return_when=asyncio.FIRST_COMPLETED)
    if not session.joined.done():
        raise AssertionError(f"not joined over {transport}/{serializer}: {session.left}")
    session.details = session.joined.result()
    if transport in FORMS:
        check_form(session, transport)
    return session


class Cell:
    """One transport and serializer of the matrix, and the sessions that a test opened in it."""

    def __init__(self, transport, serializer, unix=False):
        self.transport = transport
        self.serializer = serializer
        self.unix = unix
        self.sessions = []
        self.tests = 0

    @property
    def name(self):
        way = "unix " if self.unix else "tls " if CA else ""
        return f"{way}{self.transport}/{self.serializer}"

    def uri(self, name):
        return f"org.{'unix' if self.unix else 'tcp'}.{self.transport}.{self.serializer}.{name}"

    async def join(self, ports=PORTS, realm=REALM):
        node = spread.next()
        unix = self.unix and ports is PORTS
        session = await join(self.transport, self.serializer, unix, ports[node], realm)
        self.sessions.append(session)
        await spread.note(node, session.id)
        return session

    async def close(self):
        for session in self.sessions:
            if session._transport and session.id:
                await asyncio.wait_for(session.goodbye(), JOIN_TIMEOUT_S)
        self.sessions.clear()
