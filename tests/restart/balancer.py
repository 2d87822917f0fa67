"""A TCP balancer in front of routers: round robin among those whose health check says 200."""

import asyncio

CHECK_EVERY_S = 0.1


async def is_healthy(port):
    """What `GET /healthz` of a router's listener says."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        status = await asyncio.wait_for(reader.readline(), 1)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
    return b" 200 " in status


class Balancer:
    def __init__(self, ports):
        self.ports = ports
        self.healthy = []
        self.turn = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.checks = asyncio.create_task(self.check())

    async def check(self):
        while True:
            self.healthy = [port for port in self.ports if await is_healthy(port)]
            await asyncio.sleep(CHECK_EVERY_S)

    async def serve(self, reader, writer):
        try:
            if not self.healthy:
                return
            self.turn += 1
            port = self.healthy[self.turn % len(self.healthy)]
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pass_on(reader, to_writer), pass_on(to_reader, writer))
        except OSError:
            pass  # The client comes again.
        finally:
            writer.close()

    def stop(self):
        self.checks.cancel()
        self.server.close()


async def pass_on(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
