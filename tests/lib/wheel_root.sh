#!/usr/bin/env bash
# wheel_root.sh MAJOR: a PostgreSQL that no Debian release carries, out of a Python wheel, unpacked once into the cache directory.
#
# Prints the path of its pg_config.  The tree finds its files relative to its own programs, whose libpq is in LIBRARIES (the wheel's
# directory pgserver.libs, three above the programs): a copy of the tree needs LD_LIBRARY_PATH to it.  Version and SHA-256 of the wheel are pinned here;
# pip gets it from the index it is set up for.  What the wheel lacks: contrib (test_decoding, citext, hstore), libxml, ICU, OpenSSL.
# Exit code 77 with a reason on stderr where it cannot be had (other processor, no pip, no network).
set -euo pipefail
major=${1:?usage: wheel_root.sh MAJOR}
cache=${PGT_MATRIX_CACHE:-/var/cache/pg_trickle-matrix}
root=$cache/wheel-$major
config=$root/pgserver/pginstall/bin/pg_config

no() { echo "$*" >&2; exit 77; }

case $major in
	16) wheel='pgserver==0.1.4' sha256=d595789b47624a3d963aa9aa6359da9be31beb7e61f1a45541953242068b8813 ;;
	*) no "no wheel is known for PostgreSQL $major" ;;
esac

# The first Python that has pip.
python_with_pip()
{
	local python
	for python in python3 /usr/bin/python3; do
		if "$python" -m pip --version > /dev/null 2>&1; then echo "$python"; return; fi
	done
	return 1
}

# Nothing of the wheel is installed or run by Python, so the Python it was built for is not needed.
download()
{
	echo "$wheel --hash=sha256:$sha256" > "$work/requirements"
	timeout 300 "$python" -m pip download --no-deps --only-binary=:all: --require-hashes --implementation cp --python-version 3.11 --abi cp311 \
		--platform manylinux2014_x86_64 --dest "$work" -r "$work/requirements" > "$cache/wheel-$major.log" 2>&1
}

# With the modes of the files, which Python's own way of unpacking forgets.
unpack()
{
	"$python" - "$work"/*.whl "$work/root" <<-'PY'
		import os, sys, zipfile
		with zipfile.ZipFile(sys.argv[1]) as wheel:
		    for entry in wheel.infolist():
		        if entry.filename.startswith(("pgserver/pginstall/", "pgserver.libs/")):
		            os.chmod(wheel.extract(entry, sys.argv[2]), (entry.external_attr >> 16 | 0o644) & 0o755)
	PY
	find "$work/root" -type d -exec chmod 755 {} +
}

build()
{
	[ "$(uname -sm)" = "Linux x86_64" ] || no "the wheel is for Linux on x86_64"
	mkdir -p "$cache" 2> /dev/null && [ -w "$cache" ] || no "no right to write in $cache (PGT_MATRIX_CACHE names another place)"
	python=$(python_with_pip) || no "no Python with pip"
	work=$(mktemp -d "$cache/wheel-$major.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	download || no "pip could not download $wheel, see $cache/wheel-$major.log"
	unpack
	"$work/root/pgserver/pginstall/bin/psql" -V > /dev/null 2>&1 && "$work/root/pgserver/pginstall/bin/postgres" -V > /dev/null 2>&1 ||
		no "the programs of $wheel do not run on this system"
	# Complete at once; another run may have been faster.
	mv -T "$work/root" "$root" 2> /dev/null || [ -x "$config" ] || no "$root is in the way"
}

[ -x "$config" ] || build
echo "$config"
