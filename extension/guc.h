/*
 * guc.h - the settings of the extension, prefix pg_trickle.
 *
 * One table in guc.c defines them all: name, bounds, unit and description stand there and nowhere else.
 */
#ifndef PGT_GUC_H
#define PGT_GUC_H

#include "postgres.h"

typedef enum PgtRefreshStrategy
{
	PGT_STRATEGY_AUTO,
	PGT_STRATEGY_DIFFERENTIAL,
	PGT_STRATEGY_FULL
} PgtRefreshStrategy;

typedef enum PgtVolatilePolicy
{
	PGT_VOLATILE_REJECT,
	PGT_VOLATILE_WARN,
	PGT_VOLATILE_ALLOW
} PgtVolatilePolicy;

/* The extension only defines it; the consumer reads it. */
typedef enum PgtAutoApply
{
	PGT_AUTO_APPLY_OFF,
	PGT_AUTO_APPLY_THRESHOLD_ONLY,
	PGT_AUTO_APPLY_FULL
} PgtAutoApply;

/* scheduling */
extern bool pgt_guc_enabled;
extern double pgt_guc_min_schedule_seconds;
extern double pgt_guc_default_schedule_seconds;
extern int pgt_guc_max_poll_interval_ms;
extern int pgt_guc_max_consecutive_errors;
extern int pgt_guc_max_concurrent_refreshes;

/* refresh */
extern int pgt_guc_refresh_strategy; /* PgtRefreshStrategy */
extern double pgt_guc_differential_max_change_ratio;
extern double pgt_guc_cost_model_safety_margin;
extern int pgt_guc_barrier_timeout; /* ms */
extern int pgt_guc_sync_load_limit; /* kB */
extern bool pgt_guc_auto_index;
extern int pgt_guc_topk_margin; /* generated statements read it by name */
extern bool pgt_guc_log_delta_sql;
extern int pgt_guc_volatile_function_policy; /* PgtVolatilePolicy */

/* capture */
extern bool pgt_guc_columnar_tracking;
extern bool pgt_guc_unlogged_buffers;
extern bool pgt_guc_block_source_ddl;
extern int pgt_guc_register_lock_timeout; /* ms; 0 = three tenths of deadlock_timeout */
extern int pgt_guc_max_retained_wal;      /* MB; 0 = no limit */

/* history and alerts */
extern int pgt_guc_history_retention_days;
extern int pgt_guc_history_purge_batch_size;
extern int pgt_guc_slot_lag_warning_threshold_mb;
extern int pgt_guc_slot_lag_critical_threshold_mb;
extern int pgt_guc_buffer_alert_threshold;
extern int pgt_guc_spill_threshold_blocks;
extern int pgt_guc_fuse_default_ceiling;       /* rows; 0 = none */
extern int pgt_guc_watermark_holdback_timeout; /* s; 0 = never */
extern int pgt_guc_self_monitoring_auto_apply; /* PgtAutoApply */
extern bool pgt_guc_self_monitoring_widen_dispatch;

/* Defines all of them and reserves the prefix; from _PG_init. */
extern void pgt_guc_init(void);

#endif /* PGT_GUC_H */
