#!/usr/bin/env bash
# What is tried with the Debian package, on a machine of its own that enter.sh has made: installed,
# upgraded under load, removed, installed again and purged. Ends with `N passed, N failed`.
#
# inside.sh systemd|plain
#
# In `plain` there is no systemd: the router is started as the unit says, and what only systemd does
# is skipped. /mnt holds first.deb, second.deb, client.py and python (the interpreter's path).
set -uo pipefail
mode=$1
python=$(cat /mnt/python)
config=/etc/stentor/stentor.toml
unit=/usr/lib/systemd/system/stentor.service
passed=0 failed=0
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

# check WHAT COMMAND...: whether the command succeeds; says what it said if not.
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what: $* said:"
        echo "$said"
    fi
}
is() { # is EXPECTED COMMAND...
    local expected=$1 said
    shift
    said=$("$@" 2>&1)
    [[ $said = "$expected" ]] || {
        echo "expected: $expected, and it was: $said"
        return 1
    }
}
not() { ! "$@"; }
# must WHAT COMMAND...: a check without which nothing else could be tried.
must() {
    local before=$failed
    check "$@"
    ((failed == before)) || end
}
# eventually WHAT COMMAND...: must be so within a minute.
eventually() {
    local what=$1
    shift
    for _ in {1..600}; do
        if "$@" >/dev/null 2>&1; then break; fi
        sleep 0.1
    done
    must "$what" "$@"
}
end() {
    ((failed == 0)) || log_of_router | tail -n 40
    echo "$passed passed, $failed failed"
    exit $((failed > 0))
}
step() { echo "-- $*"; }
only_systemd() { [[ $mode = systemd ]]; }

