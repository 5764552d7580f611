#!/bin/busybox sh
# The first program of the tests' virtual machine. Its files are those of the machine outside,
# read-only, below a layer in memory that takes what is written; /vmshare is a folder outside.
B=/bin/busybox

$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for module in $($B cat /mod/order); do
    $B insmod "/mod/$module" || echo "insmod $module failed"
done

share=trans=virtio,version=9p2000.L,msize=524288
$B mount -t 9p -o $share,ro,cache=loose root /lower || echo "the files outside can't be seen"
$B mount -t tmpfs written /rw
$B mkdir /rw/upper /rw/work
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work both /new ||
    echo "the layer in memory can't be laid over them"

for folder in proc sys dev; do $B mount --move /$folder /new/$folder; done
$B mkdir -p /new/vmshare /new/dev/shm /new/dev/pts
$B mount -t 9p -o $share,rw,cache=none share /new/vmshare
$B mount -t tmpfs run /new/run
$B mount -t tmpfs shm /new/dev/shm
$B mount -t devpts pts /new/dev/pts
$B mount -t cgroup2 cgroup /new/sys/fs/cgroup
$B mount -t securityfs security /new/sys/kernel/security
$B mount -t selinuxfs selinux /new/sys/fs/selinux
$B mount -t tracefs trace /new/sys/kernel/tracing
$B ip link set lo up
end='sync; echo o >/proc/sysrq-trigger; sleep 10'
exec $B switch_root /new /bin/sh -c "/bin/sh /vmshare/run.sh; $end"
