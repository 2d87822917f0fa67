"""A TCP proxy that cuts connections: at random moments of a seed, and amid the answers of a
history. What it looks for is written plainly in every serializer, and nothing is compressed.
"""

import asyncio
from enum import Enum

LONGEST_LIFE_S = 1.0
CHANCE_IN_PAGE = 0.4
# What a client sends before it asks a history: a handshake, HELLO and SUBSCRIBE.
BEFORE_QUESTION = 3


class Mode(Enum):
    CALM = 1
    # Connections are cut after a while, or amid an answer.
    CUTTING = 2
    # There are none.
    CLOSED = 3
    # The question for what was missed is held back.
    GATE = 4


class Proxy:
    def __init__(self, port, random):
        self.to_port = port
        self.random = random
        self.mode = Mode.CALM
        self.links = set()
        self.gate = asyncio.Event()
        self.waiting = 0
        self.cuts = self.cuts_in_page = self.pages = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    def enter(self, mode):
        """Connections that there are go on in calm; otherwise they are cut."""
        self.mode = mode
        if mode is Mode.GATE:
            self.gate.clear()
            self.waiting = 0
        else:
            self.gate.set()
        if mode is not Mode.CALM:
            for link in list(self.links):
                link.cut()

    def stop(self):
        self.enter(Mode.CLOSED)
        self.server.close()

    async def serve(self, reader, writer):
        if self.mode is Mode.CLOSED:
            writer.transport.abort()
            return
        try:
            to_router = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, (reader, writer), to_router)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)


class Link:
    """One connection of a client."""

    def __init__(self, proxy, client, router):
        self.proxy = proxy
        self.client, self.router = client, router
        self.is_cut = False
        self.is_cut_in_page = False
        if proxy.mode is Mode.CUTTING:
            self.is_cut_in_page = proxy.random.random() < CHANCE_IN_PAGE
            life = proxy.random.uniform(0, LONGEST_LIFE_S)
            asyncio.get_running_loop().call_later(life, self.cut_by_time)

    async def run(self):
        await asyncio.gather(self.pass_up(), self.pass_down())

    async def pass_up(self):
        chunks = 0
        try:
            while data := await self.client[0].read(65536):
                chunks += 1
                if self.proxy.mode is Mode.GATE and chunks > BEFORE_QUESTION:
                    self.proxy.waiting += 1
                    await self.proxy.gate.wait()
                self.router[1].write(data)
                await self.router[1].drain()
        except OSError:
            pass  # It is cut.
        self.end()

    async def pass_down(self):
        try:
            while data := await self.router[0].read(65536):
                self.proxy.pages += data.count(b"is_limit_reached")
                page = data.find(b"timestamp")
                if self.is_cut_in_page and page >= 0 and self.proxy.mode is Mode.CUTTING:
                    self.client[1].write(data[: (page + len(data)) // 2])
                    await self.client[1].drain()
                    self.proxy.cuts_in_page += 1
                    self.cut()
                    return
                self.client[1].write(data)
                await self.client[1].drain()
        except OSError:
            pass
        self.end()

    def cut_by_time(self):
        if self.proxy.mode is Mode.CUTTING and not self.is_cut_in_page:
            self.cut()

    def cut(self):
        """Some clients see an end, others a reset."""
        if self.is_cut:
            return
        self.is_cut = True
        self.proxy.cuts += 1
        self.router[1].transport.abort()
        if self.is_cut_in_page or self.proxy.random.random() < 0.5:
            self.client[1].close()
        else:
            self.client[1].transport.abort()

    def end(self):
        """A side has ended by itself: so does the other."""
        self.is_cut = True
        for _, writer in (self.client, self.router):
            writer.close()
