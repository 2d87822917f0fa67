# For the other scripts: what is started in the background is ended with them, even when they are
# interrupted. To be sourced.

# A directory for this run, and what runs in the background.
scratch=$(mktemp -d)
pids=()

# Ends only what `pids` lists.
end_all() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap end_all EXIT

# A port that is free at this moment; nothing else on this machine is meant to take it meanwhile.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for HOST:PORT [PID]: until somebody listens there, for ten seconds at most, and while the
# process lives.
wait_for() {
    local host=${1%:*} port=${1##*:} pid=${2:-$$}
    for _ in {1..100}; do
        if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "${0##*/}: nobody listens at $1" >&2
    return 1
}