apt() { apt-get -y -qq -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@"; }
pid_of() {
    if only_systemd; then
        systemctl show --property MainPID --value stentor.service
    else
        cat /mnt/router.pid
    fi
}
# Without systemd: what the unit has it do, as far as files and the user go.
start_plain() {
    only_systemd && return
    local user command
    user=$(sed -n 's/^User=//p' "$unit")
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    install -d -o "$user" -g "$user" "/var/lib/$(sed -n 's/^StateDirectory=//p' "$unit")"
    install -d -o "$user" -g "$user" "/run/$(sed -n 's/^RuntimeDirectory=//p' "$unit")"
    # Its words are split as systemd splits them: there are no quotes in the unit.
    # shellcheck disable=SC2086
    (umask 0077 && exec setpriv --reuid "$user" --regid "$user" --init-groups $command) \
        >>/mnt/router.log 2>&1 &
    echo $! >/mnt/router.pid
}
stop_plain() {
    only_systemd && return
    local pid
    pid=$(pid_of)
    kill -TERM "$pid"
    # It may be the child of a shell that has ended.
    for _ in {1..600}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    # As systemd does with a directory of the runtime.
    rm -rf "/run/$(sed -n 's/^RuntimeDirectory=//p' "$unit")"
}
restart() {
    if only_systemd; then systemctl restart stentor.service; else stop_plain && start_plain; fi
}
serves() { stentor health --config "$config"; }
# A client that publishes and comes back, until it is told to end.
publishes() {
    rm -f /mnt/{acknowledged,ends,refused,stop}
    "$python" /mnt/client.py publish /mnt >>/mnt/client.log 2>&1 &
    client=$!
    eventually "publications are acknowledged" has_more_than 50
}
ends_publishing() {
    touch /mnt/stop
    wait "$client"
}
acknowledged() { wc -l </mnt/acknowledged; }
has_more_than() { (($(acknowledged) > $1)); }
# Where the package and the router put something.
places=(/etc /run /usr/bin /usr/lib/{systemd,sysusers.d} /usr/share/{bash-completion,doc,fish,man/man1,zsh}
    /var/lib)
found() { find "${places[@]}" -xdev -name '*stentor*' -print -quit 2>/dev/null; }
log_of_router() { if only_systemd; then journalctl -u stentor; else cat /mnt/router.log; fi; }
log_says() { log_of_router | grep -q "$1"; }

step "this machine"
echo "in $mode"
is "" found || { echo "there is a stentor on this machine already" && exit 1; }

step "install"
must "apt installs it" apt install /mnt/first.deb
start_plain
eventually "the router is ready" serves
check "the user has no login" is "/usr/sbin/nologin" sh -c 'getent passwd stentor | cut -d: -f7'
check "the command works" is "stentor $(cat /mnt/version)" stentor --version
check "what dpkg has written is whole" is "" dpkg --verify stentor
for line in "root:root 755 /usr/bin/stentor" "root:root 755 /usr/bin/stentor-loadtest" \
    "root:root 644 $unit" "root:stentor 750 /etc/stentor" "root:stentor 640 $config" \
    "stentor:stentor 755 /var/lib/stentor" "stentor:stentor 600 /var/lib/stentor/token" \
    "stentor:stentor 755 /run/stentor" "stentor:stentor 660 /run/stentor/admin.sock" \
    "root:root 644 /usr/share/man/man1/stentor.1.gz" \
    "root:root 644 /usr/share/man/man1/stentor-loadtest.1.gz" \
    "root:root 644 /usr/share/bash-completion/completions/stentor" \
    "root:root 644 /usr/share/zsh/vendor-completions/_stentor" \
    "root:root 644 /usr/share/fish/vendor_completions.d/stentor.fish" \
    "root:root 644 /usr/share/doc/stentor/copyright"; do
    check "owner and mode" is "$line" stat -c '%U:%G %a %n' "${line##* }"
done
check "the token is for changes" stentor log-level info --admin unix:/run/stentor/admin.sock \
    --token-file /var/lib/stentor/token
check "it runs as its user" is stentor ps -o user= -p "$(pid_of)"
if only_systemd; then
    check "it starts at boot" is enabled systemctl is-enabled stentor.service
    check "its socket does not" is disabled systemctl is-enabled stentor.socket
    check "systemd finds nothing wrong with the unit" is "" systemd-analyze verify stentor.service
    check "no process of it can gain rights" grep -q '^NoNewPrivs:.*1$' "/proc/$(pid_of)/status"
    check "it has no capability" grep -q '^CapBnd:.*0000000000000000$' "/proc/$(pid_of)/status"
fi

step "upgrade under load"
cat >>"$config" <<'TOML'
[[realm.history]]
topic = "com.example.number"
events = 1000000
store = "durable"
[storage]
path = "/var/lib/stentor/store"
[timeouts]
drain_ms = 1000
TOML
check "the administrator restarts it" restart
eventually "it is ready" serves
publishes
before=$(pid_of)
must "apt upgrades it" apt install /mnt/second.deb
stop_plain
start_plain
check "the package is the second one" is "$(dpkg-deb -f /mnt/second.deb Version)" \
    dpkg-query -W -f '${Version}' stentor
check "another process serves" not is "$before" pid_of
eventually "it is ready" serves
eventually "the client is back" has_more_than $(($(acknowledged) + 50))
check "the administrator's configuration is as it was" grep -q com.example.number "$config"
check "no other is beside it" is "$config" sh -c "ls $config*"
check "owner and mode" is "root:stentor 640 $config" stat -c '%U:%G %a %n' "$config"
ends_publishing
check "the client was told, and not cut off" is "Goodbye: wamp.close.system_shutdown" cat /mnt/ends
check "the router drained" log_says "drained: no session is left"
check "nothing acknowledged is lost" "$python" /mnt/client.py check /mnt

step "remove and install again"
before=$(pid_of)
stop_plain
must "apt removes it" apt remove stentor
check "the router has stopped" not kill -0 "$before"
check "the command has gone" not test -e /usr/bin/stentor
check "the configuration is still there" grep -q com.example.number "$config"
check "so are the data" test -s /var/lib/stentor/store
check "so is the user" getent passwd stentor
must "apt installs it again" apt install /mnt/second.deb
start_plain
eventually "it is ready" serves
check "the history is as it was" "$python" /mnt/client.py check /mnt

if only_systemd; then
    step "upgrade while systemd keeps the socket"
    check "the administrator enables it" sh -c "systemctl stop stentor.service &&
        systemctl enable --now stentor.socket && systemctl start stentor.service"
    eventually "it is ready" serves
    publishes
    before=$(pid_of)
    must "apt installs another version" apt install --allow-downgrades /mnt/first.deb
    check "another process serves" not is "$before" pid_of
    eventually "the client is back" has_more_than $(($(acknowledged) + 50))
    ends_publishing
    check "it was told" is "Goodbye: wamp.close.system_shutdown" cat /mnt/ends
    check "it was never refused" is "" cat /mnt/refused
fi

step "purge"
before=$(pid_of)
stop_plain
must "apt purges it" apt purge stentor
check "the router has stopped" not kill -0 "$before"
check "no file is left" is "" found
check "no user is left" not getent passwd stentor
check "no group is left" not getent group stentor
check "nobody's files are left" is "" find /etc /run /var -xdev -nouser

if only_systemd && [[ -x /mnt/clients/bin/python ]]; then
    step "a newcomer follows docs/debian.md"
    mkdir /root/newcomer
    cp /mnt/first.deb /root/newcomer/stentor_0_all.deb
    cd /root/newcomer || exit 1
    echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/90newcomer
    check "every step of the page" env PATH="/mnt/clients/bin:$PATH" HOME=/root/newcomer \
        python3 /mnt/checkout/tests/book/run.py --here docs/debian.md
    cd /
    check "apt purges it" apt purge stentor
    rm -rf /etc/stentor /srv/www
else
    echo "skipped: docs/debian.md, as systemd or the clients (tests/clients/run.sh) are missing"
fi

step "purge with files of an administrator"
must "apt installs it" apt install /mnt/first.deb
touch /etc/stentor/users.toml
start_plain
eventually "it is ready" serves
stop_plain
must "apt purges it" apt purge stentor
check "the administrator's file is still there" is "/etc/stentor/users.toml" \
    find /etc/stentor -type f
check "its group, too" getent group stentor
check "the data have gone" not test -e /var/lib/stentor

end
