#!/usr/bin/env bash
# check_settings.sh: a setting that nothing reads is a promise that nobody keeps.  Every setting of extension/guc.c is read elsewhere, by its
# variable or by its name; so is every option of the consumer.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bad=0

# reads NAME VARIABLE: the files in which the setting is read
reads()
{
	grep -lw -- "$2" extension/*.c | grep -v '^extension/guc\.c$'
	grep -vE '^ *(COMMENT|--|/?\*)' sql/*.sql consumer/*.c extension/*.c 2> /dev/null | grep -vE '^extension/guc\.c:' | grep -F "'pg_trickle.$1'"
}

n=0
while read -r variable; do
	n=$((n + 1))
	[ -n "$(reads "${variable#pgt_guc_}" "$variable")" ] || { echo "not ok - pg_trickle.${variable#pgt_guc_} is read by nothing"; bad=1; }
done < <(sed -nE 's/^(bool|int|double) (pgt_guc_[a-z_]+);/\2/p' extension/guc.c)
[ $n -ge 20 ] || { echo "not ok - only $n settings found in extension/guc.c"; bad=1; }
[ -z "$(reads no_such_setting pgt_guc_no_such_setting)" ] || { echo "not ok - a setting that does not exist is read"; bad=1; }

m=0
while read -r field; do
	m=$((m + 1))
	grep -lE "(->|\.)$field\b" consumer/*.c | grep -qv '^consumer/options\.c$' || { echo "not ok - the consumer's option $field is read by nothing"; bad=1; }
done < <(sed -nE '/^static const OptDef defs/,/^};/s/.*AT\(([a-z_]+)\).*/\1/p' consumer/options.c | grep -vxE 'config|start|no_password')    # for options.c itself; what is done anyway
[ $m -ge 20 ] || { echo "not ok - only $m options found in consumer/options.c"; bad=1; }
[ $bad != 0 ] || echo "ok - $n settings and $m options are read by something"
exit $bad
