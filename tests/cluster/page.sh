#!/usr/bin/env bash
# Does what docs/cluster.md says, with a real nats-server; see tests/book/README.md.
#
# STENTOR_BIN  the router to test, with clusters  [default: target/debug/stentor, which is built]
# Needs what tests/book/run.sh needs. Closes with `N passed, N failed`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/tests/cluster/needs.sh"
provide_nats
[[ -n ${STENTOR_BIN:-} ]] || build_with_clusters
export STENTOR_BIN=${STENTOR_BIN:-$root/target/debug/stentor}
PATH=$(dirname "$STENTOR_NATS_SERVER"):$PATH exec "$root/tests/book/run.sh" docs/cluster.md
