/*
 * guc.c - the settings of the extension.
 *
 * `settings` below is the only place that names, bounds and describes them; docs/configuration.md is generated from what
 * the server then shows in pg_settings.  All are SUSET: they bound what an ordinary user may do to others (lock times,
 * retained WAL), and the consumer, which acts for everybody, reads them in its own sessions.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "guc.h"

bool pgt_guc_enabled;
double pgt_guc_min_schedule_seconds;
double pgt_guc_default_schedule_seconds;
int pgt_guc_max_poll_interval_ms;
int pgt_guc_max_consecutive_errors;
int pgt_guc_max_concurrent_refreshes;
int pgt_guc_refresh_strategy;
double pgt_guc_differential_max_change_ratio;
double pgt_guc_cost_model_safety_margin;
int pgt_guc_barrier_timeout;
int pgt_guc_sync_load_limit;
bool pgt_guc_auto_index;
int pgt_guc_topk_margin;
bool pgt_guc_log_delta_sql;
int pgt_guc_volatile_function_policy;
bool pgt_guc_columnar_tracking;
bool pgt_guc_unlogged_buffers;
bool pgt_guc_block_source_ddl;
int pgt_guc_register_lock_timeout;
int pgt_guc_max_retained_wal;
int pgt_guc_history_retention_days;
int pgt_guc_history_purge_batch_size;
int pgt_guc_slot_lag_warning_threshold_mb;
int pgt_guc_slot_lag_critical_threshold_mb;
int pgt_guc_buffer_alert_threshold;
int pgt_guc_spill_threshold_blocks;
int pgt_guc_fuse_default_ceiling;
int pgt_guc_watermark_holdback_timeout;
int pgt_guc_self_monitoring_auto_apply;
bool pgt_guc_self_monitoring_widen_dispatch;

static const struct config_enum_entry strategy_options[] = {
	{"auto", PGT_STRATEGY_AUTO, false},
	{"differential", PGT_STRATEGY_DIFFERENTIAL, false},
	{"full", PGT_STRATEGY_FULL, false},
	{NULL, 0, false}};

static const struct config_enum_entry volatile_options[] = {
	{"reject", PGT_VOLATILE_REJECT, false},
	{"warn", PGT_VOLATILE_WARN, false},
	{"allow", PGT_VOLATILE_ALLOW, false},
	{NULL, 0, false}};

static const struct config_enum_entry auto_apply_options[] = {
	{"off", PGT_AUTO_APPLY_OFF, false},
	{"threshold_only", PGT_AUTO_APPLY_THRESHOLD_ONLY, false},
	{"full", PGT_AUTO_APPLY_FULL, false},
	{NULL, 0, false}};

typedef enum SettingKind
{
	SETTING_BOOL,
	SETTING_INT,
	SETTING_REAL,
	SETTING_ENUM
} SettingKind;

typedef struct Setting
{
	const char *name; /* without the prefix */
	SettingKind kind;
	void *variable;
	double boot;
	double min;
	double max;
	int unit; /* GUC_UNIT_*, 0 = none */
	const struct config_enum_entry *options;
	const char *short_desc;
	const char *long_desc;
} Setting;

#define FLAG(name, boot, short_desc, long_desc)                                          \
	{                                                                                    \
#name, SETTING_BOOL, &pgt_guc_##name, boot, 0, 1, 0, NULL, short_desc, long_desc \
	}
#define NUMBER(name, boot, min, max, unit, short_desc, long_desc)                              \
	{                                                                                          \
#name, SETTING_INT, &pgt_guc_##name, boot, min, max, unit, NULL, short_desc, long_desc \
	}
#define REAL(name, boot, min, max, unit, short_desc, long_desc)                                 \
	{                                                                                           \
#name, SETTING_REAL, &pgt_guc_##name, boot, min, max, unit, NULL, short_desc, long_desc \
	}
#define CHOICE(name, boot, options, short_desc, long_desc)                                  \
	{                                                                                       \
#name, SETTING_ENUM, &pgt_guc_##name, boot, 0, 0, 0, options, short_desc, long_desc \
	}

