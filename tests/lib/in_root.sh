#!/usr/bin/env bash
# in_root.sh ROOT COMMAND…: run COMMAND inside the chroot ROOT, with /proc and /dev/shm in a mount namespace of its own, so that
# nothing stays mounted whatever happens.
set -euo pipefail
root=${1:?usage: in_root.sh ROOT COMMAND…}
shift
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
exec unshare --mount --propagation private sh -ec '
	root=$1
	shift
	mount -t proc proc "$root/proc"
	mkdir -p "$root/dev/shm"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	exec chroot "$root" "$@"' sh "$root" "$@"
