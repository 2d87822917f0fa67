#!/usr/bin/env bash
# The first process of a machine within this one: makes its root, a copy of ours that is forgotten
# when it ends, and starts systemd there, which runs inside.sh; or, without systemd, that alone.
#
# enter.sh DIRECTORY systemd|plain
#
# To be run by run.sh, in namespaces of its own for mounts, processes, network and control groups.
# DIRECTORY is one of ours, and is /mnt in the machine.
set -euo pipefail
shared=$1 mode=$2

mount -t tmpfs -o size=2g tmpfs "$shared/machine"
mkdir "$shared/machine/"{upper,work,root}
root=$shared/machine/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$shared/machine/upper,workdir=$shared/machine/work" "$root"
cd "$root"

# What the kernel has for all machines can be read and not written, so that systemd leaves it alone.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs var/log
mount --bind "$shared" mnt

# Where this system is a container's itself, it may have been told to start no services, and to
# leave documentation out.
rm -f usr/sbin/policy-rc.d etc/dpkg/dpkg.cfg.d/{docker,excludes}
ip link set lo up 2>/dev/null || true

mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

if [[ $mode = plain ]]; then
    exec env -i PATH="$PATH" bash /mnt/inside.sh plain >/mnt/inside.log 2>&1
fi
mkdir -p /run/systemd/system
# Nothing of what this system starts at its boot: only what every service needs.
cat >/run/systemd/system/inside.target <<'UNIT'
[Unit]
Requires=basic.target inside.service
After=basic.target
UNIT
cat >/run/systemd/system/inside.service <<'UNIT'
[Unit]
After=basic.target
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
ExecStart=/bin/bash /mnt/inside.sh systemd
StandardOutput=file:/mnt/inside.log
StandardError=inherit
UNIT
exec env -i container=stentor PATH="$PATH" \
    /lib/systemd/systemd --system --unit=inside.target --log-target=journal --show-status=no
