#!/usr/bin/env bash
# curl publishes, calls and listens; run.sh says where. Closes with `N passed, N failed`.
set -euo pipefail

passed=0
failed=0
check() { # NAME FOUND PATTERN, of grep -E
    if grep -qE -- "$3" <<<"$2"; then
        passed=$((passed + 1))
        echo "ok   $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1: $2"
    fi
}
post() { curl -sS --max-time 10 -H "Content-Type: application/json" "$@"; }

: >"$SCRATCH/heard"
curl -sSN --max-time 30 "http://$WEB/events?topic=com.example.curl" >"$SCRATCH/heard" &
listener=$!
trap 'kill "$listener" 2>/dev/null || true' EXIT
for _ in {1..100}; do
    if grep -q '^retry: ' "$SCRATCH/heard"; then break; fi
    sleep 0.1
done

said=$(post "http://$WEB/backend" -H "Authorization: Bearer $KEY" \
    -d '{"topic": "com.example.curl", "args": [17], "kwargs": {"color": "red"}}')
check "curl publishes" "$said" '^\{"id":[0-9]+\}$'
id=${said//[^0-9]/}
for _ in {1..100}; do
    if grep -q '^data: ' "$SCRATCH/heard"; then break; fi
    sleep 0.1
done
heard=$(<"$SCRATCH/heard")
check "curl listens" "$heard" "^id: $id\$"
check "curl hears what was said" "$heard" '^data: .*"args":\[17\],"kwargs":\{"color": "red"\}'
said=$(post "http://$WEB/backend" -H "Authorization: Bearer wrong" -w ' %{http_code}' \
    -d '{"topic": "com.example.curl"}')
check "a wrong key is refused" "$said" ' 401$'
said=$(post "http://$WEB/call" -d '{"procedure": "com.example.add", "args": [17, 4]}')
check "curl calls" "$said" '^\{"args":\[21\]\}$'

echo "$passed passed, $failed failed"
((failed == 0))
