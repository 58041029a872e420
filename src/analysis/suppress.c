/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suppressions: matching stacks and writing rules.
 *
 * A valgrind rule is a pattern over frames with `...` as its star, and each line of it a pattern over
 * characters with * as its star.  Both are matched the same way: go on while it fits, and when it
 * does not, return to the last star and let it take one more.  Only the last star ever matters, so
 * the cost is the product of the lengths, never exponential, whatever a file contains.
 *
 *     rule    fun:malloc   ...            fun:f*
 *     stack   (malloc)     g  h  (inline) foo      main      what follows the rule is free
 *
 * Rules written from valgrind's output have frame 0 as valgrind sees it, the function that was
 * replaced.  Ours is not on the stack, see enum suppress_family.
 */
#include "analysis/suppress.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "analysis/suppress_private.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "profile/profile.h"

#define GENERATED_FRAMES 12 /* valgrind's own --num-callers */
#define UNKNOWN "???"       /* what valgrind compares with where it knows nothing */

/* Where valgrind has its replacements of malloc: rules name it as frame 0's object. */
#define PRELOADED "/usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so"

static const char *const malloc_family[] = {
	"malloc",         "calloc",        "realloc", "reallocarray", "memalign",
	"posix_memalign", "aligned_alloc", "valloc",  "pvalloc",
};
static const char *const new_family[] = {
	"_Znwm",
	"_Znam",
	"_ZnwmRKSt9nothrow_t",
	"_ZnamRKSt9nothrow_t",
	"_ZnwmSt11align_val_t",
	"_ZnamSt11align_val_t",
	"_ZnwmSt11align_val_tRKSt9nothrow_t",
	"_ZnamSt11align_val_tRKSt9nothrow_t",
	"operator new(unsigned long)",
	"operator new[](unsigned long)",
	"operator new(unsigned long, std::nothrow_t const&)",
	"operator new[](unsigned long, std::nothrow_t const&)",
	"operator new(unsigned long, std::align_val_t)",
	"operator new[](unsigned long, std::align_val_t)",
	"operator new(unsigned long, std::align_val_t, std::nothrow_t const&)",
	"operator new[](unsigned long, std::align_val_t, std::nothrow_t const&)",
};

/* ---- the set ------------------------------------------------------------------------ */

struct suppressions *suppressions_new(void)
{
	return calloc(1, sizeof(struct suppressions));
}

void suppress_entry_free(struct suppress_entry *entry)
{
	if (!entry)
		return;
	for (size_t i = 0; i < entry->npatterns; i++) {
		free(entry->patterns[i].glob);
		free(entry->patterns[i].plain);
	}
	free(entry->patterns);
	free(entry->shown.name);
	free(entry->shown.origin);
	free(entry);
}

void suppressions_free(struct suppressions *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		suppress_entry_free(s->entries[i]);
	free(s->entries);
	free(s->shown);
	free(s);
}

struct seep_error *suppress_add(struct suppressions *s, struct suppress_entry *entry)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct suppress_entry **entries =
			reallocarray(s->entries, cap, sizeof(struct suppress_entry *));
		const struct suppress_rule **shown;

		if (entries)
			s->entries = entries;
		shown = entries ? reallocarray(s->shown, cap, sizeof(*shown)) : NULL;
		if (!shown) {
			suppress_entry_free(entry);
			return &seep_error_nomem;
		}
		s->shown = shown;
		s->cap = cap;
	}
	s->shown[s->n] = &entry->shown;
	s->entries[s->n++] = entry;
	return NULL;
}

bool suppressions_empty(const struct suppressions *s)
{
	return !s->n;
}

const struct suppress_rule *const *suppressions_rules(const struct suppressions *s, size_t *ret_n)
{
	*ret_n = s->n;
	return s->shown;
}

void suppressions_clear_counts(struct suppressions *s)
{
	for (size_t i = 0; i < s->n; i++)
		s->entries[i]->shown.blocks = s->entries[i]->shown.bytes =
			s->entries[i]->shown.matches = 0;
}

size_t suppressions_skipped(const struct suppressions *s)
{
	return s->skipped;
}

/* ---- globs ---------------------------------------------------------------------------- */

/* `*` any run; in valgrind's files also `?` any character and a backslash before what stands for itself. */
static bool glob_matches(const char *glob, const char *s, bool valgrind)
{
	const char *star = NULL, *star_s = NULL;

	for (;;) {
		bool escaped = valgrind && *glob == '\\' && glob[1];

		if (*glob == '*') {
			star = ++glob;
			star_s = s;
		} else if (*s && ((valgrind && *glob == '?') || glob[escaped] == *s)) {
			glob += 1 + escaped;
			s++;
		} else if (!*s && !*glob) {
			return true;
		} else if (star && *star_s) {
			glob = star;
			s = ++star_s;
		} else {
			return false;
		}
	}
}

