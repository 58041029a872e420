/* SPDX-License-Identifier: Apache-2.0 */
/* All routes, in one table; docs/API.md explains each. */
#include "server/private.h"

#include "base/array.h"
#include "base/cleanup.h"

#include <string.h>

static const struct route routes[] = {
	{ "GET", "/api/v1/server", route_server, GUARD_DATA, 0 },
	{ "POST", "/api/v1/login", route_login, GUARD_PAGE, ROUTE_QUICK },
	{ "GET", "/api/v1/events", route_events, GUARD_DATA, ROUTE_QUICK },

	{ "GET", "/api/v1/processes", route_processes, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/processes/*", route_process, GUARD_DATA, ROUTE_MERGE },
	{ "PATCH", "/api/v1/processes/*", route_process_patch, GUARD_DATA, 0 },
	{ "DELETE", "/api/v1/processes/*", route_process_delete, GUARD_DATA, 0 },
	{ "PUT", "/api/v1/processes/*/watch", route_watch_put, GUARD_DATA, 0 },
	{ "DELETE", "/api/v1/processes/*/watch", route_watch_delete, GUARD_DATA, 0 },
	{ "GET", "/api/v1/processes/*/timeline", route_timeline, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/processes/*/snapshots", route_snapshots, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/processes/*/sites", route_sites, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/processes/*/findings", route_findings, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/processes/*/*", route_documents, GUARD_DATA, ROUTE_MERGE },

	{ "GET", "/api/v1/snapshots/*", route_snapshot, GUARD_DATA, 0 },
	{ "PATCH", "/api/v1/snapshots/*", route_snapshot_patch, GUARD_DATA, 0 },
	{ "DELETE", "/api/v1/snapshots/*", route_snapshot_delete, GUARD_DATA, 0 },
	{ "POST", "/api/v1/upload", route_upload, GUARD_DATA, ROUTE_UPLOAD },

	{ "GET", "/api/v1/view/*", route_view, GUARD_DATA, ROUTE_MERGE },
	{ "GET", "/api/v1/sites/*", route_site, GUARD_DATA, ROUTE_MERGE },

	{ "GET", "/api/v1/jobs", route_jobs, GUARD_DATA, ROUTE_QUICK },
	{ "POST", "/api/v1/jobs", route_job_post, GUARD_DATA, 0 },
	{ "GET", "/api/v1/jobs/*", route_job, GUARD_DATA, ROUTE_QUICK },
	{ "DELETE", "/api/v1/jobs/*", route_job_delete, GUARD_DATA, ROUTE_QUICK },
	/* After everything else of two parts below v1: checks, doctors, trims. */
	{ "GET", "/api/v1/*/*", route_document, GUARD_DATA, 0 },

	{ "GET", "/metrics", route_metrics, GUARD_TOOL, ROUTE_MERGE },
	{ "GET", "/p", route_tool_list, GUARD_TOOL, ROUTE_MERGE },
	{ "GET", "/p/*", route_tool, GUARD_TOOL, ROUTE_MERGE },
	{ "GET", "/p/*/*/*", route_tool, GUARD_TOOL, ROUTE_MERGE },
	{ "POST", "/p/*/*/*", route_tool, GUARD_TOOL, 0 },
	{ "GET", "/p/*/*/*/*", route_tool, GUARD_TOOL, ROUTE_MERGE },
	{ "POST", "/p/*/*/*/*", route_tool, GUARD_TOOL, 0 },
};

static const struct route page = { "GET", "/", route_page, GUARD_PAGE, ROUTE_QUICK };

static bool begins_with(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(path, prefix, n) && (!path[n] || path[n] == '/');
}

const struct route *route_find(struct request *q, struct reply *r)
{
	const char *method = request_is_get(q) ? "GET" : q->method;
	bool other_method = false;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!request_match(q, routes[i].pattern))
			continue;
		if (!strcmp(routes[i].method, method))
			return &routes[i];
		other_method = true;
	}
	if (other_method) {
		reply_error(r, 405, "method_not_allowed", NULL, "%s is not for this", q->method);
		return NULL;
	}
	if (!begins_with(q->path, "/api") && !begins_with(q->path, "/p") &&
	    !begins_with(q->path, "/metrics") && !strcmp(method, "GET"))
		return &page;
	reply_error(r, 404, "not_found", "docs/API.md lists what there is.",
	            "there is nothing at this path");
	return NULL;
}
