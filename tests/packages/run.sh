#!/usr/bin/env bash
# The Debian package as its users have it: two versions of it are made of a router that is built
# already, and installed, upgraded under load, removed and purged by apt (inside.sh), under systemd,
# on a machine of its own within this one: an overlay over /, with processes, network and control
# groups of its own. Nothing of that is left, and nothing of this machine changes.
#
# STENTOR_BIN   the router                 [default: target/release/stentor]
# LOADTEST_BIN  the load generator         [default: beside the router]
# PACKAGES_INIT `plain`: do without systemd, as where it cannot be had  [default: systemd]
#
# Needs root, cargo-deb, dpkg-dev, apt, systemd and unshare; without them it says `skipped`. Takes
# about a minute. Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
stentor=${STENTOR_BIN:-$root/target/release/stentor}
loadtest=${LOADTEST_BIN:-${stentor%/*}/stentor-loadtest}

skip() {
    echo "skipped: $*"
    exit 0
}
for needed in "$stentor" "$loadtest"; do
    [[ -x $needed ]] || {
        echo "run.sh: $needed is missing: cargo build --release --workspace" >&2
        exit 1
    }
done
for needed in cargo-deb dpkg-shlibdeps apt-get unshare setpriv; do
    command -v "$needed" >/dev/null || skip "there is no $needed here"
done
[[ $(id -u) = 0 ]] || skip "only root can make a machine within this one"
[[ -z $(find /etc/stentor /var/lib/stentor -prune 2>/dev/null) ]] ||
    skip "this machine has a stentor of its own"

shared=$(mktemp -d)
group=
cleanup() {
    if [[ -n $group ]]; then
        # The processes of the machine end with its first one; until then their groups are in use.
        for _ in {1..50}; do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    fi
    rm -rf "$shared"
}
trap cleanup EXIT
mkdir "$shared/machine"
python3 -c 'import sys; print(sys.executable)' >"$shared/python"
cp "$here/inside.sh" "$here/client.py" "$shared/"
# What docs/debian.md says is done there, with the clients that tests/clients/run.sh has installed.
mkdir -p "$shared/checkout/tests/book" "$shared/checkout/docs"
cp "$root/tests/book/run.py" "$shared/checkout/tests/book/"
cp "$root/docs/debian.md" "$shared/checkout/docs/"
mkdir "$shared/clients"
[[ ! -d $root/target/clients/venv ]] || cp -r "$root/target/clients/venv/." "$shared/clients"

echo "-- two versions of the package"
cd "$root"
packaging/stage "$stentor" "$loadtest" target/packaging/stage
packaging/deb "$shared/first.deb" 1 --fast >/dev/null
packaging/deb "$shared/second.deb" 2 --fast >/dev/null
sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1 >"$shared/version"
if command -v lintian >/dev/null; then
    # There is no address for reports yet, and no bug of Debian that the first package closes.
    lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs "$shared/first.deb"
else
    echo "skipped: there is no lintian here"
fi

# within MODE: runs enter.sh in namespaces of its own, for five minutes at most.
within() {
    local hierarchy
    hierarchy=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
    [[ -n $hierarchy ]] || return 1
    group=$hierarchy/stentor-packages-$$
    mkdir -p "$group" || return 1
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec timeout -k 5 300 unshare --cgroup --mount --pid --net --uts --ipc --fork \
            --kill-child --propagation private bash "$here/enter.sh" "$shared" "$1"
    ) >"$shared/enter.log" 2>&1 </dev/null
}
said() { [[ -e $shared/inside.log ]] && grep -q "^in $1$" "$shared/inside.log"; }

status=0
[[ ${PACKAGES_INIT:-systemd} = plain ]] || within systemd || status=$?
if ! said systemd; then
    touch "$shared/enter.log"
    sed 's/^/    /' "$shared/enter.log"
    echo "skipped: what systemd does, as it does not start in a machine within this one"
    status=0
    within plain || status=$?
    said plain || { sed 's/^/    /' "$shared/enter.log" && skip "overlays cannot be had here"; }
fi
cat "$shared/inside.log"
if ! tail -n 1 "$shared/inside.log" | grep -qE '^[0-9]+ passed, 0 failed$'; then
    cat "$shared/"{client,router}.log 2>/dev/null || true
    exit 1
fi
exit "$status"
