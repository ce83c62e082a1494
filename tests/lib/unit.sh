#!/usr/bin/env bash
# unit.sh FILE: build and run one cmocka test under AddressSanitizer and UBSan, without a server.
#
# The test names the modules it links, and what else it needs, in comment lines at its top:
#   /* link: consumer/cron.c consumer/schedule.c */
#   /* libs: -lpq */
#   /* cflags: -DSOMETHING */
set -euo pipefail
file=${1:?usage: unit.sh FILE}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=${PGT_RUN:?run through tests/run.sh}/unit_$(basename "$file" .c)
field() { sed -nE "1,20s,^/\* *$1: *(.*[^ ]) *\*/.*,\1,p" "$file"; }

# Newer cmocka deprecates names that the one of Debian 12 needs.
modules=()
for m in $(field link); do modules+=("$top/$m"); done
${CC:-cc} -std=gnu11 -g -O1 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-deprecated-declarations -fsanitize=address,undefined -fno-sanitize-recover=all \
	-I"$top" -I"$top/consumer" $(field cflags) $(pkg-config --cflags libpq 2> /dev/null) \
	-DPGT_VERSION="\"$(cat "$top/VERSION")\"" \
	-o "$out" "$file" ${modules[@]+"${modules[@]}"} $(field libs) -lcmocka -llz4 -lm
cd "$top"
ASAN_OPTIONS=detect_leaks=${PGT_LEAKS:-1} CMOCKA_MESSAGE_OUTPUT=TAP "$out" 2>&1
