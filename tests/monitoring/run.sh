#!/usr/bin/env bash
# A real Prometheus scrapes a router under load: every query of the Grafana dashboard and every alert
# has data, and the figures are the router's own.
#
# STENTOR_BIN   the router to test     [default: target/release/stentor]
# LOADTEST_BIN  the load generator     [default: target/release/stentor-loadtest]
# PROMETHEUS    the scraper            [default: prometheus]
# Starts and stops its own router, load and Prometheus, on free ports of this machine.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
load=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
source "$here/../running.sh"

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
cat >prometheus.yml <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$root/docs/monitoring/alerts.yml"]
scrape_configs:
  - job_name: stentor
    static_configs: [{targets: ["$admin"]}]
END
"$bin" --config stentor.toml --log-level error &
pids+=("$!")
wait_for "$admin" "${pids[0]}"
# Somebody who does not get in, so that there is a reason to show.
(exec 3<>"/dev/tcp/${wamp/://}" && printf 'nonsense\r\n\r\n' >&3 && cat <&3 >/dev/null) || true
"${PROMETHEUS:-prometheus}" --config.file prometheus.yml --storage.tsdb.path "$scratch/data" \
    --web.listen-address "$prometheus" --log.level error &
pids+=("$!")
"$load" mixed --quiet --url "ws://$wamp/ws" --rate 100 -n 50 --call-rate 200 --idle 50 \
    --duration 20s >"$scratch/mixed.log" 2>&1 &
pids+=("$!")
"$load" slow --quiet --url "rs://$wamp" --realm realm2 -n 20 --stalled 4 --rate 500 \
    --payload-bytes 8192 --allowed-growth 1000 --duration 12s >"$scratch/slow.log" 2>&1 &
pids+=("$!")

timeout 180 python3 "$here/check.py" "http://$prometheus" "http://$admin" "${pids[@]:2}"
# The other load is cut off on purpose, and on a busy machine more of it than was meant to be.
wait "${pids[2]}" || { cat "$scratch/mixed.log" >&2 && exit 1; }
