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
bin=${STENTOR_BIN:-$root/target/release/stentor}
source "$here/routers.sh"

# start_router NAME PORT TLS_PORT REQUEST_IDS: sets router_pid.
start_router() {
    local name=$1 port=$2 tls_port=$3 request_ids=$4
    {
        listener "$port"
        listener "$tls_port" tls
        printf '[[listener]]\nlisten = "unix:%s"\n' "$scratch/$name.sock"
        realms "$request_ids"
        printf '[timeouts]\nping_interval_ms = 1000\nping_timeout_ms = 2000\n'
    } >"$scratch/$name.toml"
    launch "$name" "$port"
}

# start_logins PORT: a router with the users of docs/authentication and some more; sets router_pid,
# LOGIN_KEY, LOGIN_TICKET, TOKEN, and what invite_members does.
start_logins() {
    local port=$1 users=$scratch/users.toml
    (umask 077 && "$CLIENTS_PYTHON" "$here/python/docs.py" users >"$users")
    LOGIN_KEY=$("$bin" keygen cryptosign keyed --role user 2>&1 >>"$users")
    LOGIN_KEY=${LOGIN_KEY#private key: }
    LOGIN_TICKET=$(add_user users robot user)
    printf '[[user]]\nauthid = "jim"\nrole = "user"\nwampcra = "${JIM_SECRET}"\n' >>"$users"
    cat >"$scratch/logins.toml" <<EOT
[[listener]]
listen = "127.0.0.1:$port"
[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
EOT
    local method
    # The router's key of docs/authentication/cryptosign.md.
    (umask 077 && printf '07%.0s' {1..32} >"$scratch/router.key")
    for method in ticket wampcra wamp-scram cryptosign; do
        printf '[[realm.authenticator]]\nmethod = "%s"\nusers = "users.toml"\n' "$method"
    done >>"$scratch/logins.toml"
    printf 'router_key = "router.key"\n' >>"$scratch/logins.toml"
    cat >>"$scratch/logins.toml" <<'EOT'
[[realm.authenticator]]
method = "ticket"
role = "user"
[realm.authenticator.jwt]
secret = "${JWT_SECRET}"
issuer = "https://login.example.org"
audience = "wamp"
EOT
    local jwt_secret
    jwt_secret=$("$CLIENTS_PYTHON" -c 'import secrets; print(secrets.token_hex(32))')
    TOKEN=$(JWT_SECRET=$jwt_secret "$CLIENTS_PYTHON" "$here/python/tokens.py")
    local role
    for role in anonymous user; do
        printf '[[realm.role]]\nname = "%s"\n[[realm.role.permission]]\n' "$role"
        printf 'uri = ""\nmatch = "prefix"\nallow = ["publish", "subscribe", "call", "register"]\n'
    done >>"$scratch/logins.toml"
    invite_members
    asking_realms >>"$scratch/logins.toml"
    # The tests fail more often than anybody should be allowed to.
    printf '[limits]\nlogin_failures_per_address = 0\nlogin_failures_per_authid = 0\n' \
        >>"$scratch/logins.toml"
    JIM_SECRET=pencil JWT_SECRET=$jwt_secret launch logins "$port"
}

[[ -x $bin ]] || fail "$bin is missing: cargo build --release"
provide_clients
"$bin" cert dev --dir "$scratch" >"$work/cert.out"
lenient_tls_port=$(free_port)
ROUTER_LENIENT_PORT=$(free_port)
start_router lenient "$ROUTER_LENIENT_PORT" "$lenient_tls_port" monotonic
lenient=$router_pid
ROUTER_PORT=$(free_port)
ROUTER_UNIX=$scratch/router.sock
export ROUTER_PORT ROUTER_LENIENT_PORT ROUTER_UNIX
LOGIN_PORT=$(free_port)
start_logins "$LOGIN_PORT"
logins=$router_pid
export LOGIN_PORT LOGIN_KEY LOGIN_TICKET TOKEN
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
ends_well "$router_pid"
kill "$lenient" "$logins" && wait "$lenient" "$logins" || true
pids=()

# The page of what was tested is made of what has passed.
if ((failed == 0)) && ! "$CLIENTS_PYTHON" "$root/tests/book/clients.py" "$work"; then
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
((failed == 0))
