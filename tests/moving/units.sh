# For the other scripts: what systemd would start, started as its unit says, by whoever runs the
# tests. `User=` is not obeyed. To be sourced, with `pids` and `venv`.

# run_unit UNIT: what its unit starts, as it says, with the Python that has autobahn and Twisted.
run_unit() {
    local unit=$1 line environment=() command file
    while read -r line; do environment+=("$line"); done < <(sed -n 's/^Environment=//p' "$unit")
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    file=$(sed -n 's/^EnvironmentFile=//p' "$unit")
    if [[ -n $file ]]; then
        set -a
        # shellcheck disable=SC1090
        source "$file"
        set +a
    fi
    cd "$(sed -n 's/^WorkingDirectory=//p' "$unit")"
    # shellcheck disable=SC2086
    exec env "${environment[@]}" READY_FILE="$unit.ready" PATH="$venv/bin:$PATH" $command \
        >"$unit.log" 2>&1
}

# start_component UNIT: until it says that it is ready, as systemd waits for the one before another.
start_component() {
    local turn
    run_unit "$1" &
    pids+=("$!")
    for ((turn = 0; turn < 300; turn++)); do
        [[ ! -e $1.ready ]] || return 0
        kill -0 "$!" 2>/dev/null || break
        sleep 0.1
    done
    echo "$1 is not ready:" >&2
    cat "$1.log" >&2
    return 1
}
