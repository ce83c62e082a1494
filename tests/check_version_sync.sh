#!/usr/bin/env bash
# check_version_sync.sh: VERSION is the one place with the version; what must repeat it agrees.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
version=$(cat VERSION)
bad=0
same()
{
	if [ "$2" = "$version" ]; then
		echo "ok - $1"
	else
		echo "# $1 says '$2', VERSION says '$version'"
		echo "not ok - $1"
		bad=1
	fi
}
same "META.json: version" "$(sed -nE 's/^   ?"version": "(.*)",$/\1/p' META.json | head -1)"
same "META.json: provides" "$(sed -nE '/"provides"/,/^   \}/s/.*"version": "(.*)".*/\1/p' META.json)"
same "CHANGELOG.md: first entry" "$(sed -nE 's/^## ([0-9.]+).*/\1/p' CHANGELOG.md | head -1)"
# The scripts, as extension/Makefile makes them: the schema each leaves behind.
previous=$(sed -nE 's/^PREVIOUS = (.*)/\1/p' extension/Makefile)
schema_of()
{
	awk -v want="$1" -f extension/scripts.awk sql/[0-9][0-9]_*.sql | sed -nE "s/.*pgt_schema_version VALUES \('([^']*)'\).*/\1/p" | tr '\n' ' '
}
same "pg_trickle--$version.sql: pgt_schema_version" "$(schema_of new | sed 's/ $//')"
same "pg_trickle--$previous--$version.sql: pgt_schema_version" "$(schema_of update | sed 's/ $//')"
if [ "$(schema_of old)" = "$previous " ]; then
	echo "ok - pg_trickle--$previous.sql: pgt_schema_version"
else
	echo "# it says '$(schema_of old)'"
	echo "not ok - pg_trickle--$previous.sql: pgt_schema_version"
	bad=1
fi
other=$(grep -hE '^-- (since|until) ' sql/*.sql | grep -vF "$version {")
if [ -z "$other" ]; then
	echo "ok - marks in sql/ are of this version"
else
	echo "# $other"
	echo "not ok - marks in sql/ are of this version"
	bad=1
fi
same "docker/Dockerfile" "$(sed -nE 's/^ARG PGT_VERSION=(.*)/\1/p' docker/Dockerfile)"
if grep -nF "$version" $(git ls-files '*.c' '*.h' '*akefile' 2> /dev/null) /dev/null; then
	echo "not ok - no version in C sources and makefiles"
	bad=1
else
	echo "ok - no version in C sources and makefiles"
fi
exit $bad
