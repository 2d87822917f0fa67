"""A Python client: offers a procedure, and tells everybody about each call of it."""

import sys

from autobahn.asyncio.component import Component, run

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=url, realm="realm1")


@component.on_join
async def joined(session, details):
    def add(a, b):
        session.publish("com.example.added", a, b)
        return a + b

    await session.register(add, "com.example.add")
    print(f"session {details.session} answers calls of com.example.add", flush=True)


run([component])
