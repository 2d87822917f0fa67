"""A WAMP client of the packages' test, on RawSocket with JSON and nothing but Python.

client.py publish DIRECTORY   publishes 0, 1, 2, ... with acknowledgement until DIRECTORY/stop is
                              there, connects again when it must, and writes what was acknowledged
                              to DIRECTORY/acknowledged, how it was disconnected to DIRECTORY/ends,
                              and why it could not connect to DIRECTORY/refused
client.py check DIRECTORY     whether the topic's history holds every acknowledged number, in order
"""

import contextlib
import json
import socket
import sys
import time
from pathlib import Path

ADDRESS = ("127.0.0.1", 8080)
TOPIC = "com.example.number"
HELLO, WELCOME, GOODBYE, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, CALL, RESULT = (
    1, 2, 6, 16, 17, 32, 33, 48, 50,
)  # fmt: skip
# Longer than any step takes, also on a machine with much else to do.
PATIENCE_S = 60
PAGE = 500


class Lost(Exception):
    """The connection has ended, or was refused."""


class Goodbye(Lost):
    """The router has said GOODBYE, and was answered."""


class Session:
    def __init__(self):
        try:
            self.socket = socket.create_connection(ADDRESS, timeout=PATIENCE_S)
            self.socket.sendall(bytes([0x7F, 0xF1, 0, 0]))
            answer = self.read(4)
        except OSError as error:
            raise Lost(str(error)) from error
        if answer[1] & 0x0F != 1:
            raise Lost(f"the handshake was answered by {answer.hex()}")
        self.request = 0
        self.send([HELLO, "realm1", {"roles": {"publisher": {}, "subscriber": {}, "caller": {}}}])
        self.expect(WELCOME)

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise Lost("the connection was closed")
            data += part
        return data

    def send(self, message):
        data = json.dumps(message).encode()
        try:
            self.socket.sendall(len(data).to_bytes(4, "big") + data)
        except OSError as error:
            raise Lost(str(error)) from error

    def receive(self):
        try:
            return json.loads(self.read(int.from_bytes(self.read(4), "big")))
        except OSError as error:
            raise Lost(str(error)) from error

    def expect(self, kind):
        message = self.receive()
        if message[0] == GOODBYE:
            self.send([GOODBYE, {}, "wamp.close.goodbye_and_out"])
            raise Goodbye(message[2])
        if message[0] != kind:
            raise Lost(f"an answer of kind {kind} was expected, and this came: {message}")
        return message

    def ask(self, kind, answer, *rest):
        self.request += 1
        self.send([kind, self.request, *rest])
        return self.expect(answer)

    def close(self):
        self.socket.close()


def connect(refused=None):
    """A session, as soon as there is a router that lets one in."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Session()
        except Lost as lost:
            if time.monotonic() > deadline:
                sys.exit(f"client.py: no session: {lost}")
            if refused:
                print(lost, file=refused, flush=True)
            time.sleep(0.05)


def publish(folder):
    number = 0
    files = [(folder / name).open("w") for name in ("acknowledged", "ends", "refused")]
    with contextlib.ExitStack() as stack:
        done, ends, refused = map(stack.enter_context, files)
        while not (folder / "stop").exists():
            session = connect(refused)
            try:
                while not (folder / "stop").exists():
                    session.ask(PUBLISH, PUBLISHED, {"acknowledge": True}, TOPIC, [number])
                    print(number, file=done, flush=True)
                    number += 1
                    time.sleep(0.01)
            except Lost as lost:
                print(f"{type(lost).__name__}: {lost}", file=ends, flush=True)
            session.close()


def history():
    session = connect()
    subscription = session.ask(SUBSCRIBE, SUBSCRIBED, {}, TOPIC)[2]
    numbers, options = [], {"limit": PAGE}
    while True:
        answer = session.ask(
            CALL, RESULT, {}, "wamp.subscription.get_events", [subscription], options
        )
        events = answer[3] if len(answer) > 3 else []
        numbers += [event["args"][0] for event in events]
        if not answer[4]["complete"]:
            sys.exit("client.py: the history has lost events")
        if not answer[4]["is_limit_reached"]:
            return numbers
        options = {"limit": PAGE, "after_publication": events[-1]["publication"]}


def check(folder):
    acknowledged = [int(line) for line in (folder / "acknowledged").read_text().split()]
    kept = history()
    missing = sorted(set(acknowledged) - set(kept))
    if missing or not acknowledged:
        sys.exit(f"client.py: of {len(acknowledged)} acknowledged numbers these are lost: {missing}")
    # A number whose acknowledgement was lost on the way was published twice.
    if kept != sorted(kept):
        sys.exit("client.py: the history is out of order")
    print(f"{len(acknowledged)} acknowledged numbers are there, of {len(kept)} events")


if __name__ == "__main__":
    {"publish": publish, "check": check}[sys.argv[1]](Path(sys.argv[2]))
