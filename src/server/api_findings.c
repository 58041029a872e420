/* SPDX-License-Identifier: Apache-2.0 */
/* What checks, doctors and trims found: their documents as they are. */
#include "server/api.h"
#include "server/api_sites.h"
#include "server/jsonw.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <inttypes.h>
#include <string.h>

#define LISTED 200

static const struct {
	const char *plural, *kind, *plan; /* plan: of a dry run */
} kinds[] = { { "checks", "check", NULL },
	      { "doctors", "doctor", NULL },
	      { "trims", "trim", "trim-plan" } };

static struct seep_error *put_latest(struct server *s, int64_t process, size_t k, struct jsonw *j)
{
	_cleanup_store_document_ struct store_document d = { 0 }, plan = { 0 };
	const struct store_document *shown = &d;
	bool found = false, planned = false;
	struct seep_error *err =
		store_document_latest(s->reader, process, kinds[k].kind, &d, &found);

	if (!err && kinds[k].plan)
		err = store_document_latest(s->reader, process, kinds[k].plan, &plan, &planned);
	if (err)
		return err;
	if (planned && (!found || plan.id > d.id))
		shown = &plan;
	if (!found && !planned) {
		jw_null(j, kinds[k].kind);
		return NULL;
	}
	jw_object(j, kinds[k].kind);
	jw_int(j, "id", shown->id);
	jw_int(j, "time_ms", shown->time_ms);
	jw_string(j, "summary", shown->summary);
	if (kinds[k].plan)
		jw_bool(j, "dry_run", shown == &plan);
	jw_raw(j, "document", shown->json);
	jw_object_end(j);
	return NULL;
}

void route_findings(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	struct seep_error *err = NULL;
	struct jsonw j;

	if (!api_who(s, q->args[0], false, &w, r))
		return;
	j = api_json(r);
	jw_object(&j, NULL);
	jw_int(&j, "process", w.id ? w.id : STORE_NONE);
	for (size_t k = 0; !err && k < ARRAY_SIZE(kinds); k++)
		err = put_latest(s, w.id, k, &j);
	if (!err)
		err = sites_put_growth(s, w.id, &j, "growth");
	jw_object_end(&j);
	if (err)
		reply_fail(r, err);
}

/* /processes/PROCESS/checks, doctors, trims */
void route_documents(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	_cleanup_store_documents_ struct store_documents l = { 0 };
	struct seep_error *err;
	size_t k = 0;
	struct jsonw j;

	while (k < ARRAY_SIZE(kinds) && strcmp(kinds[k].plural, q->args[1]) != 0)
		k++;
	if (k == ARRAY_SIZE(kinds)) {
		reply_error(r, 404, "not_found", "docs/API.md lists what there is.",
		            "there is nothing at this path");
		return;
	}
	if (!api_who(s, q->args[0], false, &w, r))
		return;
	err = store_document_list(s->reader, w.id, kinds[k].kind, STORE_NONE, STORE_NONE, LISTED,
	                          false, &l);
	if (err) {
		reply_fail(r, err);
		return;
	}
	j = api_json(r);
	jw_object(&j, NULL);
	jw_array(&j, kinds[k].plural);
	for (size_t i = 0; i < l.n; i++) {
		jw_object(&j, NULL);
		jw_int(&j, "id", l.items[i].id);
		jw_int(&j, "time_ms", l.items[i].time_ms);
		jw_string(&j, "summary", l.items[i].summary);
		jw_object_end(&j);
	}
	jw_array_end(&j);
	jw_object_end(&j);
}

/* /checks/ID, /doctors/ID, /trims/ID */
void route_document(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_store_document_ struct store_document d = { 0 };
	struct seep_error *err;
	bool found = false;
	size_t k = 0;
	int64_t id;
	struct jsonw j;

	while (k < ARRAY_SIZE(kinds) && strcmp(kinds[k].plural, q->args[0]) != 0)
		k++;
	if (k == ARRAY_SIZE(kinds)) {
		reply_error(r, 404, "not_found", "docs/API.md lists what there is.",
		            "there is nothing at this path");
		return;
	}
	if (!api_number(q->args[1], kinds[k].kind, &id, r))
		return;
	err = store_document_get(s->reader, id, &d, &found);
	if (err) {
		reply_fail(r, err);
		return;
	}
	if (!found || (strcmp(d.kind, kinds[k].kind) != 0 &&
	               (!kinds[k].plan || strcmp(d.kind, kinds[k].plan) != 0))) {
		reply_error(r, 404, "not_found", NULL, "there is no %s %" PRId64, kinds[k].kind, id);
		return;
	}
	j = api_json(r);
	jw_object(&j, NULL);
	jw_int(&j, "id", d.id);
	jw_int(&j, "process", d.process);
	jw_int(&j, "time_ms", d.time_ms);
	jw_string(&j, "summary", d.summary);
	if (kinds[k].plan)
		jw_bool(&j, "dry_run", !strcmp(d.kind, kinds[k].plan));
	jw_raw(&j, "document", d.json);
	jw_object_end(&j);
}
