# The guide, docs/moving-from-crossbar.md, as something that can be run. To be sourced, by a script
# that has sourced running.sh and units.sh, and says where things are: `bin`, `root`, `etc`, `run`,
# `port`, `trial` and `linked`.
#
# Each block of commands in it is run as it stands, but that directories and ports are those of this
# run, and that nobody needs to be root, nor systemd: whom files belong to, and as whom the router
# runs, is left out, and units are started by what they say.

# step N: the Nth block of commands, where `# if ...` stands behind what is for some nodes only.
step() {
    local line place
    echo "-- the guide's block $1"
    awk -v wanted="$1" '
        /^ *```sh$/ { blocks += 1; inside = 1; next }
        /^ *```$/ { inside = 0 }
        inside && blocks == wanted { sub(/^ +/, ""); print }
    ' "$root/docs/moving-from-crossbar.md" >"$scratch/block"
    if [[ ! -s $scratch/block ]]; then
        echo "the guide has no block $1" >&2
        return 1
    fi
    sed -i "
        s|/etc/stentor|$etc|g
        s|/run/stentor|$run|g
        s|0\.0\.0\.0:8080|0.0.0.0:$port|g
        s|127\.0\.0\.1:8081|127.0.0.1:$trial|g
    " "$scratch/block"
    while IFS= read -r line; do
        if [[ $line == *" # if "* ]]; then
            place=$(grep -oE "($etc|$run)[^ ;)]*" <<<"$line" | head -n 1)
            compgen -G "$place" >/dev/null || continue
        fi
        echo "$line"
    done <"$scratch/block" >"$scratch/step"
}

stentor() { "$bin" "$@"; }

# chown USER PATH...: whoever runs this keeps them, but they have to be there.
chown() {
    if [[ $1 != stentor && $1 != crossbar ]]; then
        echo "chown: there is no user $1" >&2
        return 1
    fi
    ls -d "${@:2}" >/dev/null
}

# setpriv --reuid USER --regid GROUP --clear-groups COMMAND...
setpriv() {
    if [[ $1 != --reuid || $3 != --regid || $5 != --clear-groups || $6 != stentor ]]; then
        echo "setpriv: not as the guide has it: $*" >&2
        return 1
    fi
    if [[ $7 == run ]]; then exec "$bin" "${@:7}"; fi
    "$bin" "${@:7}"
}

systemctl() {
    local unit
    case "$*" in
    "disable --now crossbar" | daemon-reload) ;; # It does not run here.
    "enable --now stentor")
        sed "s|/etc/stentor|$etc|; s|/usr/bin/stentor|$bin|" "$root/docs/systemd/stentor.service" \
            >"$linked/stentor.service"
        run_unit "$linked/stentor.service" &
        pids+=("$!")
        wait_for "127.0.0.1:$port" "$!" || { cat "$linked/stentor.service.log" >&2 && return 1; }
        ;;
    "link "*) ln -s "${@:2}" "$linked/" ;;
    "enable --now "?*)
        for unit in "${@:3}"; do
            unit=$linked/$unit
            if [[ ! -e $unit ]]; then
                echo "systemctl: there is no unit $unit" >&2
                return 1
            elif grep -q '^Type=notify$' "$unit"; then
                start_component "$unit"
            else
                run_unit "$unit" &
                pids+=("$!")
            fi
        done
        ;;
    *) echo "systemctl: not as the guide has it: $*" >&2 && return 1 ;;
    esac
}
