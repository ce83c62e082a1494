/*
 * check.c - the doctor, and creating and dropping the slot.
 *
 * The doctor's tests are one table: a query that yields (ok, what was found), and the fix.  A test may be a warning only, and one
 * may make the ones after it pointless.  Nothing is changed on the server.
 */
#include "consumer/check.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/conn.h"
#include "consumer/sqlbuf.h"

static PGconn *
connect_blocking(const PgtOptions *o, PgtConnKind kind, PgtErr *err)
{
	const char *keywords[PGT_CONNINFO_MAX];
	const char *values[PGT_CONNINFO_MAX];
	char name[64];
	PGconn *pg;

	pgt_conninfo(o, kind, kind == PGT_CONN_REPLICATION ? "slot" : "check", name, keywords, values);
	pg = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(pg) == CONNECTION_OK)
		return pg;
	pgt_err_from_pg(err, NULL, pg);
	PQfinish(pg);
	return NULL;
}

bool
pgt_check_connects(const PgtOptions *o, PgtErr *err)
{
	const char *keywords[PGT_CONNINFO_MAX];
	const char *values[PGT_CONNINFO_MAX];
	char name[64];
	PGconn *pg = connect_blocking(o, PGT_CONN_SQL, err);

	if (pg)
	{
		PQfinish(pg);
		return true;
	}
	pgt_conninfo(o, PGT_CONN_SQL, "check", name, keywords, values);
	return PQpingParams(keywords, values, 1) != PQPING_OK;
}

/* ---- slots ---- */

/* the hint for a refused plugin, with the line to add: the present value and our name */
static void
explain_plugin(const PgtOptions *o, PgtErr *err)
{
	PgtErr ignored;
	PGconn *pg = connect_blocking(o, PGT_CONN_SQL, &ignored);
	PGresult *res = pg ? PQexec(pg, "SELECT current_setting('output_plugin_libraries', true)") : NULL;
	const char *now = PQntuples(res) == 1 && !PQgetisnull(res, 0, 0) ? PQgetvalue(res, 0, 0) : "pgoutput, test_decoding";

	pgt_err_hint(err,
				 "This server loads only the output plugins it is told to. As a superuser:"
				 "  ALTER SYSTEM SET output_plugin_libraries = %s, pgtrickle_output; SELECT pg_reload_conf();",
				 now);
	PQclear(res);
	if (pg)
		PQfinish(pg);
}

static PgtExit
slot_command(const PgtOptions *o, const char *command, const char *rest, PgtErr *err)
{
	PgtSql sql = {0};
	PGconn *pg = connect_blocking(o, PGT_CONN_REPLICATION, err);
	PGresult *res;
	bool ok;

	if (pg == NULL)
		return PGT_EXIT_CONNECT;
	pgt_sql_add(&sql, "%s ", command);
	pgt_sql_name(&sql, o->slot);
	pgt_sql_add(&sql, "%s", rest);
	res = PQexec(pg, sql.text);
	ok = PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK;
	if (!ok)
		pgt_err_from_pg(err, res, pg);
	PQclear(res);
	PQfinish(pg);
	pgt_sql_free(&sql);
	return ok ? PGT_EXIT_OK : PGT_EXIT_SLOT;
}

/* an existing slot will do if it is ours: same plugin, this database */
static bool
existing_slot_is_ours(const PgtOptions *o)
{
	const char *params[1] = {o->slot};
	PgtErr ignored;
	PGconn *pg = connect_blocking(o, PGT_CONN_SQL, &ignored);
	PGresult *res;
	bool ours;

	if (pg == NULL)
		return false;
	res = PQexecParams(pg, "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND plugin = 'pgtrickle_output' AND database = current_database()",
					   1, NULL, params, NULL, NULL, 0);
	ours = PQntuples(res) == 1;
	PQclear(res);
	PQfinish(pg);
	return ours;
}

PgtExit
pgt_create_slot(const PgtOptions *o, PgtErr *err)
{
	PgtExit code = slot_command(o, "CREATE_REPLICATION_SLOT", " LOGICAL pgtrickle_output NOEXPORT_SNAPSHOT", err);

	if (code != PGT_EXIT_SLOT)
		return code;
	if (strcmp(err->sqlstate, "42710") == 0 && o->if_not_exists)
	{
		if (existing_slot_is_ours(o))
			return PGT_EXIT_OK;
		pgt_err_hint(err, "It is not a pgtrickle_output slot of this database: choose another name.");
	}
	else if (strcmp(err->sqlstate, "42501") == 0 && strstr(err->message, "pgtrickle_output"))
		explain_plugin(o, err);
	else if (strcmp(err->sqlstate, "42501") == 0)
		pgt_err_hint(err, "The role needs REPLICATION: ALTER ROLE ... REPLICATION.");
	else if (strcmp(err->sqlstate, "55000") == 0)
		pgt_err_hint(err, "Logical decoding needs wal_level = logical and a restart of the server; see --check.");
	else if (strcmp(err->sqlstate, "58P01") == 0)
		pgt_err_hint(err, "Install pgtrickle_output.so into the server's library directory (make install).");
	return code;
}

