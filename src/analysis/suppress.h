/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suppressions, as valgrind's and LeakSanitizer's users already have them: their
 * files are read as they are, and every rule counts what it matched.
 *
 *   valgrind   { NAME  Memcheck:Leak  match-leak-kinds: ...  fun:GLOB obj:GLOB ... src:GLOB }
 *   LSan       leak:PATTERN  (* any run, ^ and $ anchors; else a substring), # comments
 *
 * Which of the two a file is, its content says; rules of other tools and kinds are skipped
 * and counted.  Errors name file and line.
 *
 * A valgrind rule's frames must match the stack's from the allocation function on; what lies
 * outside of them is free.  `...` stands for any number of frames.  fun: is compared with the mangled and
 * with the demangled name, obj: with the module's path, src: with the file's path and its last part.  It
 * is tried with inlined functions as frames (by their unqualified name too, which is what
 * valgrind shows), then without them.  An LSan rule matches a function's demangled name, a
 * module's path or a source file anywhere on the stack.
 */
#ifndef SEEP_ANALYSIS_SUPPRESS_H
#define SEEP_ANALYSIS_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/reach.h"

struct buf;
struct profile;
struct seep_error;
struct suppressions;

/*
 * The tracker does not record which of malloc's kin was called, and operator new[] jumps on into operator
 * new: frame 0 stands for a family of functions, and a pattern that matches one of them matches it.
 */
enum suppress_family { SUPPRESS_ONE, SUPPRESS_MALLOC, SUPPRESS_NEW };

/* A frame as rules see it; leaf first, inlined functions as frames of their own. */
struct suppress_frame {
	const char *function; /* demangled; NULL unknown */
	const char *linkage;  /* mangled name; NULL: same as function */
	const char *object;   /* path of the module; NULL unknown */
	const char *file;     /* NULL unknown */
	uint32_t line;
	bool inlined; /* into the next frame */
	enum suppress_family family;
};

struct suppress_rule {
	char *name;   /* valgrind: its first line; LSan: the pattern */
	char *origin; /* FILE:LINE */
	bool lsan;
	uint64_t blocks, bytes, matches; /* matches: records (sites) */
};

struct suppressions *suppressions_new(void); /* NULL: out of memory */
void suppressions_free(struct suppressions *s);
struct seep_error *suppressions_add_file(struct suppressions *s, const char *path);
struct seep_error *suppressions_add_text(struct suppressions *s, const char *text, size_t len,
                                         const char *name);
/* The first rule that matches, or NULL.  Does not count. */
struct suppress_rule *suppressions_match(const struct suppressions *s, enum reach_class class,
                                         const struct suppress_frame *frames, size_t n);
bool suppressions_empty(const struct suppressions *s);
const struct suppress_rule *const *suppressions_rules(const struct suppressions *s, size_t *ret_n);
/* Back to rules that have matched nothing, for another check with the same ones. */
void suppressions_clear_counts(struct suppressions *s);
size_t suppressions_skipped(const struct suppressions *s); /* rules for other tools and error kinds */

/*
 * The stack of a profile's site as rules see it; frames borrow from p.  The allocation function comes first,
 * as valgrind has it.  No frames at all: the stack is unknown, and no rule matches it.
 */
struct seep_error *suppress_stack(const struct profile *p, uint32_t site,
                                  struct suppress_frame **ret_frames, size_t *ret_n);

/*
 * A rule in valgrind's syntax that suppresses this stack (--gen-suppressions): its 12 innermost
 * functions, as many as valgrind records by itself, up to main; `...` where functions were
 * inlined, since whether valgrind sees those depends on its version.  Nothing for an unknown stack.
 */
void suppress_generate(struct buf *out, enum reach_class class, const struct suppress_frame *frames,
                       size_t n);

#endif
