"""What it takes that the nodes of a cluster agree: REGISTER beside a `create` of NATS that a watcher sees,
the first SUBSCRIBE of a topic, both in thousands; the start of a node that has much to read; memory for
what another node has; nodes that do nothing; a node that is killed, and one that hangs.

agreement.py STENTOR LOADTEST NATS_SERVER: a router with the feature `cluster`, the load generator, a
nats-server. All are started on free ports of this machine, and ended.
"""

import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from measuring import cpu_seconds, end, free_port, resident_bytes, start, wait_for

HELLO, SUBSCRIBE, SUBSCRIBED, CALL, REGISTER, REGISTERED, INVOCATION = (
    1, 32, 33, 48, 64, 65, 68,
)  # fmt: skip
ONE_BY_ONE = 300
SENT = r'stentor_cluster_bytes_total\{.*direction="sent".*\}'
ROLES = {role: {} for role in ("caller", "callee", "publisher", "subscriber")}


class Client:
    """A WAMP client on RawSocket with JSON."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(bytes([0x7F, 0xF1, 0, 0]))
        self.come = bytearray()
        self.read(4)
        self.requests = 0
        self.socket.sendall(framed([HELLO, "realm1", {"roles": ROLES}]))
        self.receive()

    def read(self, count):
        while len(self.come) < count:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise SystemExit("agreement.py: the router has closed a connection")
            self.come += piece
        piece = bytes(self.come[:count])
        del self.come[:count]
        return piece

    def receive(self):
        return json.loads(self.read(int.from_bytes(self.read(4)[1:], "big")))

    def request(self, kind, *rest):
        self.requests += 1
        return framed([kind, self.requests, {}, *rest])

    def ask(self, kind, expected, *rest):
        """Sends a request, and waits for its answer."""
        self.socket.sendall(self.request(kind, *rest))
        answer = self.receive()
        if answer[0] != expected:
            raise SystemExit(f"agreement.py: {answer} is not {expected}")

    def ask_all(self, kind, expected, uris):
        """The same for many at once."""
        requests = b"".join(self.request(kind, uri) for uri in uris)
        writer = threading.Thread(target=self.socket.sendall, args=(requests,))
        writer.start()
        for _ in uris:
            answer = self.receive()
            if answer[0] != expected:
                raise SystemExit(f"agreement.py: {answer} is not {expected}")
        writer.join()


def framed(message):
    text = json.dumps(message).encode()
    return len(text).to_bytes(4, "big") + text


def all_at_once(port, kind, expected, clients, each, name):
    """How long it takes until so many clients have all their answers. They stay."""
    members = [Client(port) for _ in range(clients)]
    uris = [[f"com.example.{name}.{i}.{n}" for n in range(each)] for i in range(clients)]
    work = [
        threading.Thread(target=member.ask_all, args=(kind, expected, own))
        for member, own in zip(members, uris)
    ]
    began = time.monotonic()
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    return time.monotonic() - began, members


class Nats:
    """As much of a client of NATS as is needed here."""

    def __init__(self, port, name):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.name = self.socket.makefile("rb"), name
        self.stream.readline()
        connect = f'CONNECT {{"verbose":false,"headers":true}}\r\nSUB answers.{name} 1\r\n'
        self.socket.sendall(connect.encode())

    def publish(self, subject, text, headers=""):
        head, text = headers.encode(), text.encode()
        if head:
            head = b"NATS/1.0\r\n" + head + b"\r\n\r\n"
            line = f"HPUB {subject} answers.{self.name} {len(head)} {len(head) + len(text)}\r\n"
        else:
            line = f"PUB {subject} answers.{self.name} {len(text)}\r\n"
        self.socket.sendall(line.encode() + head + text + b"\r\n")

    def message(self):
        """The text of the next message."""
        while True:
            line = self.stream.readline().split()
            if line[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            elif line[0] in (b"MSG", b"HMSG"):
                whole = self.stream.read(int(line[-1]) + 2)
                return whole[int(line[-2]) if line[0] == b"HMSG" else 0 : -2].decode()

    def ask(self, subject, **question):
        self.publish(subject, json.dumps(question))
        answer = json.loads(self.message())
        if "error" in answer:
            raise SystemExit(f"agreement.py: NATS says {answer['error']}")


def creates(port):
    """How long a `create` takes until a watcher has seen it, one after the other; seconds."""
    writer, watcher = Nats(port, "writer"), Nats(port, "watcher")
    writer.ask(
        "$JS.API.STREAM.CREATE.KV_beside", name="KV_beside", subjects=["$KV.beside.>"],
        storage="file", num_replicas=1, max_msgs_per_subject=1, allow_direct=True,
    )  # fmt: skip
    watcher.socket.sendall(b"SUB seen 2\r\n")
    config = {"deliver_subject": "seen", "deliver_policy": "new", "ack_policy": "none"}
    watcher.ask("$JS.API.CONSUMER.CREATE.KV_beside", stream_name="KV_beside", config=config)
    taken = []
    for n in range(ONE_BY_ONE):
        began = time.monotonic()
        writer.publish(f"$KV.beside.key{n}", "x" * 120, "Nats-Expected-Last-Subject-Sequence: 0")
        watcher.message()
        taken.append(time.monotonic() - began)
    return taken


class Node:
    """A router that is a node. `running` holds all that have not ended."""

    running = []

    def __init__(self, stentor, nats, name):
        self.name, self.port, self.admin = name, free_port(), free_port()
        self.began = time.monotonic()
        self.process = start(
            stentor, "--listen", f"127.0.0.1:{self.port}", "--shards", "1", "--log-level", "error",
            "--cluster", "measured", "--node", name, "--nats", f"nats://127.0.0.1:{nats}",
            STENTOR_ADMIN__LISTEN=f"127.0.0.1:{self.admin}",
            STENTOR_LIMITS__SUBSCRIPTIONS_PER_SESSION="100000",
            STENTOR_LIMITS__REGISTRATIONS_PER_SESSION="100000",
        )  # fmt: skip
        self.running.append(self.process)
        wait_for(self.port, self.process)
        self.started_s = time.monotonic() - self.began

    def end(self):
        end([self.process])
        self.running.remove(self.process)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, pattern):
        """The sum of the samples that match."""
        return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", self.get("/metrics"), re.M))

    def round_trips_ms(self):
        return [row["round_trip_us"] / 1e3 for row in json.loads(self.get("/clusterz"))["nodes"]
                if row.get("round_trip_us")]  # fmt: skip


def one_by_one(node, kind, expected, name):
    client, taken = Client(node.port), []
    for n in range(ONE_BY_ONE):
        began = time.monotonic()
        client.ask(kind, expected, f"com.example.{name}.{n}")
        taken.append(time.monotonic() - began)
    return taken


def tell(what, said):
    print(f"{what}: {said}", flush=True)


def milliseconds(taken):
    middle, high = statistics.median(taken), sorted(taken)[len(taken) * 99 // 100]
    return f"p50 {middle * 1e3:.2f} ms, p99 {high * 1e3:.2f} ms"


def agreeing(nats, nodes):
    a, b = nodes[:2]
    tell("a create of NATS until it is seen", milliseconds(creates(nats)))
    tell("REGISTER", milliseconds(one_by_one(a, REGISTER, REGISTERED, "one")))
    tell("SUBSCRIBE, each topic for the first time", milliseconds(one_by_one(a, SUBSCRIBE, SUBSCRIBED, "one")))
    seconds, members = all_at_once(a.port, REGISTER, REGISTERED, 10, 1_000, "ten")
    tell("10,000 REGISTERs of 10 callees at once", f"{seconds:.2f} s")
    begin = a.metric(SENT)
    before = resident_bytes(b.process)
    seconds, more = all_at_once(a.port, SUBSCRIBE, SUBSCRIBED, 20, 5_000, "topic")
    time.sleep(2)
    sent = a.metric(SENT) - begin
    tell("100,000 SUBSCRIBEs of 20 subscribers at once, each of a new topic", f"{seconds:.2f} s")
    others = len(nodes) - 1
    tell("bytes to each other node for a topic", f"{sent / others / 100_000:.1f}")
    tell("memory of another node for a topic", f"{(resident_bytes(b.process) - before) / 100_000:.0f} bytes")
    return members + more


def holding(stentor, nats, nodes):
    """What 100,000 registrations of one node are to others, and to one that starts."""
    a, b = nodes[:2]
    empty = Node(stentor, nats, "empty")
    empty.end()
    before = resident_bytes(b.process)
    seconds, members = all_at_once(a.port, REGISTER, REGISTERED, 20, 5_000, "many")
    time.sleep(2)
    tell("100,000 REGISTERs of 20 callees at once", f"{seconds:.1f} s, {100_000 / seconds:,.0f} a second")
    tell("memory of another node for each", f"{(resident_bytes(b.process) - before) / 100_000:.0f} bytes")
    full = Node(stentor, nats, "full")
    tell("a node starts", f"in {empty.started_s:.2f} s; with 100,000 registrations of others in {full.started_s:.2f} s")
    own = [resident_bytes(node.process) / 2**20 for node in (full, b)]
    tell("its memory, and that of a node that was there", "{:.0f} and {:.0f} MiB".format(*own))
    full.end()
    return members


def resting(nodes):
    before = [cpu_seconds(node.process) for node in nodes]
    time.sleep(20)
    used = [(cpu_seconds(node.process) - begin) / 20 * 100 for node, begin in zip(nodes, before)]
    tell("CPU of nodes that do nothing", ", ".join(f"{percent:.2f} %" for percent in used) + " of a core")


def killed(nodes):
    """How long a call waits whose callee's node is killed."""
    a, c = nodes[0], nodes[2]
    callee, caller = Client(c.port), Client(a.port)
    callee.ask(REGISTER, REGISTERED, "com.example.hangs")
    caller.socket.sendall(caller.request(CALL, "com.example.hangs"))
    if callee.receive()[0] != INVOCATION:
        raise SystemExit("agreement.py: the callee is not called")
    c.process.kill()
    began = time.monotonic()
    answer = caller.receive()
    tell("a call to a node that is killed ends", f"after {time.monotonic() - began:.2f} s with {answer[4]}")
    c.process.wait()
    c.running.remove(c.process)


