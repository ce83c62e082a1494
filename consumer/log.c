/*
 * log.c - log lines and error values.
 *
 * A line is built in memory and written with one write(2), so that lines of several processes sharing a file stay whole.
 * JSON is escaped by hand: messages may carry anything a server's error message carries.
 */
#include "consumer/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

typedef struct Line
{
	char text[LINE_MAX_BYTES];
	size_t len;
} Line;

static bool log_json = false;
static PgtLogLevel log_threshold = PGT_LOG_INFO;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

void
pgt_log_configure(bool json, PgtLogLevel threshold)
{
	log_json = json;
	log_threshold = threshold;
}

bool
pgt_log_enabled(PgtLogLevel level)
{
	return level >= log_threshold;
}

/* keeps room for what must still close the line */
static void
line_char(Line *line, char c)
{
	if (line->len < LINE_MAX_BYTES - 4)
		line->text[line->len++] = c;
}

static void
line_text(Line *line, const char *s)
{
	for (; *s; s++)
		line_char(line, *s);
}

/* text lines keep one event per line: control characters become blanks */
static void
line_plain(Line *line, const char *s)
{
	for (; *s; s++)
		line_char(line, (unsigned char) *s < 0x20 ? ' ' : *s);
}

static void
line_json_string(Line *line, const char *s)
{
	line_char(line, '"');
	for (; *s && line->len < LINE_MAX_BYTES - 16; s++)
	{
		unsigned char c = (unsigned char) *s;
		char buf[8];

		if (c == '"' || c == '\\')
		{
			line_char(line, '\\');
			line_char(line, (char) c);
		}
		else if (c < 0x20)
		{
			snprintf(buf, sizeof(buf), "\\u%04x", c);
			line_text(line, buf);
		}
		else
			line_char(line, (char) c);
	}
	line_char(line, '"');
}

static void
line_field(Line *line, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	if (log_json)
	{
		line_text(line, ",\"");
		line_text(line, name);
		line_text(line, "\":");
		line_json_string(line, value);
	}
	else
	{
		line_text(line, " [");
		line_text(line, name);
		line_text(line, ": ");
		line_plain(line, value);
		line_char(line, ']');
	}
}

static void
line_begin(Line *line, PgtLogLevel level, const char *part, const char *message)
{
	struct timespec now;
	struct tm tm;
	char stamp[32];
	char millis[16];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(millis, sizeof(millis), ".%03dZ", (int) (now.tv_nsec / 1000000));
	line->len = 0;
	if (log_json)
	{
		line_text(line, "{\"time\":\"");
		line_text(line, stamp);
		line_text(line, millis);
		line_char(line, '"');
		line_field(line, "level", level_names[level]);
		line_field(line, "part", part);
		line_field(line, "message", message);
		return;
	}
	line_text(line, stamp);
	line_text(line, millis);
	line_char(line, ' ');
	line_text(line, level_names[level]);
	line_char(line, ' ');
	line_text(line, part);
	line_text(line, ": ");
	line_plain(line, message);
}

static void
line_write(Line *line)
{
	ssize_t written;

	if (log_json)
		line->text[line->len++] = '}';
	line->text[line->len++] = '\n';
	written = write(STDERR_FILENO, line->text, line->len);
	(void) written; /* nowhere left to complain */
}

void
pgt_log(PgtLogLevel level, const char *part, const char *fmt, ...)
{
	char message[LINE_MAX_BYTES];
	Line line;
	va_list ap;

	if (!pgt_log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	line_begin(&line, level, part, message);
	line_write(&line);
}

void
pgt_log_err(PgtLogLevel level, const char *part, const char *context, const PgtErr *err)
{
	char message[LINE_MAX_BYTES];
	Line line;

	if (!pgt_log_enabled(level))
		return;
	snprintf(message, sizeof(message), "%s%s%s", context ? context : "", context ? ": " : "", err->message);
	line_begin(&line, level, part, message);
	line_field(&line, "sqlstate", err->sqlstate);
	line_field(&line, "hint", err->hint);
	line_write(&line);
}

void
pgt_err_set(PgtErr *err, const char *sqlstate, const char *fmt, ...)
{
	va_list ap;

	snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate);
	err->hint[0] = '\0';
	err->context[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
}

void
pgt_err_hint(PgtErr *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
}

static void
trim_newlines(char *s)
{
	size_t n = strlen(s);

	while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == ' '))
		s[--n] = '\0';
}

void
pgt_err_from_pg(PgtErr *err, const PGresult *res, const PGconn *pg)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *detail = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
	const char *context = res ? PQresultErrorField(res, PG_DIAG_CONTEXT) : NULL;

	if (primary == NULL)
		primary = (res && PQresultErrorMessage(res)[0]) ? PQresultErrorMessage(res) : PQerrorMessage(pg);
	pgt_err_set(err, state ? state : PGT_STATE_CONNECTION, "%s%s%s%s", primary[0] ? primary : "connection lost",
				detail ? " (" : "", detail ? detail : "", detail ? ")" : "");
	trim_newlines(err->message);
	if (hint)
		pgt_err_hint(err, "%s", hint);
	if (context)
		snprintf(err->context, sizeof(err->context), "%s", context);
}
