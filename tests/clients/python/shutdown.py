"""Leaves clients of every kind in silence, then stops the router: each must be told why.

None may be lost before, so all must have answered the router's pings where it sent them.

Usage: shutdown.py PID, the router's; run it last.
"""

import asyncio
import os
import signal
import sys

from check import Report, check
from connect import SERIALIZERS, TRANSPORTS, UNIX_PATH, Cell

WAIT_JS = os.path.join(os.path.dirname(__file__), "..", "js", "shutdown.mjs")
START_TIMEOUT_S = 30
SHUTDOWN = "wamp.close.system_shutdown"
# The time in which the router pings a silent client and gives up waiting for an answer.
PINGS_WITHIN_S = float(os.environ.get("ROUTER_PINGS_WITHIN_S", "0"))


async def told(session):
    details = await session.left
    check(details.reason, SHUTDOWN, "reason of GOODBYE")
    await session.lost


async def main(pid):
    report = Report()
    command = ["node", WAIT_JS]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
    check(line.strip(), b"ready", "first line of the JavaScript clients")

    cells = [Cell(transport, serializer) for transport in TRANSPORTS for serializer in SERIALIZERS]
    if UNIX_PATH:
        cells.append(Cell("rawsocket", "cbor", unix=True))
    sessions = [await cell.join() for cell in cells]
    await asyncio.sleep(PINGS_WITHIN_S + 1)
    os.kill(pid, signal.SIGTERM)
    for cell, session in zip(cells, sessions):
        await report.run(f"autobahn-python {cell.name} shutdown", told(session))
    output, _ = await asyncio.wait_for(process.communicate(), START_TIMEOUT_S)
    print(output.decode(), end="")
    return report.close() or process.returncode


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]))))