def stopped(loadtest, nodes):
    """Events between two nodes while a third one hangs, in whom somebody has subscribed, too."""
    a, b, c = nodes
    subscriber = Client(c.port)
    subscriber.ask(SUBSCRIBE, SUBSCRIBED, "loadtest.topic")

    def p99():
        command = [loadtest, "fanout", "-n", "1", "--rate", "1000", "--duration", "6s", "--warmup", "1s"]
        command += ["--url", f"rs://127.0.0.1:{a.port}", "--receiver-url", f"rs://127.0.0.1:{b.port}"]
        done = subprocess.run([*command, "--json", "-", "--quiet"], stdout=subprocess.PIPE, check=False)
        run = json.loads(done.stdout.splitlines()[0])
        if not run["clean"]:
            raise SystemExit(f"agreement.py: not clean: {run['verified']}")
        return run["event_latency"]["p99"] / 1e6

    for number in range(3):
        before, memory = p99(), resident_bytes(a.process)
        c.process.send_signal(signal.SIGSTOP)
        during, more = p99(), resident_bytes(a.process) - memory
        c.process.send_signal(signal.SIGCONT)
        said = f"{before:.2f} ms before, {during:.2f} ms then; {more / 2**20:.1f} MiB more at the publisher's"
        tell(f"p99 of 1,000 events/s between two nodes while a third one hangs ({number + 1})", said)
        time.sleep(4)


def main(stentor, loadtest, nats_server):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        nats = free_port()
        server = start(nats_server, "-a", "127.0.0.1", "-p", str(nats), "-js", "-sd", folder)
        ending.callback(end, [server])
        wait_for(nats, server)
        ending.callback(end, Node.running)
        nodes = [Node(stentor, nats, name) for name in "abc"]
        time.sleep(2)
        tell("round trips between nodes, ms", nodes[0].round_trips_ms())
        resting(nodes)
        members = agreeing(nats, nodes)
        tell("round trips between nodes, ms", nodes[0].round_trips_ms())
        members += holding(stentor, nats, nodes)
        stopped(loadtest, nodes)
        killed(nodes)
        del members


if __name__ == "__main__":
    main(*sys.argv[1:])