PgtExit
pgt_drop_slot(const PgtOptions *o, PgtErr *err)
{
	return slot_command(o, "DROP_REPLICATION_SLOT", "", err);
}

/* ---- the doctor ---- */

typedef enum CheckLevel
{
	CHECK_MUST,
	CHECK_SHOULD
} CheckLevel;

typedef struct Check
{
	const char *name;
	CheckLevel level;
	const char *sql; /* $1 the slot, where it is used: (ok bool, found text); ok NULL: does not apply */
	bool uses_slot;
	const char *fix;
} Check;

static const Check checks[] = {
	{"server version", CHECK_MUST,
	 "SELECT v >= 150014 AND NOT v BETWEEN 160000 AND 160009 AND NOT v BETWEEN 170000 AND 170005, current_setting('server_version')"
	 " FROM (SELECT current_setting('server_version_num')::int AS v) s",
	 false, "Use 15.14, 16.10, 17.6, 18 or later: earlier minor releases have bugs in logical decoding that stop a stream."},
	{"wal_level", CHECK_MUST, "SELECT current_setting('wal_level') = 'logical', current_setting('wal_level')", false,
	 "ALTER SYSTEM SET wal_level = logical; then restart the server."},
	{"output_plugin_libraries", CHECK_MUST,
	 "SELECT 'pgtrickle_output' = ANY (regexp_split_to_array(regexp_replace(s, '\"([^\",]*)\"', '\\1', 'g'), '\\s*,\\s*')), s"
	 " FROM (SELECT current_setting('output_plugin_libraries', true) AS s) x",
	 false, "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, pgtrickle_output; SELECT pg_reload_conf();"
			"  (keep what else is in your list)"},
	{"replication slot free or ours", CHECK_MUST,
	 "SELECT count(slot_name) < max OR bool_or(slot_name = $1), count(slot_name) || ' of max_replication_slots = ' || max || ' in use'"
	 " FROM (SELECT current_setting('max_replication_slots')::int AS max) m LEFT JOIN pg_replication_slots ON true GROUP BY max",
	 true, "ALTER SYSTEM SET max_replication_slots = 10; then restart the server."},
	{"walsender free", CHECK_MUST,
	 "SELECT (SELECT count(*) FROM pg_stat_replication) < max OR coalesce((SELECT active FROM pg_replication_slots WHERE slot_name = $1), false),"
	 " (SELECT count(*) FROM pg_stat_replication) || ' of max_wal_senders = ' || max || ' in use'"
	 " FROM (SELECT current_setting('max_wal_senders')::int AS max) m",
	 true, "ALTER SYSTEM SET max_wal_senders = 10; then restart the server."},
	{"role has REPLICATION", CHECK_MUST, "SELECT rolreplication OR rolsuper, current_user::text FROM pg_roles WHERE rolname = current_user", false,
	 "ALTER ROLE <this role> REPLICATION;"},
	{"role is in pgtrickle_consumer", CHECK_MUST,
	 "SELECT coalesce(bool_or(pg_has_role(oid, 'USAGE')), false), current_user::text FROM pg_roles WHERE rolname = 'pgtrickle_consumer'", false,
	 "CREATE EXTENSION pg_trickle; GRANT pgtrickle_consumer TO <this role>;"},
	{"role is no superuser", CHECK_SHOULD, "SELECT NOT rolsuper, current_user::text FROM pg_roles WHERE rolname = current_user", false,
	 "Use a role of its own: CREATE ROLE trickle LOGIN REPLICATION; GRANT pgtrickle_consumer TO trickle;"},
	{"extension installed", CHECK_MUST,
	 "SELECT count(*) = 1, coalesce(max(extversion), 'not installed') FROM pg_extension WHERE extname = 'pg_trickle'", false,
	 "CREATE EXTENSION pg_trickle; in this database."},
	{"extension version", CHECK_SHOULD,
	 "SELECT CASE WHEN count(*) = 1 THEN max(extversion) = '" PGT_VERSION "' END, max(extversion) FROM pg_extension WHERE extname = 'pg_trickle'",
	 false, "ALTER EXTENSION pg_trickle UPDATE; or install trickle-consumer of the same version (this is " PGT_VERSION ")."},
	{"slot", CHECK_MUST,
	 "SELECT coalesce(bool_and(plugin = 'pgtrickle_output' AND database = current_database()), false),"
	 " coalesce(max('plugin ' || plugin || ', database ' || database), 'does not exist') FROM pg_replication_slots WHERE slot_name = $1",
	 true, "trickle-consumer --create-slot with this --slot and database; a slot of something else needs another name."},
	{"slot has its WAL", CHECK_MUST,
	 "SELECT max(wal_status) <> 'lost', max(wal_status) || coalesce(', ' || pg_size_pretty(max(safe_wal_size)) || ' left', '')"
	 " FROM pg_replication_slots WHERE slot_name = $1",
	 true, "trickle-consumer --drop-slot, then --create-slot; every stream table is then rebuilt by comparison."},
	{"slot is not about to lose WAL", CHECK_SHOULD,
	 "SELECT max(wal_status) IN ('reserved', 'extended'), max(wal_status) FROM pg_replication_slots WHERE slot_name = $1", true,
	 "Start the consumer, or raise max_slot_wal_keep_size."},
	{"encoding", CHECK_SHOULD, "SELECT getdatabaseencoding() <> 'SQL_ASCII', getdatabaseencoding()", false,
	 "A SQL_ASCII database may hold text that cannot be converted; values travel unconverted, messages may look odd."},
};

