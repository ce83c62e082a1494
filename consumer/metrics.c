/*
 * metrics.c - the values behind metrics.h and their Prometheus text.
 */
#include "consumer/metrics.h"

typedef struct MetricDef
{
	const char *name;
	const char *type;
	const char *help;
} MetricDef;

#define GAUGE "gauge"
#define COUNTER "counter"

static const MetricDef defs[PGT_METRIC_COUNT] = {
#define X(symbol, name, type, help) {name, type, help},
	PGT_METRICS(X)
#undef X
};

#define MAX_RENDERERS 4

static double values[PGT_METRIC_COUNT];
static void (*renderers[MAX_RENDERERS])(FILE *out, void *arg);
static void *renderer_args[MAX_RENDERERS];
static int nrenderers = 0;
static void (*collector)(void *arg);
static void *collector_arg;

void
pgt_metric_add(PgtMetric metric, double by)
{
	values[metric] += by;
}

void
pgt_metric_set(PgtMetric metric, double value)
{
	values[metric] = value;
}

double
pgt_metric_get(PgtMetric metric)
{
	return values[metric];
}

void
pgt_metrics_set_collector(void (*collect)(void *arg), void *arg)
{
	collector = collect;
	collector_arg = arg;
}

void
pgt_metrics_add_renderer(void (*render)(FILE *out, void *arg), void *arg)
{
	if (nrenderers < MAX_RENDERERS)
	{
		renderers[nrenderers] = render;
		renderer_args[nrenderers++] = arg;
	}
}

void
pgt_metrics_render(FILE *out)
{
	if (collector)
		collector(collector_arg);
	for (int i = 0; i < PGT_METRIC_COUNT; i++)
		fprintf(out, "# HELP trickle_%s %s\n# TYPE trickle_%s %s\ntrickle_%s %.17g\n", defs[i].name, defs[i].help, defs[i].name,
				defs[i].type, defs[i].name, values[i]);
	for (int i = 0; i < nrenderers; i++)
		renderers[i](out, renderer_args[i]);
}
