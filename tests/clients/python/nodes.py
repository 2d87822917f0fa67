"""Where sessions go: to one router, or to several, which are the nodes of one cluster.

With several, ROUTER_PORT has the ports of all, separated by commas, and ROUTER_ADMIN those of their
admin listeners. The first session of a test is then at another node than all further ones, and each
node is asked whether it has the session: a test that was not spread fails.
"""

import asyncio
import json
import os
import urllib.request

from check import check_true

NAMES = "abcdefgh"
ASK_TIMEOUT_S = 10


def ports(variable, default):
    return [int(port) for port in os.environ.get(variable, default).split(",") if port]


PORTS = ports("ROUTER_PORT", "8080")
# Of routers that accept gaps between request ids.
LENIENT_PORTS = ports("ROUTER_LENIENT_PORT", os.environ.get("ROUTER_PORT", "8080"))
ADMIN_PORTS = ports("ROUTER_ADMIN", "")
assert len(PORTS) == 1 or len(ADMIN_PORTS) == len(PORTS), "ROUTER_ADMIN has a port for each node"


def named(name, node):
    """The name of a peer of which there is one at each node."""
    return name if len(PORTS) == 1 else f"{name}.{NAMES[node]}"


def ask(node, path):
    url = f"http://127.0.0.1:{ADMIN_PORTS[node]}{path}"
    with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S) as answer:
        return answer.read().decode()


async def check_is_at(node, session):
    """The node says that it has the session of this id."""
    if len(PORTS) > 1:
        answer = await asyncio.to_thread(ask, node, f"/api/sessions?search={session}&limit=1000")
        known = [found["session"] for found in json.loads(answer)["sessions"]]
        check_true(session in known, f"{session} is at node {NAMES[node]}, which has {known}")


def around(peers, number):
    """Of peers by kind and node: one of this kind, and one of each kind at other nodes than that."""
    count = len(PORTS)
    node = number % count
    if count == 1:
        return peers[number][0], [kind[0] for kind in peers]
    others = [kind[(node + 1 + turn % (count - 1)) % count] for turn, kind in enumerate(peers)]
    return peers[number][node], others


class Spread:
    """The nodes of the sessions of one test after the other."""

    def __init__(self):
        self.tests = 0
        self.begin()

    def begin(self):
        """The test of which all further sessions are."""
        self.tests += 1
        self.taken = 0
        self.joined = []

    def next(self):
        """The node for another session: the first one's changes from test to test."""
        first, further, self.taken = self.tests, self.taken, self.taken + 1
        if further:
            first += 1 + (further - 1) % max(1, len(PORTS) - 1)
        return first % len(PORTS)

    async def note(self, node, session):
        await check_is_at(node, session)
        self.joined.append(node)

    def check(self):
        """None of the further sessions was where the first one was."""
        nodes = [NAMES[node] for node in self.joined]
        if len(PORTS) > 1 and nodes:
            check_true(nodes[0] not in nodes[1:], f"the first one is not apart: {nodes}")


spread = Spread()


async def spread_out(test, *args):
    spread.begin()
    await test(*args)
    spread.check()
