/*
 * options.c - the one option table and everything that is derived from it.
 *
 * A setting is known by its long name everywhere: --flush-bytes, PGTRICKLE_FLUSH_BYTES, "flush-bytes = 4MB".  Values are checked
 * when they are read, whatever they come from, and an error names the setting, the value and the place.
 */
#include "consumer/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum OptKind
{
	OPT_FLAG,
	OPT_TEXT,
	OPT_NAME, /* text of at most 63 bytes */
	OPT_INT,
	OPT_SIZE, /* bytes; kB, MB, GB */
	OPT_TIME, /* microseconds; us, ms, s, min */
	OPT_CHOICE
} OptKind;

typedef enum OptFlags
{
	OPT_RELOAD = 1,  /* SIGHUP takes it over */
	OPT_CLI_ONLY = 2 /* an action: no environment, no file */
} OptFlags;

typedef struct OptDef
{
	const char *section; /* repeated by the rows that follow when NULL */
	const char *name;
	char letter;
	OptKind kind;
	size_t offset;
	const char *fallback;
	int64_t min;
	int64_t max;
	const char *choices; /* "none|lz4" */
	int flags;
	const char *help;
} OptDef;

#define AT(field) offsetof(PgtOptions, field)

static const OptDef defs[] = {
	{"Connection", "dbname", 'd', OPT_TEXT, AT(dbname), "", 0, 0, NULL, 0, "database, or a connection string without a password"},
	{NULL, "host", 'h', OPT_TEXT, AT(host), "", 0, 0, NULL, 0, "server host or socket directory"},
	{NULL, "port", 'p', OPT_TEXT, AT(port), "", 0, 0, NULL, 0, "server port"},
	{NULL, "username", 'U', OPT_TEXT, AT(username), "", 0, 0, NULL, 0, "role to connect as: LOGIN, REPLICATION, member of pgtrickle_consumer"},
	{NULL, "no-password", 'w', OPT_FLAG, AT(no_password), "off", 0, 0, NULL, 0, "never prompt (the daemon never does; passwords come from libpq: PGPASSFILE, service file)"},
	{NULL, "reconnect-max", 0, OPT_TIME, AT(reconnect_max_us), "1s", 10000, 600000000, NULL, OPT_RELOAD, "longest pause between attempts to reconnect"},

	{"Actions", "slot", 'S', OPT_NAME, AT(slot), "", 0, 0, NULL, 0, "replication slot of this database"},
	{NULL, "create-slot", 0, OPT_FLAG, AT(create_slot), "off", 0, 0, NULL, OPT_CLI_ONLY, "create the slot, then exit (or go on, with --start)"},
	{NULL, "drop-slot", 0, OPT_FLAG, AT(drop_slot), "off", 0, 0, NULL, OPT_CLI_ONLY, "drop the slot, then exit"},
	{NULL, "if-not-exists", 0, OPT_FLAG, AT(if_not_exists), "off", 0, 0, NULL, OPT_CLI_ONLY, "with --create-slot: an existing slot of ours is no error"},
	{NULL, "start", 0, OPT_FLAG, AT(start), "off", 0, 0, NULL, OPT_CLI_ONLY, "capture and refresh until told to stop (the default action)"},
	{NULL, "check", 0, OPT_FLAG, AT(check), "off", 0, 0, NULL, OPT_CLI_ONLY, "test every precondition, print a fix for each that fails, exit"},
	{NULL, "config", 'c', OPT_TEXT, AT(config), "", 0, 0, NULL, 0, "ini file with lines of the form  name = value"},
	{NULL, "help", '?', OPT_FLAG, AT(help), "off", 0, 0, NULL, OPT_CLI_ONLY, "this text"},
	{NULL, "version", 'V', OPT_FLAG, AT(version), "off", 0, 0, NULL, OPT_CLI_ONLY, "print the version"},
	{NULL, "print-options-md", 0, OPT_FLAG, AT(print_options_md), "off", 0, 0, NULL, OPT_CLI_ONLY, "print this table as Markdown"},

	{"Capture and apply", "apply-memory", 0, OPT_SIZE, AT(apply_memory), "64MB", 1 << 20, (int64_t) 16 << 30, NULL, OPT_RELOAD, "received and unapplied data beyond which reading pauses"},
	{NULL, "flush-bytes", 0, OPT_SIZE, AT(flush_bytes), "4MB", 64 << 10, (int64_t) 1 << 30, NULL, OPT_RELOAD, "apply what has been gathered once it has this size"},
	{NULL, "flush-idle", 0, OPT_TIME, AT(flush_idle_us), "3ms", 0, 10000000, NULL, OPT_RELOAD, "apply what has been gathered after this long without more"},
	{NULL, "segment-size", 0, OPT_SIZE, AT(segment_size), "8MB", 64 << 10, (int64_t) 64 << 30, NULL, OPT_RELOAD, "begin a new buffer segment beyond this size (eight times it when a source has many)"},
	{NULL, "ack-bytes", 0, OPT_SIZE, AT(ack_bytes), "1MB", 8 << 10, (int64_t) 64 << 30, NULL, OPT_RELOAD, "confirm to the slot in steps of this much WAL"},
	{NULL, "ack-interval", 0, OPT_TIME, AT(ack_interval_us), "10s", 100000, 3600000000, NULL, OPT_RELOAD, "confirm smaller steps this often while sources change"},
	{NULL, "status-interval", 0, OPT_TIME, AT(status_interval_us), "10s", 100000, 600000000, NULL, OPT_RELOAD, "send our positions to the server at least this often"},
	{NULL, "linger", 0, OPT_INT, AT(linger_ms), "-1", -1, 1000, NULL, 0, "milliseconds the plugin waits for company after a commit when it has caught up (-1: the plugin's default)"},
	{NULL, "compression", 0, OPT_CHOICE, AT(compression), "none", 0, 0, "none|lz4", 0, "compress frames between server and daemon"},

	{"Refreshes", "workers", 0, OPT_INT, AT(workers), "2", 1, 64, NULL, OPT_RELOAD, "connections that refresh stream tables at the same time"},
	{NULL, "barrier-lag", 0, OPT_TIME, AT(barrier_lag_us), "1s", 1000, 3600000000, NULL, OPT_RELOAD, "start no refresh while apply is further behind than this"},

	{"Watching", "http", 0, OPT_TEXT, AT(http), "", 0, 0, NULL, 0, "serve /metrics and /healthz at [address:]port; the address defaults to 127.0.0.1"},
	{NULL, "log-format", 0, OPT_CHOICE, AT(log_format), "text", 0, 0, "text|json", OPT_RELOAD, "form of the log on stderr"},
	{NULL, "verbose", 'v', OPT_FLAG, AT(verbose), "off", 0, 0, NULL, OPT_RELOAD, "log debug messages too"},
};

