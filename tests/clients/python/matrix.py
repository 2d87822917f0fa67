"""Runs every test with autobahn-python over each transport and serializer."""

import asyncio
import sys

import autobahn

import calls
import permissions
import pubsub
import sessions
from check import Report
from connect import FORMS, SERIALIZERS, TRANSPORTS, UNIX_PATH, Cell
from nodes import PORTS, spread_out

TESTS = sessions.TESTS + pubsub.TESTS + calls.TESTS + permissions.TESTS


async def main():
    report = Report()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    # How frames are made is the affair of a client and its node.
    transports = TRANSPORTS if len(PORTS) > 1 else (*TRANSPORTS, *FORMS)
    cells = [Cell(transport, serializer) for transport in transports for serializer in SERIALIZERS]
    if UNIX_PATH:
        cells.append(Cell("rawsocket", "cbor", unix=True))
    for cell in cells:
        for test in TESTS:
            if wanted in f"{cell.name} {test.__name__}":
                name = f"autobahn-python {cell.name} {test.__name__}"
                await report.run(name, spread_out(test, cell))
                cell.tests += 1
                await report_close(report, cell, name)
        if cell.tests:
            version = f"autobahn-python {autobahn.__version__}"
            print(f"{version} {cell.name}: {cell.tests} tests", flush=True)
    return report.close()


async def report_close(report, cell, name):
    """Sessions that cannot leave are a failure of their own."""
    try:
        await cell.close()
    except Exception as fault:
        report.failed += 1
        cell.sessions.clear()
        print(f"FAIL {name}, leaving: {fault!r}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