static const Setting settings[] = {
	FLAG(enabled, true,
		 "Lets the consumer refresh stream tables on their schedules.",
		 "Off stops scheduled refreshes; capture goes on, and refreshes by hand still work."),
	REAL(min_schedule_seconds, 1, 0, 86400, GUC_UNIT_S,
		 "Shortest refresh interval a stream table may ask for.",
		 "Bounds durations only, not cron expressions and not \"continuous\". Fractions are allowed; 0 means no bound."),
	REAL(default_schedule_seconds, 1, 0.01, 86400, GUC_UNIT_S,
		 "Refresh interval of a calculated stream table that no other stream table reads.", NULL),
	NUMBER(max_poll_interval_ms, 1000, 50, 600000, GUC_UNIT_MS,
		   "Longest time the consumer lets pass before it looks again for what is due.",
		   "Changed definitions are announced by NOTIFY; this bounds the delay of one that was missed."),
	NUMBER(max_consecutive_errors, 3, 1, 1000, 0,
		   "Number of failed refreshes in a row after which a stream table is suspended.", NULL),
	NUMBER(max_concurrent_refreshes, 4, 1, 64, 0,
		   "Number of refreshes the consumer runs at the same time.", NULL),
	CHOICE(refresh_strategy, PGT_STRATEGY_AUTO, strategy_options,
		   "Overrides how stream tables are refreshed.",
		   "auto decides per refresh; differential never prefers a full comparison for its cost; full always compares."),
	REAL(differential_max_change_ratio, 0.15, 0, 1, 0,
		 "Share of changed source rows above which a refresh recomputes and compares instead.",
		 "AUTO goes by it until it has measured what both ways cost. A stream table's auto_threshold comes before it."),
	REAL(cost_model_safety_margin, 0.8, 0.1, 1, 0,
		 "By how much cheaper than a comparison an incremental refresh must look before AUTO returns to it.",
		 "A factor. It keeps AUTO from going to and fro between two ways that cost about the same."),
	NUMBER(barrier_timeout, 2000, 10, 600000, GUC_UNIT_MS,
		   "Longest time a refresh waits for captured changes to arrive.",
		   "A refresh holds read locks on its sources meanwhile, so this also bounds how long it can delay a TRUNCATE or ALTER TABLE."),
	NUMBER(sync_load_limit, 64 * 1024, 0, INT_MAX, GUC_UNIT_KB,
		   "Total size of sources up to which a stream table is filled in the transaction that creates it.",
		   "Larger first loads are done by the consumer afterwards, without blocking writers."),
	FLAG(auto_index, true,
		 "Creates the indexes that incremental maintenance of a stream table needs.", NULL),
	NUMBER(topk_margin, 1000, 1, 1000000, 0,
		   "Rows behind those of an ORDER BY ... LIMIT that a stream table keeps, at least.",
		   "As many rows may leave the top before the query's source is read again. A LIMIT of more rows keeps as many again as it has; "
		   "one that an index of its table serves keeps none."),
	FLAG(log_delta_sql, false,
		 "Logs the statements that refreshes run.", NULL),
	CHOICE(volatile_function_policy, PGT_VOLATILE_REJECT, volatile_options,
		   "What to do with defining queries that use volatile functions or user-defined stable ones.", NULL),
	FLAG(columnar_tracking, true,
		 "Records for each captured UPDATE which columns it changed.",
		 "Stream tables then skip updates that touch none of their columns. Takes effect for sources registered afterwards."),
	FLAG(unlogged_buffers, true,
		 "Keeps change buffers in unlogged tables.",
		 "On, changes are written to WAL once, and the slot retains WAL until refreshes have consumed them. Off, buffers are "
		 "logged: the slot moves on at once, and changes are written to WAL twice. Change it only while no source is registered."),
	FLAG(block_source_ddl, true,
		 "Refuses DDL that takes away what a stream table reads.",
		 "Off, such DDL passes and the stream tables that it breaks are suspended."),
	NUMBER(register_lock_timeout, 0, 0, 60000, GUC_UNIT_MS,
		   "Longest time the registration of a source waits for one lock before it gives way and tries again.",
		   "Writers queue behind that wait. 0 means three tenths of deadlock_timeout, so that a writer is never the victim of a deadlock with a registration."),
	NUMBER(max_retained_wal, 4096, 0, INT_MAX, GUC_UNIT_MB,
		   "WAL that a stream table may keep the slot from releasing.",
		   "Beyond it the stream table is marked for a full comparison and no longer holds back the slot. 0 means no limit."),
	NUMBER(history_retention_days, 90, 0, 36500, 0,
		   "Days for which refresh history is kept.", "0 keeps it for ever."),
	NUMBER(history_purge_batch_size, 500, 1, 1000000, 0,
		   "Rows of expired refresh history that are deleted in one transaction.", NULL),
	NUMBER(slot_lag_warning_threshold_mb, 100, 0, INT_MAX, GUC_UNIT_MB,
		   "WAL retained by the slot above which a warning is raised.", NULL),
	NUMBER(slot_lag_critical_threshold_mb, 1024, 0, INT_MAX, GUC_UNIT_MB,
		   "WAL retained by the slot above which health checks turn critical.", NULL),
	NUMBER(buffer_alert_threshold, 1000000, 0, INT_MAX, 0,
		   "Rows waiting in the buffer of one source above which an alert is raised.", NULL),
	NUMBER(spill_threshold_blocks, 131072, 0, INT_MAX, 0,
		   "Size of one source's change buffer, in blocks of 8 kB, that check_cdc_health warns of two cycles ahead.",
		   "0 means that no size is too large."),
	NUMBER(fuse_default_ceiling, 0, 0, INT_MAX, 0,
		   "Changed rows above which the fuse of a stream table blows that has one without a ceiling of its own.",
		   "0 means no ceiling: such a fuse never blows."),
	NUMBER(watermark_holdback_timeout, 0, 0, 31536000, GUC_UNIT_S,
		   "Time without an advance after which a watermark that holds a stream table back is reported as stuck.",
		   "Once, by the alert watermark_stuck; watermark_resumed follows. 0 means never. The consumer reads it in its own session."),
	CHOICE(self_monitoring_auto_apply, PGT_AUTO_APPLY_OFF, auto_apply_options,
		   "What the consumer may change by itself on the advice of self-monitoring.",
		   "threshold_only follows the advice of df_threshold_advice; full also lowers the tier of stream tables that cannot keep their "
		   "schedule and separates pairs that slow each other down. The consumer reads it in its own session: set it with ALTER SYSTEM "
		   "and reload, or ALTER DATABASE; a session's SET has no effect."),
	FLAG(self_monitoring_widen_dispatch, true,
		 "Lets the consumer put off refreshes that would overlap while df_scheduling_interference reports contention.",
		 "They wait for those under way, a fifth of the stream table's interval at most, and at most max_poll_interval_ms."),
};