#define NDEFS ((int) (sizeof(defs) / sizeof(defs[0])))

typedef enum OptOrigin
{
	ORIGIN_DEFAULT,
	ORIGIN_FILE,
	ORIGIN_ENV,
	ORIGIN_CLI
} OptOrigin;

/* ---- values ---- */

typedef struct Unit
{
	const char *name;
	int64_t factor;
} Unit;

static const Unit size_units[] = {{"B", 1}, {"kB", 1024}, {"MB", 1024 * 1024}, {"GB", 1024 * 1024 * 1024}, {NULL, 0}};
static const Unit time_units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"min", 60000000}, {NULL, 0}};
static const Unit no_units[] = {{NULL, 0}};

/* a whole number and, where units are given, one of them; a bare 0 needs none, a bare size is bytes */
static bool
parse_number(const char *text, const Unit *units, bool bare_ok, int64_t *out)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end == text || errno != 0 || isspace((unsigned char) text[0]))
		return false;
	while (*end == ' ')
		end++;
	if (*end == '\0')
	{
		*out = value;
		return bare_ok || value == 0;
	}
	for (; units->name; units++)
	{
		if (strcmp(units->name, end) == 0)
			return !__builtin_mul_overflow((int64_t) value, units->factor, out);
	}
	return false;
}

static bool
parse_flag(const char *text, bool *out)
{
	static const char *const yes[] = {"on", "true", "yes", "1", NULL};
	static const char *const no[] = {"off", "false", "no", "0", NULL};

	for (int i = 0; yes[i]; i++)
	{
		if (strcasecmp(text, yes[i]) == 0)
			return (*out = true);
		if (strcasecmp(text, no[i]) == 0)
			return !(*out = false);
	}
	return false;
}

static bool
is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (const char *p = choices; n > 0 && (p = strstr(p, text)) != NULL; p++)
	{
		if ((p == choices || p[-1] == '|') && (p[n] == '|' || p[n] == '\0'))
			return true;
	}
	return false;
}

