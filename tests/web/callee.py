"""Answers calls of `com.example.add` over RawSocket with JSON: adds numbers, or joins texts.

    callee.py HOST:PORT        prints "ready" when it may be called
"""

import json
import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
stream = socket.create_connection((host, int(port)))
stream.sendall(b"\x7f\xf1\0\0")
reader = stream.makefile("rb")
answer = reader.read(4)
assert answer[0] == 0x7F and answer[1] & 0x0F == 1, f"no RawSocket with JSON: {answer}"


def send(*message: object) -> None:
    body = json.dumps(message).encode()
    stream.sendall(len(body).to_bytes(4, "big") + body)


send(1, "realm1", {"roles": {"callee": {}}})
while header := reader.read(4):
    # A first octet of 1 is a ping.
    body = reader.read(int.from_bytes(header[1:], "big"))
    if header[0] == 1:
        stream.sendall(b"\x02" + header[1:] + body)
        continue
    match json.loads(body):
        case [2, *_]:
            send(64, 1, {}, "com.example.add")
        case [65, *_]:
            print("ready", flush=True)
        case [68, invocation, _, _, [one, other]]:
            send(70, invocation, {}, [one + other])
        case message:
            sys.exit(f"unexpected: {message}")
