#!/usr/bin/env bash
# A real Prometheus scrapes a router under load and two nodes of a cluster: every query of the Grafana dashboard and every alert
# has data, and the figures are the router's own.
#
# STENTOR_BIN   the router to test     [default: target/release/stentor]
# LOADTEST_BIN  the load generator     [default: target/release/stentor-loadtest]
# PROMETHEUS    the scraper            [default: prometheus]
# Builds target/debug/stentor with clusters, and installs nats-server where it is missing. Starts and
# stops its own routers, NATS, load and Prometheus, on free ports of this machine.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
load=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
source "$here/../running.sh"
source "$root/tests/cluster/needs.sh"
provide_nats
build_with_clusters

cd "$scratch"
wamp=127.0.0.1:$(free_port)
admin=127.0.0.1:$(free_port)
prometheus=127.0.0.1:$(free_port)
"$bin" cert dev >/dev/null
cat >stentor.toml <<END
shards = 2
[[listener]]
listen = "$wamp"
[[listener]]
listen = "127.0.0.1:0"
[[listener.tls]]
certificate = "cert.pem"
key = "key.pem"
[admin]
listen = "$admin"
[output]
hard_bytes = 1048576
[storage]
path = "store"
[metrics]
clients = ["autobahn-python", "stentor-loadtest"]
[[metrics.group]]
name = "load"
prefix = "loadtest."
END
# Each load has a realm of its own, as it takes what it hears for its own.
for realm in realm1 realm2; do
    cat >>stentor.toml <<END
[[realm]]
name = "$realm"
[[realm.authenticator]]
method = "anonymous"
[[realm.history]]
topic = "loadtest."
match = "prefix"
store = "durable"
events = 100
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
END
done
nats=127.0.0.1:$(free_port) nodes=()
"$STENTOR_NATS_SERVER" -js -sd nats -a 127.0.0.1 -p "${nats##*:}" >nats.log 2>&1 &
pids+=("$!")
wait_for "$nats" "$!"
for node in a b; do
    nodes+=("127.0.0.1:$(free_port)")
    STENTOR_ADMIN__LISTEN=${nodes[-1]} "$root/target/debug/stentor" --listen 127.0.0.1:0 \
        --shards 2 --log-level error --cluster monitoring --nats "nats://$nats" --node "$node" &
    pids+=("$!")
    wait_for "${nodes[-1]}" "$!"
done
cat >prometheus.yml <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$root/docs/monitoring/alerts.yml"]
scrape_configs:
  - job_name: stentor
    static_configs: [{targets: ["$admin"]}]
  - job_name: nodes
    static_configs: [{targets: ["${nodes[0]}", "${nodes[1]}"]}]
END
"$bin" --config stentor.toml --log-level error &
pids+=("$!")
wait_for "$admin" "$!"
# Somebody who does not get in, so that there is a reason to show.
(exec 3<>"/dev/tcp/${wamp/://}" && printf 'nonsense\r\n\r\n' >&3 && cat <&3 >/dev/null) || true
"${PROMETHEUS:-prometheus}" --config.file prometheus.yml --storage.tsdb.path "$scratch/data" \
    --web.listen-address "$prometheus" --log.level error &
pids+=("$!")
"$load" mixed --quiet --url "ws://$wamp/ws" --rate 100 -n 50 --call-rate 200 --idle 50 \
    --duration 20s >"$scratch/mixed.log" 2>&1 &
mixed=$!
pids+=("$mixed")
"$load" slow --quiet --url "rs://$wamp" --realm realm2 -n 20 --stalled 4 --rate 500 \
    --payload-bytes 8192 --allowed-growth 1000 --duration 12s >"$scratch/slow.log" 2>&1 &
slow=$!
pids+=("$slow")

timeout 180 python3 "$here/check.py" "http://$prometheus" "http://$admin" "$mixed" "$slow"
# The other load is cut off on purpose, and on a busy machine more of it than was meant to be.
wait "$mixed" || { cat "$scratch/mixed.log" >&2 && exit 1; }
