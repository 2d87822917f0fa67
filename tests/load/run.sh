#!/usr/bin/env bash
# A short load against the real binary: nothing is lost, doubled or out of order, over plain sockets
# and over TLS, compressed and not, with one generator thread and with several, and clients log in by
# each method. The scenarios of patterns, storms, what is retained or kept, and calls in parts are
# clean, and a threshold fails a run.
#
# STENTOR_BIN   the router to test      [default: target/release/stentor]
# LOADTEST_BIN  the load generator      [default: target/release/stentor-loadtest]
# LOGINS        logins by each method   [default: 50]
# Starts and stops its own router, on free ports of this machine.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${STENTOR_BIN:-$root/target/release/stentor}
load=${LOADTEST_BIN:-$root/target/release/stentor-loadtest}
logins=${LOGINS:-50}
source "$root/tests/running.sh"

cd "$scratch"
umask 077
plain=127.0.0.1:$(free_port)
secured=127.0.0.1:$(free_port)
"$bin" cert dev >/dev/null
echo pencil >password
{
    "$bin" passwd argon --method ticket <password
    "$bin" passwd cra --method wampcra <password
    "$bin" passwd scram --method wamp-scram --kdf pbkdf2 <password
    "$bin" keygen ticket robot 2>ticket.said
    "$bin" keygen cryptosign signer 2>key.said
} >users.toml
sed -n 's/.*: *\([^ ]*\)$/\1/p' ticket.said >ticket
grep -oE '[0-9a-f]{64}' key.said | head -1 >key
cat >stentor.toml <<END
[[listener]]
listen = "$plain"
deflate = true

[[listener]]
listen = "$secured"
deflate = true

[[listener.tls]]
certificate = "cert.pem"
key = "key.pem"

[log]
level = "warn"

[[realm]]
name = "realm1"

[[realm.authenticator]]
method = "anonymous"
role = "user"

[[realm.role]]
name = "user"

[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]

[[realm.history]]
topic = "loadtest.history"
events = 2000

[[realm]]
name = "staff"
END
for method in ticket wampcra wamp-scram cryptosign; do
    printf '\n[[realm.authenticator]]\nmethod = "%s"\nusers = "users.toml"\nrole = "user"\n' $method
done >>stentor.toml
printf '\n[[realm.role]]\nname = "user"\n' >>stentor.toml

"$bin" --config stentor.toml &
router=$!
pids+=("$router")
wait_for "$secured" "$router"

"$load" smoke --quiet --ca ca.pem --url "ws://$plain/ws" --url "rs://$plain" \
    --url "wss://$secured/ws" --url "rss://$secured"

for url in "ws://$plain/ws" "wss://$secured/ws"; do
    "$load" fanout --quiet --ca ca.pem --url "$url" --deflate -p 2 -n 30 --in-flight 8 --acknowledge \
        --subscriber-serializer json,msgpack,cbor --payload records --payload-bytes 1024 \
        --duration 1s --warmup 200ms
done

short() {
    "$load" "$@" --quiet --duration 500ms --warmup 100ms --url "${url:-ws://$plain/ws}" --ca ca.pem \
        --fail-if 'lost>0'
}
short fanout -p 3 -n 30 --in-flight 8 --threads 3 --acknowledge
short rpc -c 6 -k 2 --depth 4 --threads 2
short fanout -p 2 -n 20 --rate 500 --match prefix --source 127.0.0.1,127.0.0.2
short topics --topics 30 --rate 500 --match wildcard
short fanout -n 10 --stages 300ms@200,300ms@400 --hdr log.hdr --csv log.csv --fail-if 'fairness<1'
grep -q '^Tag=event,' log.hdr
[ "$(wc -l <log.csv)" -ge 3 ]
short storm -n 50 --rounds 2 --pause 300ms
url=rss://$secured short storm -n 30 --rounds 2 --pause 300ms --threads 2
short retained -n 10 --topics 5
short history -n 3 --events 500 --page 200
for serializer in json msgpack cbor; do
    short rpc -c 4 -k 2 --depth 2 --progressive-results 3 --serializer $serializer
    short rpc -c 4 -k 2 --depth 2 --progressive-calls 3 --progressive-results 1 \
        --serializer $serializer
done
code=0
short fanout -n 5 --rate 100 --fail-if 'p99>=0ns' || code=$?
[ $code = 6 ]

# Of one user after the other: `connect` fails if a single one does not get in.
log_in() {
    "$load" connect --quiet -n "$logins" --connect-parallel 8 --duration 100ms --warmup 0s \
        --url "rss://$secured" --ca ca.pem --realm staff --pid "$router" \
        --login "$1" --authid "$2" --secret-file "$3" "${@:4}"
}
log_in ticket robot ticket
log_in ticket argon password
log_in wampcra cra password --serializer json
log_in wamp-scram scram password --serializer cbor
log_in cryptosign signer key
log_in cryptosign signer key --resume

kill -TERM "$router"
wait "$router"
pids=()
