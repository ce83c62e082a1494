#!/usr/bin/env bash
# The fire test can fail: two builds that break one rule of exactness each are found out by it.
#   PGT_BREAK_BUFFER_SNAPSHOT  change buffers are read at S1 instead of a newer snapshot
#   PGT_BREAK_SOURCE_SNAPSHOT  sources are read at a newer snapshot instead of S1
. "$(dirname "$0")/../lib/cluster.sh"
make_server_dir "$PGT_DIR"

one_variant()
{
	local flag=$1 dir=$PGT_DIR/$1
	mkdir -p "$dir"
	chmod 755 "$PGT_DIR" "$dir"
	(cd "$PGT_TOP" && tar -cf - --exclude='*.o' --exclude='*.so' VERSION extension plugin sql) | tar -C "$dir" -xf -
	cp -a "$PGT_TREE" "$dir/pg"
	make -C "$dir/extension" install PG_CONFIG="$dir/pg${PG_CONFIG#"$PGT_TREE"}" COPT="-D$flag" > "$PGT_DIR/build-$flag.log" 2>&1 ||
		{ tail -20 "$PGT_DIR/build-$flag.log"; fail "$flag builds"; return; }
	PGT_BIN=$dir/pg${PGT_BIN#"$PGT_TREE"} PGT_TEST=$PGT_TEST/$flag FIRE_EXPECT=difference FIRE_SECONDS=${FIRE_BROKEN_SECONDS:-60} \
		bash "$PGT_TOP/tests/e2e/fire.sh" > "$PGT_DIR/$flag.out" 2>&1
	if grep '^ok - the broken build is found out' "$PGT_DIR/$flag.out" > /dev/null; then
		grep '^# ' "$PGT_DIR/$flag.out"
		pass "$flag is found out"
	else
		tail -20 "$PGT_DIR/$flag.out" | sed 's/^/# /'
		fail "$flag is found out"
	fi
	rm -rf "$dir"
}

one_variant PGT_BREAK_BUFFER_SNAPSHOT
one_variant PGT_BREAK_SOURCE_SNAPSHOT
done_testing