static void
define_setting(const Setting *s)
{
	char *name = psprintf("pg_trickle.%s", s->name);

	switch (s->kind)
	{
		case SETTING_BOOL:
			DefineCustomBoolVariable(name, s->short_desc, s->long_desc, s->variable, s->boot != 0,
									 PGC_SUSET, s->unit, NULL, NULL, NULL);
			break;
		case SETTING_INT:
			DefineCustomIntVariable(name, s->short_desc, s->long_desc, s->variable, (int) s->boot,
									(int) s->min, (int) s->max, PGC_SUSET, s->unit, NULL, NULL, NULL);
			break;
		case SETTING_REAL:
			DefineCustomRealVariable(name, s->short_desc, s->long_desc, s->variable, s->boot,
									 s->min, s->max, PGC_SUSET, s->unit, NULL, NULL, NULL);
			break;
		case SETTING_ENUM:
			DefineCustomEnumVariable(name, s->short_desc, s->long_desc, s->variable, (int) s->boot,
									 s->options, PGC_SUSET, s->unit, NULL, NULL, NULL);
			break;
	}
	pfree(name);
}

void
pgt_guc_init(void)
{
	for (int i = 0; i < lengthof(settings); i++)
		define_setting(&settings[i]);
	MarkGUCPrefixReserved("pg_trickle");
}
