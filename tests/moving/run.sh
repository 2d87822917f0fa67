#!/usr/bin/env bash
# Nodes of crossbar move, as docs/moving-from-crossbar.md says, with their components and their
# clients unchanged: see clients.mjs. Each is written anew here in the shape of many: a shop with a
# page, an HTTP publisher and a ticket authenticator as a component; a board on a universal port with
# a container; an office with salted passwords.
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

for needed in "$bin" "$venv/bin/python" "$root/tests/clients/node_modules/autobahn/package.json"; do
    [[ -e $needed ]] || {
        echo "run.sh: $needed is missing: cargo build --release, then tests/clients/run.sh" >&2
        exit 1
    }
done
export PYTHONDONTWRITEBYTECODE=1 NODE_OPTIONS=--no-deprecation

# start_component UNIT: what its unit starts, with what it says of the environment.
start_component() {
    local unit=$1 line environment=() command
    while read -r line; do environment+=("$line"); done < <(sed -n 's/^Environment=//p' "$unit")
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    # As the unit has it, with the Python that has autobahn and Twisted.
    # shellcheck disable=SC2086
    env "${environment[@]}" PATH="$venv/bin:$PATH" $command >"$unit.log" 2>&1 &
    pids+=("$!")
}

passed=0 failed=0
for node in shop board office; do
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
        fi
        "$bin" check "$folder/stentor/stentor.toml" >"$folder/checked" 2>&1
        exec "$bin" --config "$folder/stentor/stentor.toml" >"$folder/log" 2>&1
    ) &
    pids+=("$!")
    wait_for "127.0.0.1:$PORT" "$!" || { cat "$folder/notes" "$folder/checked" "$folder/log" && exit 1; }
    for unit in "$folder/stentor"/*.service; do
        [[ ! -e $unit ]] || start_component "$unit"
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
echo "$passed passed, $failed failed"
((failed == 0))
