#!/busybox/busybox sh
# The first process of the machine in which `cargo xtask arm64 test` runs: it makes a system of the kernel, runs /script,
# hands back what came of it, and switches the machine off.

export PATH=/usr/bin:/usr/sbin:/bin:/sbin:/busybox HOME=/root LANG=C.UTF-8
/busybox/busybox --install -s /busybox

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
chmod 1777 /tmp /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr

# The value of a word of the kernel's command line.
word() {
    for pair in $(cat /proc/cmdline); do
        case $pair in "$1"=*) echo "${pair#*=}" ;; esac
    done
}

# The device of a port to the host.
port() {
    for directory in /sys/class/virtio-ports/*; do
        [ "$(cat "$directory/name")" = "$1" ] && echo "/dev/${directory##*/}"
    done
}

date -s "@$(word interceptor.time)" >/dev/null
hostname guest
ip link set lo up
# As where there is systemd: the kernel's own limits are far lower.
ulimit -Hn 524288
modprobe -q virtio_pci
modprobe -q virtio_console

cd /
mkdir /run/logs
# A real shell: busybox's own takes its applets for every program that they are named after.
/bin/dash /script </dev/null >"$(port interceptor.output)" 2>&1
code=$?

dmesg >/run/logs/dmesg
tar -C /run/logs -cf "$(port interceptor.logs)" .
echo "$(word interceptor.nonce) $code" >"$(port interceptor.result)"
sync
poweroff -f
