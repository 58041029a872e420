/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One emitter for text and JSON: a report is written once, as a sequence of
 * calls, and comes out as aligned text for people or as JSON for programs.
 *
 * Structure (objects, arrays) shows in JSON only; text shows headings, labelled
 * fields, lines and tables.  Every value has a key (its JSON name; NULL: text
 * only) and, where it differs, a way to look in text (NULL title or label: JSON
 * only).  Values are typed: text shows 24.0 MiB, JSON 25165824.
 *
 *     emit_object(e, NULL);
 *     emit_field(e, "command", "command", emit_string("./a.out"));
 *     emit_table(e, "sites", columns, 2);
 *     emit_row(e, 0, EMIT_PLAIN, (struct emit_value[]){ emit_bytes(4096), emit_string("f") });
 *     emit_table_end(e);
 *     emit_object_end(e);
 *
 * Nothing can fail visibly on the way: the output is a buf, whose `failed` is
 * checked once at the end.  Strings are cleaned: JSON is valid UTF-8 whatever the
 * target's names contain, and text carries no control characters of theirs.
 */
#ifndef SEEP_OUTPUT_EMIT_H
#define SEEP_OUTPUT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/estimate.h"

struct buf;
struct emit;

enum emit_format { EMIT_TEXT, EMIT_JSON };

/* Bits; colours only show when asked for. */
enum emit_style {
	EMIT_PLAIN = 0,
	EMIT_BOLD = 1,
	EMIT_DIM = 2,
	EMIT_MARK = 4, /* the thing to look at */
	EMIT_WARN = 8,
};

struct emit_options {
	enum emit_format format;
	unsigned int width; /* columns of text */
	bool color;
};

struct emit *emit_new(const struct emit_options *opts, struct buf *out); /* NULL: out of memory */
void emit_free(struct emit *e);
bool emit_is_text(const struct emit *e);
unsigned int emit_width(const struct emit *e);

static inline void emit_freep(struct emit **e)
{
	emit_free(*e);
}
#define _cleanup_emit_ __attribute__((cleanup(emit_freep)))

/* ---- values --------------------------------------------------------------- */

enum emit_type {
	EMIT_NONE,     /* text: nothing; JSON: null */
	EMIT_STRING,   /* NULL is as EMIT_NONE */
	EMIT_BOOL,     /* text: yes, no */
	EMIT_BYTES,    /* text: 24.0 MiB */
	EMIT_COUNT,    /* text: 1,234 */
	EMIT_NUMBER,   /* text: 1234 (pids, line numbers) */
	EMIT_RATIO,    /* 0..1; text: 47.9 %; JSON: 0.479 */
	EMIT_DURATION, /* ns; text: 12.3 s */
	EMIT_TIME,     /* ns since the epoch; text: a date */
	EMIT_ADDRESS,  /* both: 0x..., in JSON a string */
	EMIT_BAR,      /* 0..1; text: a bar as wide as its column; text only */
};

struct emit_value {
	enum emit_type type;
	bool sampled; /* the interval is given: text ±, JSON KEY_low and KEY_high */
	union {
		const char *string;
		bool boolean;
		int64_t number;
		uint64_t u64;
		double ratio;
	};
	struct prof_interval interval;
};

#define EMIT_VALUE(name, ctype, TYPE, field)                            \
	static inline struct emit_value emit_##name(ctype v)            \
	{                                                               \
		return (struct emit_value){ .type = TYPE, .field = v }; \
	}
EMIT_VALUE(string, const char *, EMIT_STRING, string)
EMIT_VALUE(bool, bool, EMIT_BOOL, boolean)
EMIT_VALUE(bytes, uint64_t, EMIT_BYTES, u64)
EMIT_VALUE(count, uint64_t, EMIT_COUNT, u64)
EMIT_VALUE(number, int64_t, EMIT_NUMBER, number)
EMIT_VALUE(ratio, double, EMIT_RATIO, ratio)
EMIT_VALUE(duration, uint64_t, EMIT_DURATION, u64)
EMIT_VALUE(time, uint64_t, EMIT_TIME, u64)
EMIT_VALUE(address, uint64_t, EMIT_ADDRESS, u64)
EMIT_VALUE(bar, double, EMIT_BAR, ratio)
#undef EMIT_VALUE

static inline struct emit_value emit_none(void)
{
	return (struct emit_value){ .type = EMIT_NONE };
}

/* The value with its interval; text shows none for an interval of one point. */
static inline struct emit_value emit_sampled(struct emit_value v, struct prof_interval i)
{
	v.sampled = true;
	v.interval = i;
	return v;
}

/* The value's text, without ±, appended to b; for sentences. */
void emit_value_text(struct buf *b, const struct emit_value *v);

/* ---- structure (JSON) ------------------------------------------------------ */

void emit_object(struct emit *e, const char *key); /* key NULL: at the top or in an array */
void emit_object_end(struct emit *e);
void emit_array(struct emit *e, const char *key);
void emit_array_end(struct emit *e);
/* An array of plain values on one line. */
void emit_list(struct emit *e, const char *key);
void emit_item(struct emit *e, struct emit_value v);
void emit_list_end(struct emit *e);

/* ---- text only -------------------------------------------------------------- */

void emit_heading(struct emit *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A paragraph, wrapped to the width, every line indented. */
void emit_text(struct emit *e, unsigned int style, unsigned int indent, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void emit_blank(struct emit *e); /* an empty line, never two */

/* ---- both -------------------------------------------------------------------- */

/* Text: "  label      value"; nothing for a NULL label. */
void emit_field(struct emit *e, const char *key, const char *label, struct emit_value v);

/*
 * Several values on one line of text, a sentence or a heading of an item.  `fmt` has one
 * % for each value with a `shown` of true, in order; `%%` is a percent sign.
 */
struct emit_part {
	const char *key;
	struct emit_value value;
	bool json_only;
};
void emit_line(struct emit *e, unsigned int style, const char *fmt, const struct emit_part *parts,
               size_t n);

/* ---- tables ------------------------------------------------------------------- */

enum emit_column_flags {
	EMIT_RIGHT = 1,       /* numbers are right-aligned by themselves; this is for strings */
	EMIT_SHRINK = 2,      /* may be cut at its end to fit the width */
	EMIT_SHRINK_PATH = 4, /* may be cut at its start */
	EMIT_INDENT = 8,      /* the row's depth indents this column */
};

struct emit_column {
	const char *key;   /* NULL: text only */
	const char *title; /* NULL: JSON only; a table whose titles are all "" has no header line */
	unsigned int flags;
	unsigned int width; /* of a bar; else 0 */
};

/* JSON: an array of objects.  Columns must outlive the table. */
void emit_table(struct emit *e, const char *key, unsigned int indent,
                const struct emit_column *columns, size_t n);
/* One value for each column.  JSON: an object. */
void emit_row(struct emit *e, unsigned int depth, unsigned int style,
              const struct emit_value *values);
void emit_table_end(struct emit *e);

#endif
