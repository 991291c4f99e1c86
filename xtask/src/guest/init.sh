#!/bin/busybox sh
# Process 1 of the guest: loads the modules, makes the places that tests expect, runs each test
# binary and says on the console what came of it. `cargo xtask guest` reads the lines that start
# with GUEST. A line of /tests/order is a package and its binary, joined by a dot, then which of
# its tests run.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /sys/fs/cgroup
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
while read -r module; do
    insmod "/modules/$module" || echo "GUEST failed insmod $module"
done < /modules/order
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
mount -t ext4 /dev/vda /disk || echo "GUEST failed mount /disk"

# Many tests wait more than they compute.
export RUST_TEST_THREADS=4
export PATH=/bin HOME=/ TMPDIR=/tmp
export UNDERPASS_DISK_DIR=/disk UNDERPASS_SKIPS=/tmp/skips UNDERPASS_COMPILED_DIR=/compiled
export UNDERPASS_SLOW_MACHINE=1
: > /tmp/skips
echo "GUEST kernel $(uname -r)"
# A binary that ends no test during so many signs of life stands still, and is not to take the
# others' time. How fast tests end is the host's business.
(
    quiet=0 before=
    while sleep 15; do
        echo "GUEST lives"
        now="$(cat /tmp/binary 2>/dev/null) $(wc -c 2>/dev/null < /tmp/ended)"
        if [ "$now" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        before=$now
        if [ "$quiet" -ge 40 ]; then
            echo "GUEST kills ${now%% *}, which ends no test"
            killall -KILL "${now%% *}"
            quiet=0
        fi
    done
) &
while read -r test arguments; do
    echo "GUEST begin $test"
    echo "${test##*.}" > /tmp/binary
    : > /tmp/ended
    # shellcheck disable=SC2086 # Several words, none of which holds a space.
    cd "/tests/$test" && "./${test##*.}" $arguments --logfile /tmp/ended </dev/null
    echo "GUEST end $test $?"
done < /tests/order
while read -r skip; do echo "GUEST skip $skip"; done < /tmp/skips
echo "GUEST done"
umount /disk
poweroff -f
