#!/usr/bin/env bash
# Clients without a library, against the real binary: a page in a browser, whose WebSocket is
# compressed, curl, and a backend in PHP; each publishes, calls and listens. Each closes with
# `N passed, N failed`; who is not installed is skipped.
#
# STENTOR_BIN   the router to test     [default: target/release/stentor]
# CHROMIUM      the browser            [default: chromium]
# Starts and stops its own router and browser, on free ports of this machine.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
export CHROMIUM=${CHROMIUM:-chromium}
source "$here/../running.sh"

export ADMIN=127.0.0.1:$(free_port) WEB=127.0.0.1:$(free_port) SCRATCH=$scratch
HASH=$("$bin" keygen token 2>"$scratch/key" | sed -n 's/^token = "\(.*\)"$/\1/p')
KEY=$(sed -n 's/^token: //p' "$scratch/key")
export KEY
cat >"$scratch/stentor.toml" <<END
[admin]
listen = "$ADMIN"
[[listener]]
listen = "$WEB"
deflate = true
[[listener.path]]
path = "/"
files = "$here/site"
[[listener.path]]
path = "/publish"
http = "publish"
realm = "realm1"
role = "web"
[[listener.path]]
path = "/backend"
http = "publish"
realm = "realm1"
[[listener.path.key]]
name = "backend"
hash = "$HASH"
role = "web"
[[listener.path]]
path = "/call"
http = "call"
realm = "realm1"
role = "web"
[[listener.path]]
path = "/events"
http = "events"
realm = "realm1"
role = "web"
[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
role = "web"
[[realm.role]]
name = "web"
[[realm.role.permission]]
uri = "com.example."
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
END
"$bin" --config "$scratch/stentor.toml" 2>"$scratch/router.log" &
router=$!
pids+=("$router")
wait_for "$WEB" "$router" || { cat "$scratch/router.log" >&2 && exit 1; }
: >"$scratch/callee"
python3 "$here/callee.py" "$WEB" >"$scratch/callee" &
pids+=("$!")
for _ in {1..100}; do
    if grep -q ready "$scratch/callee"; then break; fi
    sleep 0.1
done
grep -q ready "$scratch/callee" || { echo "run.sh: nobody answers calls" >&2 && exit 1; }

if command -v curl >/dev/null; then
    "$here/curl.sh"
else
    echo "skipped: there is no curl"
fi
if command -v php >/dev/null; then
    timeout 60 php "$here/backend.php"
else
    echo "skipped: there is no php"
fi
if command -v "$CHROMIUM" >/dev/null; then
    timeout 120 node "$here/page.mjs"
else
    echo "skipped: there is no $CHROMIUM"
fi
