#!/usr/bin/env bash
# The tests with real clients, spread over three routers that are nodes of one cluster; see README.md.
#
# STENTOR_BIN  the router to test, with clusters  [default: target/debug/stentor, which is built]
# PYTHON       Python 3.11 or later               [default: python3, or python3.11 and so on]
# Installs the clients and nats-server, at pinned versions, where they are missing. Starts and stops
# its own server and routers, on free ports of this machine. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/clients/nodes
bin=${STENTOR_BIN:-$root/target/debug/stentor}
source "$here/routers.sh"
source "$here/../cluster/needs.sh"

# start_node NAME PORT ADMIN_PORT: one that has all the realms; sets router_pid. Request ids are the
# affair of a client and its node: here they may leave some out, for all of the matrices. However
# slow the machine is, SUBSCRIBED and REGISTERED wait until all nodes know.
start_node() {
    {
        listener "$2"
        realms monotonic
        asking_realms
        printf '[cluster]\nname = "clients"\nnode = "%s"\nnats = ["%s"]\n' "$1" "$nats"
        printf 'visible_ms = 10000\n'
        printf '[admin]\nlisten = "127.0.0.1:%s"\n' "$3"
    } >"$scratch/$1.toml"
    launch "$1" "$2"
}

provide_clients
provide_nats
[[ -n ${STENTOR_BIN:-} ]] || build_with_clusters
nats_port=$(free_port)
nats=nats://127.0.0.1:$nats_port
"$STENTOR_NATS_SERVER" -a 127.0.0.1 -p "$nats_port" -js -sd "$scratch/nats" 2>"$work/nats.log" &
pids+=("$!")
wait_for "127.0.0.1:$nats_port" "$!"

invite_members
ports=()
admin_ports=()
routers=()
for node in a b c; do
    ports+=("$(free_port)")
    admin_ports+=("$(free_port)")
    start_node "$node" "${ports[-1]}" "${admin_ports[-1]}"
    routers+=("$router_pid")
done
ROUTER_PORT=$(IFS=, && echo "${ports[*]}")
ROUTER_ADMIN=$(IFS=, && echo "${admin_ports[*]}")
LOGIN_PORT=$ROUTER_PORT
export ROUTER_PORT ROUTER_ADMIN LOGIN_PORT

run linked 60 "$CLIENTS_PYTHON" "$here/python/links.py" linked
run python 300 "$CLIENTS_PYTHON" "$here/python/matrix.py"
run javascript 300 node "$here/js/matrix.mjs"
run cross 120 "$CLIENTS_PYTHON" "$here/python/cross.py"
run features 240 "$CLIENTS_PYTHON" "$here/python/features.py"
run authenticator 60 "$CLIENTS_PYTHON" "$here/python/docs.py" dynamic
run authorization 240 "$CLIENTS_PYTHON" "$here/python/authorization.py"
run used 60 "$CLIENTS_PYTHON" "$here/python/links.py" used
# One node stops: its clients are told, and those of the others are not.
run shutdown 60 env "ROUTER_PORT=${ports[2]}" ROUTER_ADMIN= \
    "$CLIENTS_PYTHON" "$here/python/shutdown.py" "${routers[2]}"
ends_well "${routers[2]}"
run left 60 env "ROUTER_PORT=${ports[0]},${ports[1]}" \
    "ROUTER_ADMIN=${admin_ports[0]},${admin_ports[1]}" \
    "$CLIENTS_PYTHON" "$here/python/links.py" linked

echo "$passed passed, $failed failed"
((failed == 0))
