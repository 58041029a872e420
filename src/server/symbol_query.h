/* SPDX-License-Identifier: Apache-2.0 */
/* POST /pprof/symbol: "0x55d0+0x55e1" → a line for each address that is known. */
#ifndef SEEP_SERVER_SYMBOL_QUERY_H
#define SEEP_SERVER_SYMBOL_QUERY_H

struct buf;
struct profile;

#define SYMBOL_QUERY_MOST 100000 /* addresses */

/* Appends "0x0000...\tname\n" lines.  Names of inlined functions are joined with "--", outermost first, as google-pprof has it. */
void symbol_query(const struct profile *p, const char *body, struct buf *out);

#endif
