#!/usr/bin/env bash
# Four of crossbar's own examples move, by the blocks of commands in docs/moving-from-crossbar.md:
# a component in Python with a page, a guest in Node.js with a page, and two pages that call each
# other, twice, by a `web` and by a `universal` transport. The examples are those that old packages
# of crossbar have for `crossbar init`, with another port. Their programs and pages are as they
# were, and so is the library in the pages: where they load it from its makers' host, they get the
# build that the later package has. The guest gets the packages that its package.json asks for, of
# its time; the component runs on autobahn and Twisted of today.
#
# STENTOR_BIN  the router to test  [default: target/release/stentor]
# CHROMIUM     the browser         [default: chromium]
# Needs the clients that tests/clients/run.sh installs, and runs after it; fetches the packages of
# wheels.txt from Python's package index once, and those of guest-lock.json with npm. Takes less
# than a minute. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
venv=$root/target/clients/venv
wheels=$root/target/clients/wheels
export CHROMIUM=${CHROMIUM:-chromium} PYTHONDONTWRITEBYTECODE=1
source "$root/tests/running.sh"
source "$here/../units.sh"
source "$here/guide.sh"

fail() {
    echo "run.sh: $*" >&2
    exit 1
}
command -v "$CHROMIUM" >/dev/null || fail "$CHROMIUM is missing: install the package chromium"
for needed in "$bin" "$venv/bin/python"; do
    [[ -e $needed ]] || fail "$needed is missing: cargo build --release, then tests/clients/run.sh"
done

# wheel VERSION: where the package of that version lies, with the contents that wheels.txt has.
wheel() {
    local file="$wheels/crossbar-$1-py2.py3-none-any.whl" hash
    hash=$(sed -n "s/^crossbar==$1 --hash=sha256://p" "$here/wheels.txt")
    if ! sha256sum --check --status <<<"$hash  $file" 2>/dev/null; then
        rm -f "$file"
        echo "crossbar==$1 --hash=sha256:$hash" >"$scratch/wanted"
        timeout 120 "$venv/bin/python" -m pip download --quiet --disable-pip-version-check \
            --no-deps --only-binary :all: --require-hashes --dest "$wheels" \
            -r "$scratch/wanted" >&2 ||
            fail "crossbar $1 cannot be had from Python's package index, and is not in $wheels"
    fi
    echo "$file"
}

# check WHAT STATUS: a test of this script itself.
check() {
    if (($2 == 0)); then
        echo "ok   $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1"
        failed=$((failed + 1))
    fi
}

# holds COMMAND...: 0 or 1, for `check`.
holds() { "$@" >/dev/null 2>&1 && echo 0 || echo 1; }

# said_of NAME WORDS...: the import says that much and no more, and the guide knows all of it.
said_of() {
    local name=$1 word
    shift
    check "$name: the import says $# things" "$(holds test "$(grep -c '^  --> ' notes)" = $#)"
    for word in "$@"; do
        check "$name: it names \`$word\`" "$(holds grep -F "$word" notes)"
        check "$name: the guide knows \`$word\`" \
            "$(holds grep -F "$word" "$root/docs/moving-from-crossbar.md")"
    done
}

# A line of a process's log, for ten seconds at most.
wait_for_line() {
    local turn
    for ((turn = 0; turn < 100; turn++)); do
        if grep -qsF "$2" "$1"; then return; fi
        sleep 0.1
    done
    cat "$1" >&2 || true
    fail "$1 never said: $2"
}

# make_node NAME WHEEL TEMPLATE [name=value ...]: what `crossbar init` makes of a template in a
# directory of that name, for a port that is free; `url` is a parameter of some.
make_node() {
    port=$(free_port) trial=$(free_port)
    "$venv/bin/python" "$here/make.py" "$2" "$3" "$scratch/$1" "${@:4}" \
        "url=ws://127.0.0.1:$port/ws"
    sed -i "s/8080/$port/g" "$scratch/$1/.crossbar/config.json"
}

