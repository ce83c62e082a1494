# alerts.sh - what is announced on pg_trickle_alert, as lines of the file $events.  Source it after cluster.sh.
#
#   alerts_listen EVENT[,EVENT…] KEY…   from now on each of these events is a line: the values of these keys, None for one it lacks.
#                                       Returns when nothing can be missed any more; the first line says "listening"
#   seen REGEX [N]                      are there N (1) lines like this?
#   events REGEX                        how many are there?

events=$PGT_DIR/events

alerts_listen()
{
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$events" "$@" <<-'PY' &
		import json, select, sys, psycopg2
		path, wanted, keys = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
		conn = psycopg2.connect("")
		conn.set_session(autocommit=True)
		conn.cursor().execute("LISTEN pg_trickle_alert")
		out = open(path, "w", buffering=1)
		print("listening", file=out)
		while True:
		    select.select([conn], [], [], 5)
		    try:
		        conn.poll()
		    except psycopg2.OperationalError:
		        break                               # the server has gone
		    while conn.notifies:
		        event = json.loads(conn.notifies.pop(0).payload)
		        if event["event"] in wanted:
		            print(*(event.get(k) for k in keys), file=out)
	PY
	poll_cmd 20 test -s "$events"
}

seen() { [ "$(grep -cE "$1" "$events")" -ge "${2:-1}" ]; }
events() { grep -cE "$1" "$events"; }
