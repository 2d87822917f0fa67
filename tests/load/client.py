"""What the Rust client costs beside raw sockets: CPU time of the receiving or calling process for
each event or call, of clients that are `stentor-client`, and of those of the load generator, which
writes and reads frames on sockets and does nothing else. What its publisher costs is measured with
one receiver, and left out.

client.py STENTOR LOADTEST OVERHEAD [ROUNDS]: a router, the load generator, and the example `overhead`
of the client, all built for release. All are started on free ports of this machine, and ended. The
ways are measured in turn, ROUNDS times (5); printed are the medians, and their spread.
"""

import json
import os
import subprocess
import sys

from measuring import cpu_seconds, end, free_port, shown, start, wait_for

SECONDS = 4
RECEIVERS = ((50, 1_000), (5, 10_000))  # and publications a second
CALLERS = (1, 10)
CALLS = 20_000


def used(usage):
    return usage.ru_utime + usage.ru_stime


class Bed:
    def __init__(self, stentor, loadtest, overhead):
        self.loadtest, self.overhead = loadtest, overhead
        port = free_port()
        self.router = start(stentor, "--listen", f"127.0.0.1:{port}", "--log-level", "error")
        wait_for(port, self.router)
        self.url = f"ws://127.0.0.1:{port}/ws"

    def generate(self, *arguments):
        """The report of a run of the load generator."""
        command = [self.loadtest, *arguments, "--url", self.url, "--duration", f"{SECONDS}s"]
        command += ["--warmup", "1s", "--serializer", "cbor", "--json", "-", "--quiet"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        run = json.loads(done.stdout.splitlines()[0])
        if not run["clean"]:
            raise SystemExit(f"client.py: {arguments} was not clean: {run['verified']}")
        return run

    def with_client(self, what, uri, clients, count, meanwhile):
        """CPU time of the example from when it is ready to its end."""
        command = [self.overhead, what, self.url, uri, str(clients), str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "ready\n":
            raise SystemExit("client.py: the example does not begin")
        before = cpu_seconds(process)
        meanwhile()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"client.py: the example has failed: {status}")
        return (used(usage) - before) / count

    def events(self, receivers, rate):
        paced = ["fanout", "--rate", str(rate)]
        one, more = (self.generate(*paced, "-n", str(n)) for n in (1, receivers + 1))
        cpu = more["generator"]["cpu_s"] - one["generator"]["cpu_s"]
        raw = cpu / (more["events"] - one["events"])
        # What they do not take any more has been published when the generator ends.
        count = receivers * rate * (SECONDS - 1)
        publish = lambda: self.generate(*paced, "-n", "1")
        return raw, self.with_client("events", "loadtest.topic", receivers, count, publish)

    def calls(self, callers):
        run = self.generate("rpc", "-c", str(callers), "-k", "1", "--depth", "1")
        raw = run["generator"]["cpu_s"] / run["calls"]
        return raw, self.with_client("calls", "com.example.echo", callers, CALLS, lambda: None)


def main(stentor, loadtest, overhead, rounds="5"):
    bed = Bed(stentor, loadtest, overhead)
    try:
        title = "an event of 128 B, {} receivers at {}/s"
        cases = [(title.format(*case), bed.events, case) for case in RECEIVERS]
        cases += [(f"a call of 128 B and its answer, {n} callers", bed.calls, (n,)) for n in CALLERS]
        for title, measure, case in cases:
            runs = [measure(*case) for _ in range(int(rounds))]
            ways = zip(("raw sockets", "stentor-client"), zip(*runs))
            print(f"{title}, us: {', '.join(f'{way} {shown(values, 1e6)}' for way, values in ways)}", flush=True)
    finally:
        end([bed.router])


main(*sys.argv[1:])
