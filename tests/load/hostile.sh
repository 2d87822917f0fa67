#!/usr/bin/env bash
# Hostile clients, kind by kind, beside victims that must not notice much: each against a new router,
# which also serves HTTP on the same port.
#
# STENTOR_BIN   the router to test      [default: target/release/stentor]
# LOADTEST_BIN  the load generator      [default: target/release/stentor-loadtest]
# P99_MS        the bound of their p99   [default: 1000]
# PART          how long one part takes  [default: 2s]
# SETTLE        until memory is judged   [default: 3s]
# DECOY         if it is not empty, the victims are also measured beside attacks on a second router
# All arguments go to the load generator, as in `--kinds http --rounds 5`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
load=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
source "$root/tests/running.sh"

mkdir "$scratch/site"
# More than a socket takes at once.
printf '<!doctype html><p>%0500000d</p>\n' 0 >"$scratch/site/index.html"

# configure NAME LISTEN: a router's configuration, in NAME.toml.
configure() {
    cat >"$scratch/$1.toml" <<END
[[listener]]
listen = "$2"
[[listener.path]]
path = "/"
files = "site"
[[listener.path]]
path = "/publish"
http = "publish"
realm = "realm1"
role = "anonymous"
[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
END
}
# spawn NAME: the command that starts it.
spawn() {
    echo "$bin --config $scratch/$1.toml --log-level error"
}

listen=127.0.0.1:$(free_port)
configure victim "$listen"
decoy=()
if [ -n "${DECOY:-}" ]; then
    second=127.0.0.1:$(free_port)
    configure decoy "$second"
    decoy=(--decoy "rs://$second" --decoy-spawn "$(spawn decoy)")
fi
"$load" hostile --url "rs://$listen" --spawn "$(spawn victim)" "${decoy[@]}" \
    --duration "${PART:-2s}" --warmup 200ms --settle "${SETTLE:-3s}" \
    --max-p99-ms "${P99_MS:-1000}" --max-kept-mib 128 --quiet "$@"
