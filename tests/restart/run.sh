#!/usr/bin/env bash
# A router is restarted under load, and then two behind a balancer one after the other: nothing that
# was acknowledged or answered is lost. See restart.py.
#
# STENTOR_BIN  the router to test  [default: target/release/stentor]
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
timeout 180 "$python" "$here/restart.py"
