#!/usr/bin/env bash
# Hostile clients, kind by kind, beside victims that must not notice much: each against a new router,
# which also serves HTTP on the same port.
#
# STENTOR_BIN   the router to test      [default: target/release/stentor]
# LOADTEST_BIN  the load generator      [default: target/release/stentor-loadtest]
# P99_MS        the bound of their p99   [default: 1000]
# All arguments go to the load generator, as in `--kinds http`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
load=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
source "$root/tests/running.sh"

listen=127.0.0.1:$(free_port)
mkdir "$scratch/site"
# More than a socket takes at once.
printf '<!doctype html><p>%0500000d</p>\n' 0 >"$scratch/site/index.html"
cat >"$scratch/stentor.toml" <<END
[[listener]]
listen = "$listen"
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
"$load" hostile --url "rs://$listen" --spawn "$bin --config $scratch/stentor.toml --log-level error" \
    --duration 2s --settle 3s --max-p99-ms "${P99_MS:-1000}" --max-kept-mib 128 --quiet "$@"
