"""What a router keeps of the memory that a burst took: subscribers read late what several publishers
sent, large events that are kept once and small ones that wait for each of them. Sessions that begin
meanwhile stay, so what is theirs lies behind what is freed. tests/server/memory.rs is the same in small.

late.py ROUTER [OPTION]...: ROUTER is started with these options, on a free port of this machine.
Prints its resident memory in MiB (before, at its highest, and 10 s after) and its CPU time.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time

SUBSCRIBERS, PUBLISHERS, AT_ONCE, ROUNDS, EVENTS, STAY = 40, 30, 6, 8, 50, 20
SECONDS_AFTER = 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = free_port()


def packed(value):
    """MessagePack of what is sent here."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xce" + struct.pack(">I", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value)) + value.encode()
    if isinstance(value, dict):
        items = b"".join(packed(word) for pair in value.items() for word in pair)
        return b"\xdf" + struct.pack(">I", len(value)) + items
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))


class Client:
    """One RawSocket session; even numbers speak JSON, odd ones MessagePack."""

    def __init__(self, number, receive_buffer=None):
        self.encode = packed if number % 2 else lambda value: json.dumps(value).encode()
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", PORT))
        self.socket.sendall(bytes([0x7F, 0xF0 | 1 + number % 2, 0, 0]))
        self.take(4)
        self.request = 0
        roles = {"publisher": {}, "subscriber": {}}
        self.ask([1, "realm1", {"roles": roles}])

    def take(self, length):
        data = bytearray(length)
        view, got = memoryview(data), 0
        while got < length:
            more = self.socket.recv_into(view[got:])
            if not more:
                sys.exit("late.py: the router closed a connection")
            got += more
        return data

    def receive(self):
        head = self.take(4)
        self.take(int.from_bytes(head[1:], "big"))

    def ask(self, message):
        data = self.encode(message)
        self.socket.sendall(struct.pack(">I", len(data)) + data)
        self.receive()

    def subscribe(self, topic):
        self.ask([32, 1, {}, topic])

    def publish(self, topic, text):
        self.request += 1
        self.ask([16, self.request, {"acknowledge": True}, topic, [text]])


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def burst(pid, subscribers, publishers):
    most, stay = 0, []
    for turn in range(ROUNDS):
        for place in range(AT_ONCE):
            number = turn * AT_ONCE + place
            publisher = publishers[number % PUBLISHERS]
            publisher.publish("com.x", "x" * (300_000 + number * 29_989 % 600_000))
            for copied in range(1, EVENTS):
                length = 8_000 + (number * EVENTS + copied) * 1_009 % 8_000
                publisher.publish("com.x", "x" * length)
        most = max(most, resident(pid))
        stay += [Client(number) for number in range(STAY)]
        for subscriber in subscribers:
            for _ in range(AT_ONCE * EVENTS):
                subscriber.receive()
    return most, stay


def main():
    options = ["--listen", f"127.0.0.1:{PORT}", "--send-buffer", "65536", "--log-level", "error"]
    router = subprocess.Popen([*sys.argv[1:], *options])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.1)
        subscribers = [Client(number, 4096) for number in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            subscriber.subscribe("com.x")
        publishers = [Client(number) for number in range(PUBLISHERS)]
        before = resident(router.pid)
        most, _stay = burst(router.pid, subscribers, publishers)
        used = cpu_seconds(router.pid)
        time.sleep(SECONDS_AFTER)
        after = resident(router.pid)
        print(f"before {before:.1f} most {most:.0f} after {after:.1f} cpu {used:.2f}")
    finally:
        router.terminate()
        router.wait()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    main()
