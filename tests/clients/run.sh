#!/usr/bin/env bash
# End-to-end tests with clients as people use them, against the real binary; see README.md.
#
# STENTOR_BIN  the router to test         [default: target/release/stentor]
# PYTHON       Python 3.11 or later       [default: python3, or python3.11 and so on]
# CHROMIUM     a browser for the page     [default: chromium, if there is one]
# STENTOR_WRITE_DOCS=1 writes docs/clients-tested.md, of what has passed; else it must be that.
# Installs the clients, at the versions pinned here, where they are missing. Starts and stops its
# own routers, on free ports of this machine. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/clients
venv=$work/venv
bin=${STENTOR_BIN:-$root/target/release/stentor}
source "$here/../running.sh"

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

# autobahn-python needs 3.11; the `python3` of a system may be older than others beside it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    fail "Python 3.11 or later is missing; PYTHON may name one"
}

install_python() {
    local stamp=$venv/installed.txt
    if cmp -s "$here/requirements.txt" "$stamp"; then return; fi
    "$python" -m venv "$venv"
    timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
}

install_javascript() {
    local stamp=$here/node_modules/installed.json
    if cmp -s "$here/package-lock.json" "$stamp"; then return; fi
    (cd "$here" && timeout 600 npm ci --omit=optional --loglevel=error)
    cp "$here/package-lock.json" "$stamp"
}

# start_router NAME PORT TLS_PORT REQUEST_IDS: sets router_pid.
start_router() {
    local name=$1 port=$2 tls_port=$3 request_ids=$4
    cat >"$scratch/$name.toml" <<EOF
[output]
# Not the ABORT before a close: Node's WebSocket forgets what is compressed when a close is behind.
deflate_min_bytes = 256
[[listener]]
listen = "127.0.0.1:$port"
paths = ["/ws"]
deflate = true
[[listener.path]]
path = "/longpoll"
http = "longpoll"
sent_status = 204
[[listener]]
listen = "127.0.0.1:$tls_port"
paths = ["/ws"]
deflate = true
[[listener.tls]]
certificate = "$scratch/cert.pem"
key = "$scratch/key.pem"
[[listener.path]]
path = "/longpoll"
http = "longpoll"
sent_status = 204
[[listener]]
listen = "unix:$scratch/$name.sock"
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
[[realm]]
name = "disclosing"
publisher_disclosure = "always"
caller_disclosure = "always"
[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm]]
name = "restricted"
[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = "org.open."
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.role.permission]]
uri = "wamp.session.count"
allow = ["call"]
[timeouts]
ping_interval_ms = 1000
ping_timeout_ms = 2000
[protocol]
request_ids = "$request_ids"
EOF
    launch "$name" "$port"
}