# move NAME BACKEND: the node that was made last; its backend is a page, or a log. Its pages are left
# open while others move, see `seen`.
move() {
    local name=$1 backend=$2 said
    etc=$scratch/$name.etc run=$scratch/$name.run linked=$scratch/$name.units
    mkdir "$linked"
    cd "$scratch/$name"

    step 1
    # Step 1: the Python of the components, which the tests have already.
    sed -i "/import-crossbar/ s|\$| --python $venv/bin/python|" "$scratch/step"
    source "$scratch/step" >"$scratch/said" 2>notes || { cat notes >&2 && return 1; }
    step 2
    source "$scratch/step"
    step 3
    source "$scratch/step" >"$scratch/said"
    check "$name: it would run" "$(holds grep -q "$port" "$scratch/said")"
    said=$(stentor explain call com.example.add2 --role anonymous --config "$etc/stentor.toml")
    check "$name: a stranger may call" "$(holds grep -q ^allowed: <<<"$said")"

    step 4
    (source "$scratch/step") 2>"$scratch/$name.trial" &
    pids+=("$!")
    wait_for "127.0.0.1:$trial" "$!" || { cat "$scratch/$name.trial" >&2 && return 1; }
    check "$name: its page comes from the trial, too" "$(holds "$venv/bin/python" -c '
import sys, urllib.request
page = urllib.request.urlopen(sys.argv[1], timeout=20).read()
sys.exit(page != open("web/index.html", "rb").read())' "http://127.0.0.1:$trial/")"
    kill "${pids[-1]}" && wait "${pids[-1]}"

    step 5
    source "$scratch/step"
    if [[ $backend == *.log ]]; then
        wait_for_line "$linked/$backend" "procedure add2() registered"
        backend=$linked/$backend
    fi
    SCRATCH=$scratch PORT=$port AUTOBAHN=$scratch/later/web/js/autobahn.min.js \
        timeout 200 node "$here/pages.mjs" "$name" "$backend" >"$scratch/$name.pages" 2>&1 &
    pids+=("$!")
    pages[$name]=$!
}

# seen NAME: what came of its pages.
seen() {
    local status=0
    wait "${pages[$1]}" || status=$?
    cat "$scratch/$1.pages"
    passed=$((passed + $(grep -c '^ok' "$scratch/$1.pages" || true)))
    failed=$((failed + $(grep -c '^FAIL' "$scratch/$1.pages" || true)))
    if ((status != 0)); then check "$1: its pages (status $status)" 1; fi
}

passed=0 failed=0
declare -A pages
old=$(wheel 16.10.1)
later=$(wheel 17.12.1)
"$venv/bin/python" "$here/make.py" "$later" default "$scratch/later"
common=('wamp.session.kill' '16 MiB')

make_node python "$old" hello/python
move python wamp-appsession.service.log
said_of python "${common[@]}" 'run_component.py' 'environment'

make_node nodejs "$old" hello/nodejs appname=hello realm=realm1
# What `npm install` put there in its time: today it puts a `ws` there that this AutobahnJS
# cannot use.
cp "$here/guest-lock.json" "$scratch/nodejs/package-lock.json"
(cd "$scratch/nodejs" && timeout 120 npm ci --no-audit --no-fund --loglevel=error >&2) ||
    fail "the guest's packages cannot be had from npm's registry"
move nodejs wamp-node.service.log
said_of nodejs "${common[@]}" 'watch' 'environment'

make_node browser "$old" hello/browser realm=realm1
move browser backend.html
said_of browser "${common[@]}"

make_node default "$later" default
move default backend.html
said_of default "${common[@]}"
check "default: RawSocket on the same port" "$(holds "$venv/bin/python" -c '
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as client:
    client.sendall(b"\x7f\xf1\0\0")
    answer = client.recv(4, socket.MSG_WAITALL)
sys.exit(answer[0] != 0x7F or answer[1] & 15 != 1)' "$port")"
for name in python nodejs browser default; do seen "$name"; done
echo "$passed passed, $failed failed"
((failed == 0))
