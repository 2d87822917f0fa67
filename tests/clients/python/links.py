"""What the nodes of a cluster say of each other: `links.py linked` waits until all are linked, and
`links.py used` asks afterwards whether the tests have gone from each to each, and nothing was lost.
"""

import asyncio
import json
import re
import sys

from check import Report, check, check_true
from nodes import NAMES, PORTS, ask

LINK_TIMEOUT_S = 30
# What does not happen between nodes that live: counters that stay 0.
NEVER = [
    "stentor_cluster_links_ended_total",
    "stentor_cluster_events_dropped_total",
    "stentor_cluster_meta_events_dropped_total",
    "stentor_cluster_stray_messages_total",
    "stentor_cluster_strange_messages_total",
    "stentor_cluster_strange_claims_total",
    "stentor_cluster_removals_total",
    "stentor_cluster_calls_failed_total",
]
# And those that all nodes have counted.
USED = ["stentor_cluster_events_total", "stentor_cluster_calls_total"]


async def linked(node):
    """With all the others, as the node sees it, which is who it is meant to be."""
    expected = {name: "linked" for name in NAMES[: len(PORTS)]} | {NAMES[node]: "self"}
    seen = None
    for _ in range(10 * LINK_TIMEOUT_S):
        seen = {found["node"]: found["link"] for found in json.loads(ask(node, "/clusterz"))["nodes"]}
        if seen == expected:
            return
        await asyncio.sleep(0.1)
    check(seen, expected, f"nodes as {NAMES[node]} sees them")


async def used(node):
    counted = {}
    for name, labels, value in re.findall(r"^(\w+)({.*})? (\d+)$", ask(node, "/metrics"), re.M):
        counted.setdefault(name, {})[labels] = int(value)
    for name in USED:
        check_true(all(counted[name].values()), f"{name} of {NAMES[node]}: {counted[name]}")
    expired = counted["stentor_cluster_corks_ended_total"]['{outcome="expired"}']
    check(expired, 0, f"answers of {NAMES[node]} that came before all nodes knew")
    for name in NEVER:
        check(sum(counted[name].values()), 0, f"{name} of {NAMES[node]}")


async def main(test):
    report = Report()
    for node in range(len(PORTS)):
        await report.run(f"{test.__name__}, node {NAMES[node]}", test(node), 2 * LINK_TIMEOUT_S)
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main({"linked": linked, "used": used}[sys.argv[1]])))
