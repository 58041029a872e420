/* SPDX-License-Identifier: Apache-2.0 */
/* What emit.c and emit_table.c share; nobody else includes it. */
#ifndef SEEP_OUTPUT_EMIT_PRIVATE_H
#define SEEP_OUTPUT_EMIT_PRIVATE_H

#include <stdio.h>

#include "output/emit.h"

struct emit_table_row {
	unsigned int depth, style;
	size_t first; /* of its cells */
};

struct emit {
	struct emit_options o;
	struct buf *out;
	unsigned int level; /* JSON: open objects and arrays */
	bool members;       /* JSON: the innermost has some */
	bool compact;       /* JSON: in a table's row or a list, which is one line */

	/* The open table. */
	const struct emit_column *columns;
	size_t ncolumns;
	unsigned int indent;
	bool tree;  /* a column is indented by depth */
	bool shown; /* text has a column to show */
	struct emit_table_row *rows;
	char **cells; /* text of every cell, row by row */
	size_t nrows, cap_rows, ncells, cap_cells;
	bool *right; /* per column */
};

void emit_json_member(struct emit *e, const char *key, const struct emit_value *v);
void emit_value_text_sampled(struct buf *b, const struct emit_value *v);
void emit_style_on(struct emit *e, unsigned int style);
void emit_style_off(struct emit *e, unsigned int style);
void emit_newline(struct emit *e);
void emit_table_release(struct emit *e);

#endif
