#!/usr/bin/env bash
# Real routers as nodes of a cluster, through a real nats-server, with real clients.
#
# PYTHON   Python 3, with venv              [default: python3]
# Installs nats-server, at the version pinned here, where it is missing. The tests start and stop
# their own servers and routers, on free ports of this machine. Further arguments go to the tests.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/tests/cluster/needs.sh"
provide_nats

cd "$root"
# However long the build takes, the tests have their time.
build_with_clusters
exec timeout 2000 cargo test --locked --features cluster --test cluster -- \
    --ignored --test-threads 1 "$@"
