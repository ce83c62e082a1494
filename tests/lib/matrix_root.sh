#!/usr/bin/env bash
# matrix_root.sh SUITE MAJOR: a Debian SUITE with PostgreSQL MAJOR and what the build needs, as a chroot in the cache directory.
#
# Prints the root's path; a root is made once and kept.  The mirror and its proxy and CA settings are the host's own, read from
# its apt configuration.  Exit code 77 with a reason on stderr where no root can be made (not root, no debootstrap, no network).
set -euo pipefail
suite=${1:?usage: matrix_root.sh SUITE MAJOR}
major=${2:?usage: matrix_root.sh SUITE MAJOR}
cache=${PGT_MATRIX_CACHE:-/var/cache/pg_trickle-matrix}
root=$cache/$suite

no() { echo "$*" >&2; exit 77; }

packages="postgresql-$major postgresql-server-dev-$major gcc make libpq-dev liblz4-dev libmicrohttpd-dev libcmocka-dev
          pkg-config python3-psycopg2 procps util-linux"

# The first Debian archive in the host's apt configuration.
host_mirror() {
    local uri
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
          grep -v security | head -1) || true
    if [ -z "$uri" ]; then
        uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
              sed -nE 's/^(URIs:|deb)[[:space:]]+(\[[^]]*\][[:space:]]*)?([^[:space:]]*\/debian\/?)([[:space:]].*)?$/\3/p' | head -1)
    fi
    echo "${uri%/}"
}

# The host's proxy, TLS and retry settings for the root's apt, and for debootstrap through the environment.
copy_apt_settings() {
    local key value
    mkdir -p "$root/etc/apt/apt.conf.d"
    apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Retries)' > "$root/etc/apt/apt.conf.d/90host" || true
    # A mirror that lags behind has Release files past their date; signatures are checked all the same.
    echo 'Acquire::Check-Valid-Until "false";' > "$root/etc/apt/apt.conf.d/91dates"
    while read -r key value; do
        case $key in *::CaInfo) value=${value#\"}; value=${value%\";}
            [ -f "$value" ] && install -D -m 644 "$value" "$root$value" ;;
        esac
    done < "$root/etc/apt/apt.conf.d/90host"
}

build() {
    local mirror script=() proxy
    mirror=${PGT_MATRIX_MIRROR:-$(host_mirror)}
    [ -n "$mirror" ] || no "no Debian archive in this host's apt configuration (PGT_MATRIX_MIRROR names one)"
    proxy=$(apt-config dump 2>/dev/null | sed -nE 's/^Acquire::http::Proxy "(.*)";/\1/p' | head -1)
    [ -z "$proxy" ] || export http_proxy=$proxy https_proxy=$proxy
    [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=(/usr/share/debootstrap/scripts/sid)
    rm -rf "$root"
    mkdir -p "$cache"
    timeout 900 debootstrap --variant=minbase "$suite" "$root" "$mirror" "${script[@]}" >> "$cache/$suite.log" 2>&1 ||
        no "debootstrap $suite from $mirror failed, see $cache/$suite.log"
    copy_apt_settings
    # No cluster and no service of its own.
    mkdir -p "$root/etc/postgresql-common"
    echo 'create_main_cluster = false' > "$root/etc/postgresql-common/createcluster.conf"
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    timeout 1200 "$(dirname "${BASH_SOURCE[0]}")/in_root.sh" "$root" sh -ec "
        apt-get update
        apt-get install -y --no-install-recommends $(echo $packages)
        apt-get clean" >> "$cache/$suite.log" 2>&1 || no "packages for $suite could not be installed, see $cache/$suite.log"
    touch "$root/.complete"
}

[ "$(id -u)" = 0 ] || no "making a root needs root rights"
if [ ! -e "$root/.complete" ]; then
    command -v debootstrap > /dev/null || no "debootstrap is not installed"
    unshare --mount true 2> /dev/null || no "no right to mount"
    build
fi
echo "$root"
