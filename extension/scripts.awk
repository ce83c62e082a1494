# scripts.awk -v want=new|old|update: one of the extension's scripts from sql/NN_topic.sql.
#
# The topic files say what the present version is.  Marks, alone on their lines, say what the version before had not, or had
# otherwise, so that its script and the script that updates it are made from the same text:
#
#   -- since VERSION {   not in the old script; in the new one and in the update
#   -- until VERSION {   in the old script only
#   -- update {          in the update only, for what has to go or to change before its place is taken
#   -- again {           in all three: grants over "everything so far", say
#   -- }                 ends each of them; marks do not nest
#
# Text without marks is in the old and the new script.
function die(why) { printf "%s:%d: %s\n", FILENAME, FNR, why > "/dev/stderr"; bad = 1; exit 1 }
FNR == 1 && inside { die("a mark of the file before was not ended") }
/^-- (since|until) [0-9.]+ [{]$/ || /^-- (update|again) [{]$/ {
	if (inside) die("marks do not nest")
	inside = $2
	next
}
/^-- [}]$/ {
	if (!inside) die("nothing to end")
	inside = ""
	next
}
/^-- *(since|until|update|again).*[{]$/ { die("not a mark, and looks like one") }
{
	if (inside == "")
		take = want != "update"
	else if (inside == "since")
		take = want != "old"
	else if (inside == "until")
		take = want == "old"
	else if (inside == "update")
		take = want == "update"
	else
		take = 1
	if (take) print
}
END { if (!bad && inside) { print FILENAME ": a mark was not ended" > "/dev/stderr"; exit 1 } }