static bool any_matches(const char *glob, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (glob_matches(glob, names[i], true))
			return true;
	return false;
}

/* "allocate" of "std::__new_allocator<int>::allocate(unsigned long, void const*)". */
static const char *unqualified(const char *function, char *buf, size_t size)
{
	const char *name = name_plain(function, buf, size);

	for (const char *p = name; (p = strstr(p, "::")); name = p)
		p += 2;
	return name;
}

static bool function_matches(const char *glob, const struct suppress_frame *f)
{
	char plain[512];

	if (f->family == SUPPRESS_NEW)
		return any_matches(glob, new_family, ARRAY_SIZE(new_family));
	if (f->family == SUPPRESS_MALLOC)
		return any_matches(glob, malloc_family, ARRAY_SIZE(malloc_family)) ||
		       any_matches(glob, new_family, ARRAY_SIZE(new_family));
	if (!f->function && !f->linkage)
		return glob_matches(glob, UNKNOWN, true);
	if ((f->linkage && glob_matches(glob, f->linkage, true)) ||
	    (f->function && glob_matches(glob, f->function, true)))
		return true;
	return f->inlined && f->function &&
	       glob_matches(glob, unqualified(f->function, plain, sizeof(plain)), true);
}

static bool frame_matches(const struct suppress_pattern *p, const struct suppress_frame *f)
{
	switch (p->what) {
	case SUPPRESS_FUN:
		return function_matches(p->glob, f) || (p->plain && function_matches(p->plain, f));
	case SUPPRESS_OBJ:
		return glob_matches(p->glob, f->object ? f->object : UNKNOWN, true) ||
		       (f->family != SUPPRESS_ONE && glob_matches(p->glob, PRELOADED, true));
	case SUPPRESS_SRC:
		if (p->line && p->line != f->line)
			return false;
		return glob_matches(p->glob, f->file ? f->file : UNKNOWN, true) ||
		       (f->file && glob_matches(p->glob, path_base(f->file), true));
	case SUPPRESS_ANY:
		break;
	}
	return true;
}

/* ---- rules ------------------------------------------------------------------------------ */

/* The first frame at or after i that counts; n: none. */
static size_t next_frame(const struct suppress_frame *frames, size_t n, size_t i, bool inlined)
{
	while (!inlined && i < n && frames[i].inlined)
		i++;
	return i;
}

static bool valgrind_matches(const struct suppress_entry *e, const struct suppress_frame *frames,
                             size_t n, bool inlined)
{
	size_t at = next_frame(frames, n, 0, inlined), i = 0, star = SIZE_MAX, star_at = 0;

	while (i < e->npatterns) {
		if (e->patterns[i].what == SUPPRESS_ANY) {
			star = ++i;
			star_at = at;
		} else if (at < n && frame_matches(&e->patterns[i], &frames[at])) {
			i++;
			at = next_frame(frames, n, at + 1, inlined);
		} else if (star != SIZE_MAX && star_at < n) {
			i = star;
			at = star_at = next_frame(frames, n, star_at + 1, inlined);
		} else {
			return false;
		}
	}
	return true;
}

static bool lsan_matches(const char *glob, const char *text)
{
	return text && *text && glob_matches(glob, text, false);
}

static bool lsan_rule_matches(const struct suppress_entry *e, const struct suppress_frame *frames,
                              size_t n)
{
	const char *glob = e->patterns[0].glob;

	for (size_t i = 0; i < n; i++) {
		const struct suppress_frame *f = &frames[i];

		/* which function it was is not known: better a leak too many than all of them hidden */
		if (f->family == SUPPRESS_MALLOC)
			continue;
		if (lsan_matches(glob, f->function ? f->function : f->linkage) ||
		    lsan_matches(glob, f->object) || lsan_matches(glob, f->file))
			return true;
	}
	return false;
}

struct suppress_rule *suppressions_match(const struct suppressions *s, enum reach_class class,
                                         const struct suppress_frame *frames, size_t n)
{
	bool has_inlined = false;

	for (size_t i = 0; i < n; i++)
		has_inlined |= frames[i].inlined;
	for (size_t i = 0; n && i < s->n; i++) {
		struct suppress_entry *e = s->entries[i];

		if (!(e->classes & 1u << class))
			continue;
		if (e->shown.lsan ? lsan_rule_matches(e, frames, n)
		                  : valgrind_matches(e, frames, n, true) ||
		                            (has_inlined && valgrind_matches(e, frames, n, false)))
			return &e->shown;
	}
	return NULL;
}

/* ---- stacks -------------------------------------------------------------------------------- */

