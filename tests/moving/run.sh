#!/usr/bin/env bash
# Nodes of crossbar move, as docs/moving-from-crossbar.md says, with their components and their
# clients unchanged: see clients.mjs. Each is written anew here in the shape of many: a shop with a
# page, an HTTP publisher and a ticket authenticator as a component; a board on a universal port with
# a container; an office with salted passwords and secrets of the environment; works with a slow
# authorizer and what it decides about, by a Unix socket.
#
# STENTOR_BIN  the router to test  [default: target/release/stentor]
# Needs the clients that tests/clients/run.sh installs, and runs after it. Takes some seconds.
# Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
venv=$root/target/clients/venv
source "$root/tests/running.sh"
source "$here/units.sh"

for needed in "$bin" "$venv/bin/python" "$root/tests/clients/node_modules/autobahn/package.json"; do
    [[ -e $needed ]] || {
        echo "run.sh: $needed is missing: cargo build --release, then tests/clients/run.sh" >&2
        exit 1
    }
done
export PYTHONDONTWRITEBYTECODE=1 NODE_OPTIONS=--no-deprecation

# check WHAT STATUS: a test of this script itself.
check() {
    if (($2 == 0)); then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1"
        failed=$((failed + 1))
    fi
}

# another CLASS: the unit of works.Main, for another class of it.
another() {
    local name=${1,,} etc=$scratch/works/stentor
    sed "s/works\.Main/works.$1/" "$etc/main.json" >"$etc/$name.json"
    sed "s|/main\.json|/$name.json|" "$etc/wamp-main.service" >"$etc/other-$name"
    echo "$etc/other-$name"
}

passed=0 failed=0
# What crossbar has in its environment.
export APP_TICKET=pencil-7 CARL_SECRET=lead DORA_SECRET='re"d $ink'
for node in shop board office works; do
    folder=$scratch/$node
    mkdir -p "$folder/.crossbar" "$folder/web"
    cp "$here/$node"/config.* "$folder/.crossbar"
    cp "$here/$node"/*.py "$folder" 2>/dev/null || true
    echo "<!doctype html><p>$node</p>" >"$folder/web/index.html"
    PORT=$(free_port)
    export PORT
    "$bin" config import-crossbar "$folder"/.crossbar/config.* --out "$folder/stentor" \
        2>"$folder/notes"
    # Without the rights for the directory of a service.
    sed -i "s|/run/stentor/|$folder/|" "$folder/stentor"/*
    (
        if [[ -e $folder/stentor/secrets.env ]]; then
            set -a
            source "$folder/stentor/secrets.env"
            set +a
        fi
        "$bin" check "$folder/stentor/stentor.toml" >"$folder/checked" 2>&1
        exec "$bin" --config "$folder/stentor/stentor.toml" >"$folder/log" 2>&1
    ) &
    pids+=("$!")
    wait_for "127.0.0.1:$PORT" "$!" || { cat "$folder/notes" "$folder/checked" "$folder/log" && exit 1; }
    for unit in "$folder/stentor"/*.service; do
        [[ ! -e $unit ]] || start_component "$unit" || failed=$((failed + 1))
    done
    status=0
    said=$(timeout 60 node "$here/clients.mjs" "$node") || status=$?
    echo "$said"
    passed=$((passed + $(grep -c '^ok' <<<"$said" || true)))
    if ((status != 0)); then
        echo "FAIL $node: status $status"
        failed=$((failed + 1))
        tail -n 20 "$folder/notes" "$folder/log" "$folder/stentor"/*.log 2>/dev/null || true
    fi
done
# What cannot begin ends with an error, to be started anew; what never comes to its end in onJoin is
# ready all the same.
broken=$(another Broken) status=0
timeout 30 bash -c "$(declare -f run_unit); venv=$venv run_unit $broken" || status=$?
check "a component whose onJoin fails ends with an error" $((status != 1))
check "and is not ready before" "$(test ! -e "$broken.ready" && echo 0 || echo 1)"
start_component "$(another Restless)" && status=0 || status=1
check "a component that works in onJoin for ever is ready" "$status"
# systemd hears it, too.
said=$(cd "$scratch/works" && PATH="$venv/bin:$PATH" PYTHONPATH=$scratch/works timeout 60 \
    python "$here/notified.py" "$scratch/works/stentor/run_component.py" \
    "$scratch/works/stentor/restless.json")
check "and says so as systemd wants it" "$([[ $said == READY=1 ]] && echo 0 || echo 1)"
for private in main.json main.env; do
    mode=$(stat -c %a "$scratch/works/stentor/$private")
    check "$private is private" "$([[ $mode == 600 ]] && echo 0 || echo 1)"
done
echo "$passed passed, $failed failed"
((failed == 0))
