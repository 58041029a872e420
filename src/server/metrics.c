/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics, for Prometheus.  Processes are summed up by the name of their program: never a stack as a label, and no pid unless
 * that was asked for, because both make a new series with every restart, and a server that is scraped for a year would
 * leave thousands of dead ones behind.  A counter of a group never goes back when one of its processes ends.
 */
#include "server/events.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/private.h"
#include "server/recorder.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <inttypes.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>

struct group_line {
	char name[64];
	int32_t pid; /* 0: of several */
	int64_t value[8];
	bool known[8];
};

enum gauge {
	GAUGE_INUSE,
	GAUGE_ALLOC,
	GAUGE_RSS,
	GAUGE_PSS,
	GAUGE_USS,
	GAUGE_SWAP,
	GAUGE_N,
	GAUGE_SUSPECTS
};

static const struct {
	const char *name, *type, *help;
} families[] = {
	[GAUGE_INUSE] = { "seep_inuse_bytes", "gauge",
	                  "Memory allocated and not freed, heap and mappings." },
	[GAUGE_ALLOC] = { "seep_allocated_bytes_total", "counter",
	                  "Memory allocated since tracking began." },
	[GAUGE_RSS] = { "seep_resident_bytes", "gauge", "Resident memory, shared pages in full." },
	[GAUGE_PSS] = { "seep_proportional_bytes", "gauge",
	                "Resident memory, shared pages by their share." },
	[GAUGE_USS] = { "seep_unique_bytes", "gauge", "Resident memory that no other process has." },
	[GAUGE_SWAP] = { "seep_swap_bytes", "gauge", "Memory that is swapped out." },
	[GAUGE_N] = { "seep_processes", "gauge", "Processes that are tracked or watched." },
	[GAUGE_SUSPECTS] = { "seep_leak_suspects", "gauge",
	                     "Leak records, definite or possible, of the newest check of each process." },
};

struct metrics {
	struct group_line *lines;
	size_t n, cap;
	bool pids;
};

static struct group_line *line_of(struct metrics *m, const char *name, int32_t pid)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->lines[i].name, name) && (!m->pids || m->lines[i].pid == pid))
			return &m->lines[i];
	if (array_grow((void **)&m->lines, m->n, &m->cap, sizeof(*m->lines)) < 0)
		return NULL;
	memset(&m->lines[m->n], 0, sizeof(*m->lines));
	snprintf(m->lines[m->n].name, sizeof(m->lines[m->n].name), "%s", name);
	m->lines[m->n].pid = m->pids ? pid : 0;
	return &m->lines[m->n++];
}

static void add(struct group_line *l, enum gauge g, int64_t v)
{
	if (v == STORE_NONE)
		return;
	l->value[g] += v;
	l->known[g] = true;
}

/* Records of the classes that suggest a leak. */
static int64_t suspects(const char *json)
{
	struct json_object *document = json ? json_tokener_parse(json) : NULL, *checks, *check,
			   *records, *class;
	int64_t n = 0;

	if (json_object_is_type(document, json_type_object) &&
	    json_object_object_get_ex(document, "checks", &checks) &&
	    json_object_is_type(checks, json_type_array) && json_object_array_length(checks) &&
	    json_object_is_type(check = json_object_array_get_idx(checks, 0), json_type_object) &&
	    json_object_object_get_ex(check, "records", &records) &&
	    json_object_is_type(records, json_type_array))
		for (size_t i = 0; i < json_object_array_length(records); i++) {
			struct json_object *record = json_object_array_get_idx(records, i);
			const char *word;

			if (!json_object_is_type(record, json_type_object) ||
			    !json_object_object_get_ex(record, "class", &class))
				continue;
			word = json_object_get_string(class);
			n += !strcmp(word, "definite") || !strcmp(word, "possible");
		}
	json_object_put(document);
	return n;
}