static bool is_malloc(const char *function)
{
	for (size_t i = 0; function && i < ARRAY_SIZE(malloc_family); i++)
		if (!strcmp(function, malloc_family[i]))
			return true;
	return false;
}

static bool is_new(const char *function)
{
	char plain[64];

	if (!function || strncmp(function, "operator new", 12))
		return false;
	name_plain(function, plain, sizeof(plain));
	return !strcmp(plain, "operator new") || !strcmp(plain, "operator new[]");
}

/* Appends the frames of stack `leaf`, without the tracker's; ret NULL: counts only. */
static size_t list_frames(const struct profile *p, uint32_t leaf, struct suppress_frame *ret)
{
	size_t n = 0;

	for (uint32_t i = leaf; i; i = p->frames[i].parent) {
		const struct prof_frame *f = &p->frames[i];
		const struct prof_symbol *s = &p->symbols[f->symbol];
		const char *object = f->module == PROF_NO_MODULE ? NULL : p->modules[f->module].path;

		if (object && module_is_tracker(object))
			continue;
		if (object && !*object)
			object = NULL;
		for (uint32_t j = 0; j < s->nlines; j++, n++) {
			const struct prof_line *l = &s->lines[j];

			if (ret)
				ret[n] = (struct suppress_frame){
					.function = l->function,
					.linkage = l->linkage,
					.object = object,
					.file = l->file,
					.line = l->line,
					.inlined = l->inlined && j + 1 < s->nlines,
				};
		}
	}
	return n;
}

struct seep_error *suppress_stack(const struct profile *p, uint32_t site,
                                  struct suppress_frame **ret_frames, size_t *ret_n)
{
	uint32_t leaf = site < p->nsites ? p->sites[site].stack : 0;
	size_t n = list_frames(p, leaf, NULL), entries = 0;
	struct suppress_frame *frames = calloc(n + 1, sizeof(*frames));

	if (!frames)
		return &seep_error_nomem;
	if (n) {
		list_frames(p, leaf, frames + 1);
		/* operator new is on the stack where it calls malloc; all such frames become one */
		while (entries < n && (is_new(frames[1 + entries].function) ||
		                       is_malloc(frames[1 + entries].function)))
			entries++;
		if (entries)
			frames[0] = frames[entries];
		frames[0].inlined = false;
		frames[0].family = entries && is_new(frames[0].function) ? SUPPRESS_NEW
		                                                         : SUPPRESS_MALLOC;
		if (frames[0].family == SUPPRESS_MALLOC)
			frames[0].function = "malloc";
		memmove(frames + 1, frames + 1 + entries, (n - entries) * sizeof(*frames));
		n = n - entries + 1;
	}
	*ret_frames = frames;
	*ret_n = n;
	return NULL;
}

/* ---- writing rules ---------------------------------------------------------------------------- */

/* A name as a line of a rule: what would end the line, or stand for something else in a glob, becomes '?'. */
static void put_name(struct buf *out, const char *prefix, const char *name)
{
	buf_puts(out, prefix);
	for (; *name; name++)
		buf_putc(out, (unsigned char)*name < 0x20 || *name == 0x7f || *name == '\\' ? '?'
		                                                                            : *name);
	buf_putc(out, '\n');
}

static void put_frame(struct buf *out, const struct suppress_frame *f)
{
	const char *name = f->linkage && *f->linkage ? f->linkage : f->function;

	if (f->family == SUPPRESS_NEW)
		buf_puts(out, "   fun:_Zn*\n");
	else if (f->family == SUPPRESS_MALLOC)
		buf_puts(out, "   fun:*\n");
	else if (name && *name)
		put_name(out, "   fun:", name);
	else if (f->object)
		put_name(out, "   obj:", f->object);
	else
		buf_puts(out, "   obj:*\n");
}

void suppress_generate(struct buf *out, enum reach_class class, const struct suppress_frame *frames,
                       size_t n)
{
	static const char *const kinds[REACH_NCLASSES] = { "reachable", "possible", "indirect",
		                                           "definite", "all" };
	size_t shown = 0;
	bool gap = false;

	if (!n)
		return;
	buf_printf(
		out,
		"{\n   <insert_a_suppression_name_here>\n   Memcheck:Leak\n   match-leak-kinds: %s\n",
		kinds[class]);
	for (size_t i = 0; i < n && shown < GENERATED_FRAMES; i++) {
		if (frames[i].inlined) {
			gap = true;
			continue;
		}
		if (gap)
			buf_puts(out, "   ...\n");
		gap = false;
		put_frame(out, &frames[i]);
		shown++;
		if (frames[i].function && !strcmp(frames[i].function, "main"))
			break;
	}
	buf_puts(out, "}\n");
}
