/*
 * metrics.h - every figure the daemon publishes, in one table.  http.c renders it as Prometheus text.
 *
 * To add one: a line here; then pgt_metric_add() or pgt_metric_set() where it happens.
 */
#ifndef PGT_METRICS_H
#define PGT_METRICS_H

#include <stdio.h>

/* X(symbol, name, type, help) */
#define PGT_METRICS(X)                                                                                                          \
	X(UP, "up", GAUGE, "1 while the stream is attached")                                                                        \
	X(RECONNECTS, "reconnects_total", COUNTER, "Times the stream had to be set up again")                                       \
	X(FRAMES, "frames_total", COUNTER, "Frames received")                                                                       \
	X(FRAME_BYTES, "frame_bytes_total", COUNTER, "Bytes of frames as received")                                                 \
	X(TXNS, "transactions_total", COUNTER, "Transactions received that touched a source")                                       \
	X(TXNS_SKIPPED, "transactions_skipped_total", COUNTER, "Transactions received again after a restart and not applied twice") \
	X(ROWS, "rows_total", COUNTER, "Buffer rows received")                                                                      \
	X(ROWS_DROPPED, "rows_dropped_total", COUNTER, "Buffer rows of generations that exist no more")                             \
	X(QUARANTINED, "quarantined_total", COUNTER, "Times a source's rows could not be applied and were replaced by a marker")    \
	X(APPLIES, "apply_commits_total", COUNTER, "Apply transactions committed")                                                  \
	X(APPLY_SECONDS, "apply_seconds_total", COUNTER, "Time between handing a batch over and its commit")                        \
	X(BARRIERS, "barriers_total", COUNTER, "Barriers received")                                                                 \
	X(QUEUED_BYTES, "queued_bytes", GAUGE, "Bytes received and not applied")                                                    \
	X(PAUSES, "pauses_total", COUNTER, "Times reading stopped because apply was behind")                                        \
	X(LAG_SECONDS, "apply_lag_seconds", GAUGE, "Age of the oldest received transaction that is not applied")                    \
	X(RECEIVED_LSN, "received_lsn", GAUGE, "Last WAL position heard of")                                                        \
	X(APPLIED_LSN, "applied_lsn", GAUGE, "Everything committed up to here is in the buffers")                                   \
	X(CONFIRMED_LSN, "confirmed_lsn", GAUGE, "Position confirmed to the slot")                                                  \
	X(PINNED_BYTES, "pinned_wal_bytes", GAUGE, "WAL between the confirmed and the received position")                           \
	X(ROTATIONS, "segment_rotations_total", COUNTER, "Buffer segments begun")                                                   \
	X(TRIMMED, "segments_trimmed_total", COUNTER, "Buffer segments removed")                                                    \
	X(MARKED_FULL, "marked_full_total", COUNTER, "Stream tables marked for a diff because they pinned too much WAL")

typedef enum PgtMetric
{
#define X(symbol, name, type, help) PGT_M_##symbol,
	PGT_METRICS(X)
#undef X
		PGT_METRIC_COUNT
} PgtMetric;

extern void pgt_metric_add(PgtMetric metric, double by);
extern void pgt_metric_set(PgtMetric metric, double value);
extern double pgt_metric_get(PgtMetric metric);
extern void pgt_metrics_render(FILE *out);

/* called before rendering, for figures that are not kept up to date all the time */
extern void pgt_metrics_set_collector(void (*collect)(void *arg), void *arg);

/* a module may render figures of its own with labels (the scheduler: one per stream table) */
extern void pgt_metrics_add_renderer(void (*render)(FILE *out, void *arg), void *arg);

#endif /* PGT_METRICS_H */
