# What run.sh and nodes.sh share: the clients, at pinned versions, routers to test them against, and
# programs that count. To be sourced, with `here`, `root`, `bin` and `work`, where logs go.

source "$here/../running.sh"
venv=$root/target/clients/venv
passed=0
failed=0

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# provide_clients: installs them where they are missing, and sets what they need.
provide_clients() {
    command -v npm >/dev/null || fail "npm is missing: install Node 18 or later"
    mkdir -p "$work"
    find_python
    install_python
    install_javascript
    export CLIENTS_PYTHON=$venv/bin/python PYTHONDONTWRITEBYTECODE=1
    export NODE_OPTIONS=--no-deprecation
    # autobahn-js uses the WebSocket of Node itself, which Node 20 hides behind a flag.
    if node --experimental-websocket -e '' 2>/dev/null; then
        NODE_OPTIONS+=" --experimental-websocket"
    fi
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

# listener PORT [TLS]: prints one for all transports; with a second argument it speaks TLS.
listener() {
    printf '[[listener]]\nlisten = "127.0.0.1:%s"\npaths = ["/ws"]\ndeflate = true\n' "$1"
    if [[ -n ${2:-} ]]; then
        printf '[[listener.tls]]\ncertificate = "%s"\n' "$scratch/cert.pem"
        printf 'key = "%s"\n' "$scratch/key.pem"
    fi
    printf '[[listener.path]]\npath = "/longpoll"\nhttp = "longpoll"\nsent_status = 204\n'
}

# realms REQUEST_IDS: prints the realms of the matrices, and what else their clients need.
realms() {
    cat <<EOT
[output]
# Not the ABORT before a close: Node's WebSocket forgets what is compressed when a close is behind.
deflate_min_bytes = 256
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
[protocol]
request_ids = "$1"
EOT
}

# asking_realms: prints those whose clients procedures decide about: `shop` and `auth` of
# docs/authentication/dynamic.md, where an authenticator says who comes in, and the realm of
# python/authorization.py, whose visitors an authorizer decides about. Needs invite_members.
asking_realms() {
    "$CLIENTS_PYTHON" "$here/python/docs.py" realms
    cat <<'EOT'
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
EOT
}

# invite_members: writes the users of the asking realms; sets AUTHENTICATOR_TICKET,
# AUTHORIZER_TICKET, BACKEND_TICKET and ANN_TICKET.
invite_members() {
    AUTHENTICATOR_TICKET=$(add_user authenticators authenticator authenticator)
    AUTHORIZER_TICKET=$(add_user members authorizer authorizer)
    BACKEND_TICKET=$(add_user members backend backend)
    ANN_TICKET=$(add_user members ann visitor)
    export AUTHENTICATOR_TICKET AUTHORIZER_TICKET BACKEND_TICKET ANN_TICKET
}

# add_user FILE AUTHID ROLE: prints the ticket.
add_user() {
    local ticket
    ticket=$(umask 077 && "$bin" keygen ticket "$2" --role "$3" 2>&1 >>"$scratch/$1.toml")
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

# ends_well PID: the router must end by itself after its SIGTERM, and well.
ends_well() {
    local status=0
    timeout 10 tail --pid="$1" -f /dev/null || true
    kill -0 "$1" 2>/dev/null && kill -9 "$1"
    wait "$1" || status=$?
    if ((status == 0)); then passed=$((passed + 1)); else
        echo "FAIL the stopped router ended with status $status"
        failed=$((failed + 1))
    fi
}
