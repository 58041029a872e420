/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of views, one function each: they write JSON, or answer with an error. */
#ifndef SEEP_SERVER_API_VIEW_H
#define SEEP_SERVER_API_VIEW_H

struct jsonw;
struct look;
struct reply;
struct request;

void view_flame(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r);
void view_function(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r);
void view_top(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r);
void view_source(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r);
/* dot, svg, html, report, text, and all formats; false: there is no such kind. */
int view_file(const struct look *l, const struct request *q, const char *kind, struct reply *r);

#endif
