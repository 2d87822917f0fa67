#!/usr/bin/env bash
# The recipes of examples/reconnect while their connections are cut; see reconnect.py.
#
# STENTOR_BIN  the router to test             [default: target/release/stentor]
# SEED         of the moments of the cuts     [default: a new one, which is told]
# Needs the clients that tests/clients/run.sh installs, and runs after it. Takes half a minute.
# Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/target/clients/venv/bin/python
export STENTOR_BIN=${STENTOR_BIN:-$root/target/release/stentor}

for needed in "$STENTOR_BIN" "$python" "$root/tests/clients/node_modules/wampy/package.json"; do
    [[ -e $needed ]] || {
        echo "run.sh: $needed is missing: cargo build --release, then tests/clients/run.sh" >&2
        exit 1
    }
done
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/tests/clients/python
export NODE_OPTIONS=--no-deprecation
# autobahn-js uses the WebSocket of Node itself, which Node 20 hides behind a flag.
if node --experimental-websocket -e '' 2>/dev/null; then
    NODE_OPTIONS+=" --experimental-websocket"
fi
exec timeout 240 "$python" "$here/reconnect.py"