static bool
set_text(char *out, size_t size, const char *text)
{
	if (strlen(text) >= size)
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static const char *
kind_words(const OptDef *def)
{
	switch (def->kind)
	{
		case OPT_FLAG:
			return "on or off";
		case OPT_SIZE:
			return "a size such as 8MB, within its limits";
		case OPT_TIME:
			return "a time such as 3ms or 10s, within its limits";
		case OPT_INT:
			return "a whole number within its limits";
		case OPT_CHOICE:
			return def->choices;
		default:
			return "a shorter text";
	}
}

static bool
assign(PgtOptions *o, const OptDef *def, const char *text, const char *place, PgtErr *err)
{
	char *field = (char *) o + def->offset;
	bool ok = false;
	int64_t number = 0;

	switch (def->kind)
	{
		case OPT_FLAG:
			ok = parse_flag(text, (bool *) field);
			break;
		case OPT_TEXT:
			ok = set_text(field, PGT_OPT_TEXT, text);
			break;
		case OPT_NAME:
			ok = set_text(field, 64, text);
			break;
		case OPT_CHOICE:
			ok = is_choice(def->choices, text) && set_text(field, 16, text);
			break;
		case OPT_INT:
		case OPT_SIZE:
		case OPT_TIME:
			ok = parse_number(text, def->kind == OPT_SIZE ? size_units : def->kind == OPT_TIME ? time_units
																							   : no_units,
							  def->kind != OPT_TIME, &number) &&
				 number >= def->min && number <= def->max;
			if (ok)
				*(int64_t *) field = number;
			break;
	}
	if (!ok)
	{
		pgt_err_set(err, PGT_STATE_USAGE, "invalid value \"%s\" for \"%s\" (%s)", text, def->name, place);
		pgt_err_hint(err, "It takes %s.", kind_words(def));
	}
	return ok;
}

/* ---- sources of values ---- */

typedef struct Parse
{
	PgtOptions *o;
	OptOrigin origin[NDEFS];
	PgtErr *err;
} Parse;

static int
find_name(const char *name, size_t len)
{
	for (int i = 0; i < NDEFS; i++)
	{
		if (strlen(defs[i].name) == len && memcmp(defs[i].name, name, len) == 0)
			return i;
	}
	return -1;
}

static int
find_letter(char letter)
{
	for (int i = 0; i < NDEFS; i++)
	{
		if (letter != '\0' && defs[i].letter == letter)
			return i;
	}
	return -1;
}

/* a stronger origin wins; within one the last value does */
static bool
offer(Parse *p, int i, OptOrigin origin, const char *text, const char *place)
{
	if (p->origin[i] > origin)
		return true;
	p->origin[i] = origin;
	return assign(p->o, &defs[i], text, place, p->err);
}

static bool
usage(Parse *p, const char *what, const char *which)
{
	pgt_err_set(p->err, PGT_STATE_USAGE, "%s: %s", what, which);
	pgt_err_hint(p->err, "Try trickle-consumer --help.");
	return false;
}

static bool
parse_long(Parse *p, int argc, char *const *argv, int *at)
{
	const char *name = argv[*at] + 2;
	const char *equals = strchr(name, '=');
	int i = find_name(name, equals ? (size_t) (equals - name) : strlen(name));

	if (i < 0)
		return usage(p, "unknown option", argv[*at]);
	if (equals)
		return offer(p, i, ORIGIN_CLI, equals + 1, "command line");
	if (defs[i].kind == OPT_FLAG)
		return offer(p, i, ORIGIN_CLI, "on", "command line");
	if (*at + 1 >= argc)
		return usage(p, "option needs a value", argv[*at]);
	return offer(p, i, ORIGIN_CLI, argv[++*at], "command line");
}

/* -w -v -d name -dname; flags may be joined */
static bool
parse_short(Parse *p, int argc, char *const *argv, int *at)
{
	for (const char *c = argv[*at] + 1; *c; c++)
	{
		int i = find_letter(*c);

		if (i < 0)
			return usage(p, "unknown option", argv[*at]);
		if (defs[i].kind == OPT_FLAG)
		{
			if (!offer(p, i, ORIGIN_CLI, "on", "command line"))
				return false;
			continue;
		}
		if (c[1] != '\0')
			return offer(p, i, ORIGIN_CLI, c + 1, "command line");
		if (*at + 1 >= argc)
			return usage(p, "option needs a value", argv[*at]);
		return offer(p, i, ORIGIN_CLI, argv[++*at], "command line");
	}
	return true;
}

static bool
parse_command_line(Parse *p, int argc, char *const *argv)
{
	for (int at = 1; at < argc; at++)
	{
		bool ok;

		if (strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0')
			ok = parse_long(p, argc, argv, &at);
		else if (argv[at][0] == '-' && argv[at][1] != '\0' && argv[at][1] != '-')
			ok = parse_short(p, argc, argv, &at);
		else
			ok = usage(p, "unexpected argument", argv[at]);
		if (!ok)
			return false;
	}
	return true;
}

static void
env_name(const OptDef *def, char *out, size_t size)
{
	size_t n = (size_t) snprintf(out, size, "PGTRICKLE_%s", def->name);

	for (size_t i = 0; i < n && i < size; i++)
		out[i] = out[i] == '-' ? '_' : (char) toupper((unsigned char) out[i]);
}

static bool
parse_environment(Parse *p, PgtGetenv env)
{
	char name[64];

	for (int i = 0; i < NDEFS; i++)
	{
		const char *value;

		if (defs[i].flags & OPT_CLI_ONLY)
			continue;
		env_name(&defs[i], name, sizeof(name));
		value = env(name);
		if (value && !offer(p, i, ORIGIN_ENV, value, name))
			return false;
	}
	return true;
}

static char *
strip(char *s)
{
	char *end;

	while (isspace((unsigned char) *s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char) end[-1]))
		*--end = '\0';
	return s;
}

static bool
parse_line(Parse *p, char *line, const char *place)
{
	char *text = strip(line);
	char *equals;
	char *name;
	int i;

	if (*text == '\0' || *text == '#' || *text == ';' || *text == '[')
		return true;
	equals = strchr(text, '=');
	if (equals == NULL)
		return usage(p, place, "line is not of the form name = value");
	*equals = '\0';
	name = strip(text);
	i = find_name(name, strlen(name));
	if (i < 0 || (defs[i].flags & OPT_CLI_ONLY))
	{
		pgt_err_set(p->err, PGT_STATE_USAGE, "unknown setting \"%s\" (%s)", name, place);
		return false;
	}
	return offer(p, i, ORIGIN_FILE, strip(equals + 1), place);
}

static bool
parse_file(Parse *p, const char *path)
{
	char line[1024];
	char place[PGT_OPT_TEXT + 32];
	int number = 0;
	bool ok = true;
	FILE *f = fopen(path, "r");

	if (f == NULL)
	{
		pgt_err_set(p->err, PGT_STATE_USAGE, "could not open configuration file \"%s\": %s", path, strerror(errno));
		return false;
	}
	while (ok && fgets(line, sizeof(line), f))
	{
		snprintf(place, sizeof(place), "%s line %d", path, ++number);
		if (strchr(line, '\n') == NULL && !feof(f))
			ok = usage(p, place, "line is too long");
		else
			ok = parse_line(p, line, place);
	}
	fclose(f);
	return ok;
}

static bool
check_combination(const PgtOptions *o, PgtErr *err)
{
	int actions = o->create_slot + o->drop_slot + o->check;

	if (o->help || o->version || o->print_options_md)
		return true;
	if (actions > 1)
		pgt_err_set(err, PGT_STATE_USAGE, "only one of --create-slot, --drop-slot and --check can be given");
	else if (o->start && (o->drop_slot || o->check))
		pgt_err_set(err, PGT_STATE_USAGE, "--start cannot be combined with --drop-slot or --check");
	else if (o->if_not_exists && !o->create_slot)
		pgt_err_set(err, PGT_STATE_USAGE, "--if-not-exists needs --create-slot");
	else if (o->slot[0] == '\0')
		pgt_err_set(err, PGT_STATE_USAGE, "no slot given");
	else if (strspn(o->slot, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(o->slot))
		pgt_err_set(err, PGT_STATE_USAGE, "invalid slot name \"%s\"", o->slot);
	else
		return true;
	pgt_err_hint(err, "%s", o->slot[0] ? "Slot names consist of lower-case letters, digits and underscores; see --help." : "Name it with --slot; see --help.");
	return false;
}

bool
pgt_options_parse(PgtOptions *o, int argc, char *const *argv, PgtGetenv env, PgtErr *err)
{
	Parse p = {o, {ORIGIN_DEFAULT}, err};

	memset(o, 0, sizeof(*o));
	for (int i = 0; i < NDEFS; i++)
	{
		if (!assign(o, &defs[i], defs[i].fallback, "built in", err))
			return false;
	}
	if (!parse_command_line(&p, argc, argv) || !parse_environment(&p, env))
		return false;
	if (o->config[0] && !parse_file(&p, o->config))
		return false;
	return check_combination(o, err);
}

static size_t
field_size(const OptDef *def)
{
	switch (def->kind)
	{
		case OPT_FLAG:
			return sizeof(bool);
		case OPT_TEXT:
			return PGT_OPT_TEXT;
		case OPT_NAME:
			return 64;
		case OPT_CHOICE:
			return 16;
		default:
			return sizeof(int64_t);
	}
}

bool
pgt_options_reload(PgtOptions *o, int argc, char *const *argv, PgtGetenv env, PgtErr *err)
{
	PgtOptions fresh;

	if (!pgt_options_parse(&fresh, argc, argv, env, err))
		return false;
	for (int i = 0; i < NDEFS; i++)
	{
		if (defs[i].flags & OPT_RELOAD)
			memcpy((char *) o + defs[i].offset, (char *) &fresh + defs[i].offset, field_size(&defs[i]));
	}
	return true;
}

/* ---- texts ---- */

static const struct
{
	PgtExit code;
	const char *meaning;
} exits[] = {
	{PGT_EXIT_OK, "done, or stopped by SIGTERM or SIGINT after draining"},
	{PGT_EXIT_USAGE, "bad option or configuration file"},
	{PGT_EXIT_CONNECT, "the server refused us in a way that waiting does not mend (role, password, database)"},
	{PGT_EXIT_CHECK, "a precondition does not hold; --check names each with its fix"},
	{PGT_EXIT_SYNC_STANDBY, "the server would treat us as a synchronous standby"},
	{PGT_EXIT_SLOT, "the slot cannot be created, dropped or used"},
	{PGT_EXIT_INTERNAL, "internal error"},
};

void
pgt_options_help(FILE *out)
{
	fprintf(out, "trickle-consumer keeps the stream tables of one database fresh.\n\nUsage:\n"
				 "  trickle-consumer --slot=NAME [-d DBNAME] [OPTION]...\n");
	for (int i = 0; i < NDEFS; i++)
	{
		char left[64];
		const OptDef *d = &defs[i];

		if (d->section)
			fprintf(out, "\n%s:\n", d->section);
		snprintf(left, sizeof(left), "%c%c%s --%s%s%s%s", d->letter ? '-' : ' ', d->letter ? d->letter : ' ', d->letter ? "," : " ",
				 d->name, d->kind == OPT_FLAG ? "" : "=", d->kind == OPT_FLAG ? "" : d->choices ? d->choices
																								: "VALUE",
				 "");
		fprintf(out, "  %-34s %s", left, d->help);
		if (d->kind != OPT_FLAG && d->fallback[0])
			fprintf(out, " (default %s)", d->fallback);
		fputc('\n', out);
	}
	fprintf(out, "\nEvery option that is not an action can also be set in the environment (PGTRICKLE_FLUSH_BYTES=4MB) and in the\n"
				 "ini file (flush-bytes = 4MB).  The command line wins over the environment, which wins over the file.\n"
				 "libpq's own environment (PGHOST, PGPASSFILE, PGSSLMODE ...) applies as usual.\n"
				 "SIGHUP reads the file again, SIGTERM and SIGINT drain and end.\n\nExit codes:\n");
	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		fprintf(out, "  %d  %s\n", exits[i].code, exits[i].meaning);
}

void
pgt_options_markdown(FILE *out)
{
	char name[64];

	for (int i = 0; i < NDEFS; i++)
	{
		const OptDef *d = &defs[i];

		if (d->section)
			fprintf(out, "%s### %s\n\n| option | environment | default | reload | meaning |\n|---|---|---|---|---|\n", i ? "\n" : "",
					d->section);
		env_name(d, name, sizeof(name));
		fprintf(out, "| `--%s`", d->name);
		if (d->letter)
			fprintf(out, ", `-%c`", d->letter);
		fprintf(out, " | %s%s%s | %s%s%s | %s | %s", d->flags & OPT_CLI_ONLY ? "" : "`", d->flags & OPT_CLI_ONLY ? "–" : name,
				d->flags & OPT_CLI_ONLY ? "" : "`", d->fallback[0] ? "`" : "", d->fallback, d->fallback[0] ? "`" : "",
				d->flags & OPT_RELOAD ? "yes" : "no", d->help);
		if (d->choices)
			fprintf(out, " (%s)", strcmp(d->choices, "none|lz4") == 0 ? "`none`, `lz4`" : "`text`, `json`");
		fprintf(out, " |\n");
	}
	fprintf(out, "\n### Exit codes\n\n| code | meaning |\n|---|---|\n");
	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		fprintf(out, "| %d | %s |\n", exits[i].code, exits[i].meaning);
}