# start_logins PORT: a router with the users of docs/authentication and some more; sets router_pid,
# LOGIN_KEY, LOGIN_TICKET, AUTHENTICATOR_TICKET, TOKEN, and what add_authorized does.
start_logins() {
    local port=$1 users=$scratch/users.toml
    (umask 077 && "$CLIENTS_PYTHON" "$here/python/docs.py" users >"$users")
    LOGIN_KEY=$("$bin" keygen cryptosign keyed --role user 2>&1 >>"$users")
    LOGIN_KEY=${LOGIN_KEY#private key: }
    LOGIN_TICKET=$("$bin" keygen ticket robot --role user 2>&1 >>"$users")
    LOGIN_TICKET=${LOGIN_TICKET#ticket: }
    AUTHENTICATOR_TICKET=$(umask 077 && "$bin" keygen ticket authenticator --role authenticator \
        2>&1 >"$scratch/authenticators.toml")
    AUTHENTICATOR_TICKET=${AUTHENTICATOR_TICKET#ticket: }
    printf '[[user]]\nauthid = "jim"\nrole = "user"\nwampcra = "${JIM_SECRET}"\n' >>"$users"
    cat >"$scratch/logins.toml" <<EOF
[[listener]]
listen = "127.0.0.1:$port"
[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
EOF
    local method
    # The router's key of docs/authentication/cryptosign.md.
    (umask 077 && printf '07%.0s' {1..32} >"$scratch/router.key")
    for method in ticket wampcra wamp-scram cryptosign; do
        printf '[[realm.authenticator]]\nmethod = "%s"\nusers = "users.toml"\n' "$method"
    done >>"$scratch/logins.toml"
    printf 'router_key = "router.key"\n' >>"$scratch/logins.toml"
    cat >>"$scratch/logins.toml" <<'EOF'
[[realm.authenticator]]
method = "ticket"
role = "user"
[realm.authenticator.jwt]
secret = "${JWT_SECRET}"
issuer = "https://login.example.org"
audience = "wamp"
EOF
    local jwt_secret
    jwt_secret=$("$CLIENTS_PYTHON" -c 'import secrets; print(secrets.token_hex(32))')
    TOKEN=$(JWT_SECRET=$jwt_secret "$CLIENTS_PYTHON" "$here/python/tokens.py")
    local role
    for role in anonymous user; do
        printf '[[realm.role]]\nname = "%s"\n[[realm.role.permission]]\n' "$role"
        printf 'uri = ""\nmatch = "prefix"\nallow = ["publish", "subscribe", "call", "register"]\n'
    done >>"$scratch/logins.toml"
    # The realms of dynamic.md: `shop` and `auth`.
    "$CLIENTS_PYTHON" "$here/python/docs.py" realms >>"$scratch/logins.toml"
    add_authorized
    # The tests fail more often than anybody should be allowed to.
    printf '[limits]\nlogin_failures_per_address = 0\nlogin_failures_per_authid = 0\n' \
        >>"$scratch/logins.toml"
    JIM_SECRET=pencil JWT_SECRET=$jwt_secret launch logins "$port"
}

# add_authorized: the realm of python/authorization.py, whose visitors an authorizer decides about;
# sets AUTHORIZER_TICKET, BACKEND_TICKET and ANN_TICKET.
add_authorized() {
    AUTHORIZER_TICKET=$(add_member authorizer authorizer)
    BACKEND_TICKET=$(add_member backend backend)
    ANN_TICKET=$(add_member ann visitor)
    cat >>"$scratch/logins.toml" <<'EOF'
[[realm]]
name = "authorized"
[[realm.authenticator]]
method = "ticket"
users = "members.toml"
[[realm.authenticator]]
method = "anonymous"
role = "visitor"
[[realm.role]]
name = "visitor"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
authorizer = "com.shop.authorize"
[[realm.role.permission]]
uri = "com.shop.authorize"
deny = ["call", "register"]
[[realm.role]]
name = "authorizer"
[[realm.role.permission]]
uri = "com.shop.authorize"
allow = ["register"]
[[realm.role.permission]]
uri = "com.shop.clerks"
allow = ["call"]
[[realm.role]]
name = "backend"
[[realm.role.permission]]
uri = "com.shop."
match = "prefix"
allow = ["subscribe", "register"]
EOF
}

# add_member AUTHID ROLE: prints the ticket.
add_member() {
    local ticket
    ticket=$(umask 077 && "$bin" keygen ticket "$1" --role "$2" 2>&1 >>"$scratch/members.toml")
    echo "${ticket#ticket: }"
}

# launch NAME PORT: runs the router with the configuration of this name; sets router_pid.
launch() {
    local name=$1 port=$2
    "$bin" --config "$scratch/$name.toml" 2>"$work/$name.log" &
    router_pid=$!
    pids+=("$router_pid")
    wait_for "127.0.0.1:$port" "$router_pid" && return
    cat "$work/$name.log" >&2
    fail "the router does not listen"
}

# run NAME SECONDS COMMAND...: a program that closes with `N passed, N failed`.
run() {
    local name=$1 seconds=$2 log=$work/$1.out status=0 line
    shift 2
    echo "== $name"
    rm -f "$work/$name.tsv"
    CLIENTS_RESULTS=$work/$name.tsv timeout "$seconds" "$@" 2>&1 | tee "$log" || status=$?
    while read -r line; do
        passed=$((passed + ${line%% *}))
        line=${line#*, }
        failed=$((failed + ${line%% *}))
    done < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" || true)
    if ! tail -n 1 "$log" | grep -qE '^[0-9]+ passed, [0-9]+ failed$'; then
        echo "FAIL $name: ended early, status $status"
        failed=$((failed + 1))
    elif ((status != 0 && failed == 0)); then
        failed=1
    fi
}

[[ -x $bin ]] || fail "$bin is missing: cargo build --release"
command -v npm >/dev/null || fail "npm is missing: install Node 18 or later"
mkdir -p "$work"
find_python
install_python
install_javascript
passed=0
failed=0
export CLIENTS_PYTHON=$venv/bin/python PYTHONDONTWRITEBYTECODE=1
export NODE_OPTIONS=--no-deprecation
# autobahn-js uses the WebSocket of Node itself, which Node 20 hides behind a flag.
if node --experimental-websocket -e '' 2>/dev/null; then
    NODE_OPTIONS+=" --experimental-websocket"
fi

"$bin" cert dev --dir "$scratch" >"$work/cert.out"
lenient_tls_port=$(free_port)
start_router lenient "$(free_port)" "$lenient_tls_port" monotonic
lenient=$router_pid
ROUTER_LENIENT_PORT=$(sed -n 's/.*127.0.0.1:\([0-9]*\)"/\1/p' "$scratch/lenient.toml" | head -n 1)
ROUTER_PORT=$(free_port)
ROUTER_UNIX=$scratch/router.sock
export ROUTER_PORT ROUTER_LENIENT_PORT ROUTER_UNIX
LOGIN_PORT=$(free_port)
start_logins "$LOGIN_PORT"
logins=$router_pid
export LOGIN_PORT LOGIN_KEY LOGIN_TICKET AUTHENTICATOR_TICKET TOKEN
export AUTHORIZER_TICKET BACKEND_TICKET ANN_TICKET
tls_port=$(free_port)
start_router router "$ROUTER_PORT" "$tls_port" strict

run python 300 "$CLIENTS_PYTHON" "$here/python/matrix.py"
run javascript 300 node "$here/js/matrix.mjs"
# The same again over TLS: wss, and RawSocket over TLS where the client has it.
over_tls=(env "ROUTER_PORT=$tls_port" "ROUTER_LENIENT_PORT=$lenient_tls_port"
    "ROUTER_CA=$scratch/ca.pem" ROUTER_UNIX=)
run python-tls 300 "${over_tls[@]}" "$CLIENTS_PYTHON" "$here/python/matrix.py"
run javascript-tls 300 "${over_tls[@]}" "NODE_EXTRA_CA_CERTS=$scratch/ca.pem" \
    node "$here/js/matrix.mjs"
run cross 120 "$CLIENTS_PYTHON" "$here/python/cross.py"
run features 240 "$CLIENTS_PYTHON" "$here/python/features.py"
run logins-python 240 "$CLIENTS_PYTHON" "$here/python/logins.py"
run logins-javascript 300 node "$here/js/logins.mjs"
run logins-docs 240 "$CLIENTS_PYTHON" "$here/python/docs.py"
run authorization 240 "$CLIENTS_PYTHON" "$here/python/authorization.py"
# As docs/start.md starts it: without a file, pages of this machine may connect.
readme_port=$(free_port)
"$bin" --listen "127.0.0.1:$readme_port" 2>"$work/readme.log" &
readme=$!
pids+=("$readme")
wait_for "127.0.0.1:$readme_port" "$readme"
run readme 60 env "ROUTER_PORT=$readme_port" node "$here/js/readme.mjs"
kill "$readme" && wait "$readme" || true
export ROUTER_PINGS_WITHIN_S=3
run shutdown 60 "$CLIENTS_PYTHON" "$here/python/shutdown.py" "$router_pid"

# The router must end by itself after its SIGTERM, and well.
status=0
timeout 10 tail --pid="$router_pid" -f /dev/null || true
kill -0 "$router_pid" 2>/dev/null && kill -9 "$router_pid"
wait "$router_pid" || status=$?
if ((status == 0)); then passed=$((passed + 1)); else
    echo "FAIL the stopped router ended with status $status"
    failed=$((failed + 1))
fi
kill "$lenient" "$logins" && wait "$lenient" "$logins" || true
pids=()

# The page of what was tested is made of what has passed.
if ((failed == 0)) && ! "$CLIENTS_PYTHON" "$root/tests/book/clients.py" "$work"; then
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
((failed == 0))
