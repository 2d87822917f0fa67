#!/usr/bin/env bash
# Stentor's client and its shell against a router of others: crossbar, as it comes, with node.json.
#
# STENTOR_BIN  the command             [default: target/release/stentor]
# PYTHON       Python 3.11 or later    [default: that of tests/clients/run.sh, else python3]
# Installs crossbar, at the version pinned here, where it is missing. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/foreign/venv
bin=${STENTOR_BIN:-$root/target/release/stentor}
source "$here/../running.sh"

[[ -x $bin ]] || {
    echo "run.sh: $bin is missing: cargo build --release, or set STENTOR_BIN" >&2
    exit 1
}
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python=$root/target/clients/venv/bin/python
    [[ -x $python ]] || python=python3
    "${PYTHON:-$python}" -m venv "$venv"
    timeout 900 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
(cd "$root" && cargo test --quiet --workspace --locked --test foreign --no-run)

ws=$(free_port)
rs=$(free_port)
mkdir -p "$scratch/node"
auth=$(<"$here/auth.json")
node=$(<"$here/node.json")
node=${node//\"\$AUTH\"/$auth}
node=${node//\"\$WS_PORT\"/$ws}
node=${node//\"\$RS_PORT\"/$rs}
printf '%s\n' "$node" >"$scratch/node/config.json"
cd "$scratch"
"$venv/bin/crossbar" start --cbdir "$scratch/node" >"$scratch/crossbar.log" 2>&1 &
crossbar=$!
pids+=("$crossbar")
# It starts a process for each worker, and takes its time.
for _ in {1..6}; do
    if wait_for "127.0.0.1:$rs" "$crossbar" 2>/dev/null; then break; fi
done
wait_for "127.0.0.1:$rs" "$crossbar" || {
    tail -n 40 "$scratch/crossbar.log" >&2
    exit 1
}

export STENTOR_FOREIGN_WS=ws://127.0.0.1:$ws/ STENTOR_FOREIGN_RS=rs://127.0.0.1:$rs
status=0
(cd "$root" && timeout 300 cargo test --quiet --workspace --locked --test foreign -- \
    --ignored --test-threads 1 2>&1) | tee "$scratch/client.log" || status=1
passed=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$scratch/client.log")
failed=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$scratch/client.log")
passed=${passed:-0} failed=${failed:-1}

# check NAME EXPECTED COMMAND...: what the command prints is what is expected.
check() {
    local name=$1 expected=$2 said
    shift 2
    if said=$(timeout 60 "$@" 2>&1) && [[ $said == $expected ]]; then
        passed=$((passed + 1))
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name: $said"
    fi
}
unset "${!STENTOR_@}"
export STENTOR_REALM=realm1
for url in "ws://127.0.0.1:$ws/" "rs://127.0.0.1:$rs"; do
    export STENTOR_URL=$url
    scheme=${url%%:*}
    "$bin" register "com.shell.$scheme" --exec cat \
        >"$scratch/register.log" 2>&1 &
    pids+=($!)
    "$bin" sub "com.shell.$scheme" --count 1 --json >"$scratch/sub.$scheme" 2>"$scratch/sub.log" &
    sub=$!
    sleep 1
    check "$scheme: ping" '*1 measured*' "$bin" ping --count 1
    check "$scheme: call a command" '*"args":?5,"5"?*' "$bin" call "com.shell.$scheme" 5 '"5"'
    check "$scheme: call a meta procedure" '[1-9]*' "$bin" call wamp.session.count
    check "$scheme: publish with an acknowledgment" '*' "$bin" pub "com.shell.$scheme" 1 '{"a":2}'
    wait "$sub" || true
    check "$scheme: subscribe" '*"args":?1,{"a":2}]*' cat "$scratch/sub.$scheme"
    check "$scheme: latency" '*p99*' "$bin" latency --count 20
done
echo "$passed passed, $failed failed"
[[ $failed = 0 && $status = 0 ]]