static void add_subject(struct server *s, struct metrics *m, const struct subject *p)
{
	_cleanup_store_document_ struct store_document d = { 0 };
	struct group_line *l = line_of(m, p->name, p->pid);
	struct seep_error *err;
	bool found = false;

	if (!l)
		return;
	add(l, GAUGE_N, 1);
	if (p->tracked) {
		add(l, GAUGE_INUSE, (int64_t)p->inuse);
		add(l, GAUGE_ALLOC, (int64_t)p->alloc);
	}
	add(l, GAUGE_RSS, p->measured.rss);
	add(l, GAUGE_PSS, p->measured.pss);
	add(l, GAUGE_USS, p->measured.uss);
	add(l, GAUGE_SWAP, p->measured.swap);
	err = store_document_latest(s->reader, p->id, "check", &d, &found);
	if (!err && found)
		add(l, GAUGE_SUSPECTS, suspects(d.json));
	seep_error_free(err);
}

/* A label's value: \ " and newlines are escaped, what is no UTF-8 is replaced. */
static void put_label(struct buf *b, const char *text)
{
	buf_putc(b, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\\' || c == '"')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_puts(b, "\\n");
		else
			buf_putc(b, c < ' ' || c >= 127 ? '?' : (char)c);
	}
	buf_putc(b, '"');
}

static void put_family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_groups(struct buf *b, const struct metrics *m, enum gauge g)
{
	bool any = false;

	for (size_t i = 0; i < m->n; i++) {
		const struct group_line *l = &m->lines[i];

		if (!l->known[g])
			continue;
		if (!any)
			put_family(b, families[g].name, families[g].type, families[g].help);
		any = true;
		buf_printf(b, "%s{group=", families[g].name);
		put_label(b, l->name);
		if (m->pids)
			buf_printf(b, ",pid=\"%d\"", l->pid);
		buf_printf(b, "} %" PRId64 "\n", l->value[g]);
	}
}

static void put_own(struct server *s, struct buf *b)
{
	uint64_t pending, lost, written = recorder_points(s->recorder, &pending, &lost);
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} own[] = {
		{ "seep_server_points_total", "counter",
		  "Points recorded since the server started.", written },
		{ "seep_server_points_pending", "gauge", "Points that the store has not taken yet.",
		  pending },
		{ "seep_server_points_lost_total", "counter", "Points that were given up.", lost },
		{ "seep_server_store_bytes", "gauge", "Size of the store.", store_bytes(s->store) },
		{ "seep_server_connections", "gauge", "Open connections.",
		  http_connections(s->http) },
		{ "seep_server_jobs_running", "gauge", "Jobs that are running.",
		  jobs_running(s->jobs) },
		{ "seep_server_start_time_seconds", "gauge", "When the server started, Unix time.",
		  (uint64_t)(s->started_ms / 1000) },
	};

	put_family(b, "seep_build_info", "gauge", "Always 1; the version is a label.");
	buf_printf(b, "seep_build_info{version=\"%s\"} 1\n", SEEP_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		put_family(b, own[i].name, own[i].type, own[i].help);
		buf_printf(b, "%s %" PRIu64 "\n", own[i].name, own[i].value);
	}
}

void route_metrics(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_free_ struct subject *subjects = NULL;
	_cleanup_free_ struct ended_sum *ended = NULL;
	struct metrics m = { .pids = s->o.metrics_pid };
	size_t n, nended;

	(void)q;
	subjects = recorder_list(s->recorder, &n);
	ended = recorder_ended(s->recorder, &nended);
	for (size_t i = 0; subjects && i < n; i++)
		add_subject(s, &m, &subjects[i]);
	for (size_t i = 0; !m.pids && i < nended; i++) {
		struct group_line *l = line_of(&m, ended[i].name, 0);

		if (l)
			add(l, GAUGE_ALLOC, (int64_t)ended[i].alloc);
	}
	r->status = 200;
	r->type = "text/plain; version=0.0.4; charset=utf-8";
	for (unsigned int g = 0; g < ARRAY_SIZE(families); g++)
		put_groups(&r->body, &m, (enum gauge)g);
	put_own(s, &r->body);
	free(m.lines);
}
