#!/usr/bin/env bash
# deps.sh [--check]: what the build and the tests need and this machine lacks, installed with apt-get; silent when nothing is missing.
#
# As root or through sudo.  --check only says what is missing (exit code 1).  Elsewhere than on Debian and Ubuntu it names what to install.
set -uo pipefail

# The server's major version: that of PG_CONFIG when it can build extensions, else the distribution's own.
major()
{
	local config=${PG_CONFIG:-pg_config} v
	if v=$("$config" --version 2> /dev/null) && [ -f "$("$config" --pgxs)" ]; then
		sed -E 's/^[^0-9]*([0-9]+).*/\1/' <<< "$v"
	elif command -v apt-cache > /dev/null; then
		apt-cache depends postgresql 2> /dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -1
	fi
}

packages()
{
	echo gcc make pkg-config "postgresql-$1" "postgresql-server-dev-$1" libpq-dev liblz4-dev libmicrohttpd-dev libcmocka-dev \
		python3 python3-psycopg2 procps util-linux
}

missing()
{
	local p
	for p in $(packages "$1"); do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null)" = installed ] || echo "$p"
	done
}

if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
	for c in cc make pkg-config "${PG_CONFIG:-pg_config}" python3; do
		command -v "$c" > /dev/null || { echo "missing: $c; see docs/testing.md for the list" >&2; exit 1; }
	done
	exit 0
fi

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
v=$(major)
if [ -z "$v" ] && [ "${1:-}" != --check ]; then
	# A fresh machine may have no package lists yet.
	$sudo apt-get update -q && v=$(major)
fi
[ -n "$v" ] || { echo "no PostgreSQL found, neither installed nor in the package lists" >&2; exit 1; }
need=$(missing "$v" | tr '\n' ' ')
[ -n "${need// /}" ] || exit 0
echo "missing: $need"
[ "${1:-}" != --check ] || exit 1
if [ -n "$sudo" ] && ! command -v sudo > /dev/null; then
	echo "not root, and no sudo: run as root: apt-get install $need" >&2
	exit 1
fi
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $need; }
$sudo apt-get update -q && install || { echo "could not install: $need" >&2; exit 1; }