static bool
run_check(PGconn *pg, const PgtOptions *o, const Check *check, FILE *out)
{
	const char *params[1] = {o->slot};
	PGresult *res = PQexecParams(pg, check->sql, check->uses_slot ? 1 : 0, NULL, params, NULL, NULL, 0);
	bool ok = false;

	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
	{
		PgtErr err;

		pgt_err_from_pg(&err, res, pg);
		/* some settings are for members of pg_read_all_settings only: say so, and what must hold */
		ok = strcmp(err.sqlstate, "42501") == 0;
		fprintf(out, "%-8s %s: %s\n", ok ? "unknown" : "FAIL", check->name, err.message);
		if (ok)
			fprintf(out, "         needed: %s\n", check->fix);
	}
	else if (PQgetisnull(res, 0, 0))
		ok = true; /* does not apply here */
	else
	{
		ok = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
		fprintf(out, "%-8s %s: %s\n", ok ? "ok" : check->level == CHECK_MUST ? "FAIL"
																			 : "WARNING",
				check->name, PQgetvalue(res, 0, 1));
	}
	if (!ok)
		fprintf(out, "         fix: %s\n", check->fix);
	PQclear(res);
	return ok || check->level == CHECK_SHOULD;
}

static bool
check_synchronous(PGconn *pg, FILE *out)
{
	PGresult *res = PQexec(pg, "SELECT current_setting('synchronous_standby_names')");
	const char *names = PQntuples(res) == 1 ? PQgetvalue(res, 0, 0) : "";
	PgtErr err;
	bool bad = pgt_check_sync_standby(names, "trickle-consumer stream", &err);

	fprintf(out, "%-8s synchronous_standby_names: %s\n", bad ? "FAIL" : "ok", names[0] ? names : "empty");
	if (bad)
		fprintf(out, "         fix: %s\n", err.hint);
	PQclear(res);
	return !bad;
}

PgtExit
pgt_check_run(const PgtOptions *o, FILE *out)
{
	PgtErr err;
	PGconn *pg = connect_blocking(o, PGT_CONN_SQL, &err);
	PGconn *repl;
	bool ok = true;

	if (pg == NULL)
	{
		fprintf(out, "FAIL     connect: %s\n         fix: check host, port, database, role and pg_hba.conf.\n", err.message);
		return PGT_EXIT_CONNECT;
	}
	fprintf(out, "ok       connect: database %s as %s\n", PQdb(pg), PQuser(pg));
	repl = connect_blocking(o, PGT_CONN_REPLICATION, &err);
	fprintf(out, "%-8s replication connection: %s\n", repl ? "ok" : "FAIL", repl ? "accepted" : err.message);
	if (repl == NULL)
		fprintf(out, "         fix: the role needs REPLICATION, and pg_hba.conf a line for this database and role.\n");
	ok = repl != NULL;
	if (repl)
		PQfinish(repl);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		ok &= run_check(pg, o, &checks[i], out);
	ok &= check_synchronous(pg, out);
	PQfinish(pg);
	fprintf(out, ok ? "Everything that must hold does.\n" : "Something that must hold does not; see above.\n");
	return ok ? PGT_EXIT_OK : PGT_EXIT_CHECK;
}
