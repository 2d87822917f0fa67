#!/usr/bin/env bash
# Builds the book of docs/, follows its links, and does what its pages say; see README.md.
#
# STENTOR_BIN  the router to test        [default: target/release/stentor]
# MDBOOK       mdBook, version 0.5       [default: mdbook; without it the book is not built]
# Arguments are pages to run             [default: all, and the book]
# Needs the clients that tests/clients/run.sh installs, and Linux for its namespaces: each page has
# a network and directories of its own. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
mdbook=${MDBOOK:-mdbook}
clients=$root/target/clients/venv/bin

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[[ -x $bin ]] || fail "$bin is missing: cargo build --release"
[[ -x $clients/python && -d $root/tests/clients/node_modules ]] ||
    fail "the clients are missing: tests/clients/run.sh installs them"
command -v unshare >/dev/null || fail "unshare is missing: install util-linux"

if (($# > 0)); then
    echo "not built: pages are named"
elif command -v "$mdbook" >/dev/null; then
    rm -rf "$root/target/book"
    "$mdbook" build "$root/docs" 2>&1 | tee "$root/target/mdbook.log"
    if grep -q -E 'WARN|ERROR' "$root/target/mdbook.log"; then
        fail "mdBook warns"
    fi
    python3 "$here/links.py" "$root/target/book"
else
    echo "skipped: the book is not built, as there is no mdbook (cargo install mdbook)"
fi

# As somebody else than root, as the root of a namespace.
user=$([[ $(id -u) == 0 ]] || echo --map-root-user)
# autobahn-js uses the WebSocket of Node itself, which Node 20 hides behind a flag.
NODE_OPTIONS=--no-deprecation
if node --experimental-websocket -e '' 2>/dev/null; then
    NODE_OPTIONS+=" --experimental-websocket"
fi
export NODE_OPTIONS STENTOR_BIN=$bin PATH=$clients:$PATH PYTHONDONTWRITEBYTECODE=1
apart="unshare --net --pid --mount-proc --fork --kill-child $user"
$apart true || fail "no namespaces can be made here: run it as root, or where users may make them"
exec python3 "$here/run.py" "$apart" "$@"
