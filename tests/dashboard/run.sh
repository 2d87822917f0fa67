#!/usr/bin/env bash
# The dashboard in a browser, against a real router under load. Closes with `N passed, N failed`.
#
# STENTOR_BIN   the router to test     [default: target/release/stentor]
# LOADTEST_BIN  the load generator     [default: target/release/stentor-loadtest]
# CHROMIUM      the browser            [default: chromium]
# PICTURES      where pictures go      [default: target/dashboard]
# Starts and stops its own router, load and browser, on free ports of this machine.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export STENTOR_BIN=${STENTOR_BIN:-$root/target/release/stentor}
export LOADTEST_BIN=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
export CHROMIUM=${CHROMIUM:-chromium} PICTURES=${PICTURES:-$root/target/dashboard}
source "$here/../running.sh"

command -v "$CHROMIUM" >/dev/null || {
    echo "run.sh: $CHROMIUM is missing: install the package chromium" >&2
    exit 1
}
mkdir -p "$PICTURES"
export ADMIN=127.0.0.1:$(free_port) WAMP=127.0.0.1:$(free_port) SCRATCH=$scratch
cat >"$scratch/stentor.toml" <<END
shards = 2
[[listener]]
listen = "$WAMP"
[admin]
listen = "$ADMIN"
token_file = "$scratch/token"
environment = "staging"
color = "#8a5300"
[output]
soft_ms = 4000
[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
[[realm.authenticator]]
method = "ticket"
users = "users.toml"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.role]]
name = "viewer"
[[realm.role.permission]]
uri = "com.example."
match = "prefix"
allow = ["subscribe"]
[[realm.role.permission]]
uri = "com.example.secret."
match = "prefix"
deny = ["subscribe"]
[[realm.history]]
topic = "com.example.log."
match = "prefix"
END
(umask 077 && "$STENTOR_BIN" keygen ticket joe --role anonymous \
    >"$scratch/users.toml" 2>"$scratch/ticket.said")
sed 's/"joe"/"<img src=x onerror=window.hacked=1>"/' -i "$scratch/users.toml"
TICKET=$(sed -n 's/^ticket: //p' "$scratch/ticket.said")
(umask 077 && "$STENTOR_BIN" keygen ticket sleepy --role viewer \
    >>"$scratch/users.toml" 2>"$scratch/ticket.said")
SLEEPY_TICKET=$(sed -n 's/^ticket: //p' "$scratch/ticket.said")
export TICKET SLEEPY_TICKET
"$STENTOR_BIN" --config "$scratch/stentor.toml" 2>"$PICTURES/router.log" &
export ROUTER_PID=$!
pids+=("$ROUTER_PID")
wait_for "$ADMIN" "$ROUTER_PID"

timeout 300 node "$here/tests.mjs"
