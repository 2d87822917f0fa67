"""Runs a component as systemd does, and prints the first thing that it says of itself.

usage: notified.py run_component.py component.json
"""

import os
import socket
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder, socket.socket(
    socket.AF_UNIX, socket.SOCK_DGRAM
) as heard:
    heard.bind(f"{folder}/notify")
    heard.settimeout(30)
    environment = dict(os.environ, NOTIFY_SOCKET=f"{folder}/notify")
    with subprocess.Popen(
        [sys.executable, *sys.argv[1:]], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            print(heard.recv(4096).decode())
        finally:
            process.terminate()
