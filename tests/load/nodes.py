"""What it costs that publishers and subscribers, or callers and callees, are at two nodes of a cluster:
CPU time beside one router, and messages of NATS for each publication; events also beside NATS alone, whose
subscribers the same generator is, with the same payload and the same checks.

nodes.py STENTOR LOADTEST NATS_SERVER [ROUNDS]: a router with the feature `cluster`, the load generator, a
nats-server. All are started on free ports of this machine, and ended. The ways are measured in turn,
ROUNDS times (5); printed are the medians, and their spread.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request

from measuring import cpu_seconds, end, free_port, shown, start, wait_for

SECONDS, WARMUP = "2s", "500ms"
CASES = [
    ("fanout, 100 subscribers", ["fanout", "-n", "100", "--saturate"]),
    ("fanout, 1,000 subscribers", ["fanout", "-n", "1000", "--saturate"]),
    ("fanout, 1 subscriber", ["fanout", "-n", "1", "--saturate"]),
    ("fanout, 1 subscriber, 5,000/s", ["fanout", "-n", "1", "--rate", "5000"]),
    ("rpc, one at a time", ["rpc", "-c", "1", "-k", "1", "--depth", "1"]),
    ("rpc, 10 callers, 4 each", ["rpc", "-c", "10", "-k", "1", "--depth", "4"]),
]


def messages(monitor):
    """Messages that NATS has taken so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/varz", timeout=5) as answer:
        return json.load(answer)["in_msgs"]


class Bed:
    """A router alone, two nodes, and NATS."""

    def __init__(self, stentor, loadtest, nats_server, folder):
        self.loadtest = loadtest
        nats, self.monitor = free_port(), free_port()
        self.nats = start(
            *(nats_server, "-a", "127.0.0.1", "-p", str(nats), "-m", str(self.monitor)),
            *("-js", "-sd", folder),
        )
        wait_for(nats, self.nats)
        self.processes, self.ports = [self.nats], {"NATS": nats}
        for name in ("alone", "a", "b"):
            port = self.ports[name] = free_port()
            command = [stentor, "--listen", f"127.0.0.1:{port}", "--shards", "1"]
            command += ["--log-level", "error"]
            if name != "alone":
                command += ["--cluster", "measured", "--node", name]
                command += ["--nats", f"nats://127.0.0.1:{nats}"]
            process = start(*command)
            self.processes.append(process)
            wait_for(port, process)
        self.routers = {"alone": self.processes[1:2], "apart": self.processes[2:], "NATS": []}
        time.sleep(1)

    def measure(self, case, way):
        """CPU time of routers and NATS for each event or call, its latency, and NATS' messages."""
        url = lambda name: f"rs://127.0.0.1:{self.ports[name]}"
        where = ["--url", url("alone")]
        if way == "apart":
            where = ["--url", url("a"), "--receiver-url", url("b")]
        elif way == "NATS":
            where = ["--url", f"nats://127.0.0.1:{self.ports['NATS']}"]
        routers = self.routers[way]
        before = [sum(map(cpu_seconds, routers)), cpu_seconds(self.nats), messages(self.monitor)]
        command = [self.loadtest, *case, *where, "--duration", SECONDS, "--warmup", WARMUP]
        done = subprocess.run([*command, "--json", "-", "--quiet"], stdout=subprocess.PIPE, check=False)
        after = [sum(map(cpu_seconds, routers)), cpu_seconds(self.nats), messages(self.monitor)]
        run = json.loads(done.stdout.splitlines()[0])
        if not run["clean"]:
            raise SystemExit(f"nodes.py: {case} {way} was not clean: {run['verified']}")
        router_cpu, nats_cpu, sent = (end - begin for begin, end in zip(before, after))
        checked = run["verified"]["checked"]
        latency = run["call_latency"] or run["event_latency"]
        receivers = run["events"] / run["publications"] if run["publications"] else 1
        return {
            "routers, us": router_cpu / checked * 1e6,
            "NATS, us": nats_cpu / checked * 1e6,
            "p50, us": latency["p50"] / 1e3,
            "messages of NATS a publication or call": sent / (checked / receivers),
        }


def main(stentor, loadtest, nats_server, rounds="5"):
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(stentor, loadtest, nats_server, folder)
        try:
            for title, case in CASES:
                runs = {"alone": [], "apart": []}
                if case[0] == "fanout":
                    runs["NATS"] = []
                for _ in range(int(rounds)):
                    for way, measured in runs.items():
                        measured.append(bed.measure(case, way))
                print(title)
                names = {"alone": "alone", "apart": "at two nodes", "NATS": "NATS alone"}
                for figure in runs["apart"][0]:
                    ways = (f"{names[way]} {shown([run[figure] for run in runs[way]])}" for way in runs)
                    print(f"  {figure}: {', '.join(ways)}", flush=True)
        finally:
            end(bed.processes)


main(*sys.argv[1:])
