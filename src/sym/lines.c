/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DWARF line lookup for many addresses, by compilation unit.
 *
 * The usual way (libdwfl's addrmodule, addrdie, getscopes) walks a unit's tree once
 * per address, and on a unit of 100,000 DIEs that is milliseconds each.  A report
 * asks for 50,000 addresses.  So the work is turned round: the addresses are sorted,
 * each unit that owns some of them is walked ONCE, and every function and inlined
 * copy in it tells the addresses it covers that it is now their innermost one:
 *
 *	addresses of the unit   a0    a1   a2        a3   a4
 *	subprogram f            [------------]                  a0..a2 → f
 *	  inlined g               [--------]                    a1, a2 → g (outer f)
 *	    inlined h                  [-]                      a2     → h (outer g)
 *	subprogram k                                [------]    a3, a4 → k
 *
 * A function that covers none of them is passed over with everything inside it, and
 * the walk ends when every address has its function.  The unit's line table is
 * decoded once too and searched per address.
 *
 * An address is only handed to a copy by the function around it (`func == outer`), so
 * overlapping siblings, which linkers make when they fold identical functions and which
 * hostile files make at will, cannot build chains that never existed: the first one wins.
 *
 * Which unit an address belongs to comes from the units' own ranges and not from
 * .debug_aranges, which clang leaves out.  Ranges outside the executable segments are
 * dropped: linkers leave functions they discarded at address 0.
 *
 * Hostile input: libdw checks offsets; we bound depth, chain length and the number of
 * steps in a file (MAX_STEPS), because offsets may be valid and still go in circles.
 */
#include "sym/lines.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "sym/names.h"
#include "sym/symfile.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_STEPS UINT64_C(100000000) /* DIEs and ranges looked at in one file */
#define MAX_CLIMB 256                 /* overlapping units tried for one address */

struct unit_range {
	uint64_t lo, hi;
	uint64_t max_hi; /* highest hi of this and all ranges before it */
	uint32_t unit;
};

struct lines {
	const struct symfile *file;
	struct names *names;
	struct warnings *warn;
	bool damaged, gave_up;
	Dwarf *dw, *alt;
	Dwarf_Die *units; /* their top DIEs */
	size_t nunits, units_cap;
	struct unit_range *ranges;
	size_t nranges, ranges_cap;
	uint64_t steps;
};

/* A namespace or class: the DIEs between two offsets, since DIEs are stored in pre-order. */
struct scope {
	uint64_t start, end;
	Dwarf_Die die;
	uint32_t parent; /* NO_SCOPE: none */
};
#define NO_SCOPE UINT32_MAX

/* The walk over one unit. */
struct walk {
	struct lines *l;
	struct lines_query **q; /* sorted by addr */
	size_t n, left;         /* left: without a function so far */
	const char *dir;        /* the compiler's working directory */
	Dwarf_Files *files;     /* for call_file */
	size_t nfiles;
	Dwarf_Die *tree;
	bool has_scopes; /* of its language's names */
	bool scopes_known;
	struct scope *scopes; /* by start, once needed */
	size_t nscopes, scopes_cap;
	bool everywhere; /* look also inside functions that cover nothing */
	bool nomem;
};

static bool step(struct lines *l)
{
	if (l->steps++ < MAX_STEPS)
		return true;
	l->gave_up = true;
	return false;
}

/* ---- which unit ------------------------------------------------------- */

static bool grow(void **array, size_t *cap, size_t n, size_t item)
{
	size_t more = *cap ? *cap * 2 : 64;
	void *bigger;

	if (n < *cap)
		return true;
	bigger = realloc(*array, more * item);
	if (!bigger)
		return false;
	*array = bigger;
	*cap = more;
	return true;
}

static bool add_unit(struct lines *l, Dwarf_Die *die)
{
	Dwarf_Addr base = 0, lo, hi;
	ptrdiff_t off = 0;
	bool any = false;

	while (step(l) && (off = dwarf_ranges(die, off, &base, &lo, &hi)) > 0) {
		if (lo >= hi || !symfile_is_code(l->file, lo))
			continue;
		if (!grow((void **)&l->ranges, &l->ranges_cap, l->nranges, sizeof(*l->ranges)))
			return false;
		l->ranges[l->nranges++] =
			(struct unit_range){ .lo = lo, .hi = hi, .unit = (uint32_t)l->nunits };
		any = true;
	}
	if (off < 0)
		l->damaged = true;
	if (!any)
		return true;
	if (!grow((void **)&l->units, &l->units_cap, l->nunits, sizeof(*l->units)))
		return false;
	l->units[l->nunits++] = *die;
	return true;
}

static int by_lo(const void *va, const void *vb)
{
	const struct unit_range *a = va, *b = vb;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static struct seep_error *index_units(struct lines *l)
{
	Dwarf_CU *cu = NULL, *next;
	Dwarf_Die die;
	uint8_t type;
	uint64_t max_hi = 0;
	size_t i;
	int r;

	while ((r = dwarf_get_units(l->dw, cu, &next, NULL, &type, &die, NULL)) == 0 && step(l)) {
		if (type == DW_UT_compile || type == DW_UT_skeleton || type == DW_UT_partial)
			if (l->nunits >= UINT32_MAX || !add_unit(l, &die))
				return &seep_error_nomem;
		cu = next;
	}
	if (r < 0)
		l->damaged = true;
	if (l->nranges)
		qsort(l->ranges, l->nranges, sizeof(*l->ranges), by_lo);
	for (i = 0; i < l->nranges; i++) {
		if (l->ranges[i].hi > max_hi)
			max_hi = l->ranges[i].hi;
		l->ranges[i].max_hi = max_hi;
	}
	return NULL;
}

static const struct unit_range *range_of(const struct lines *l, uint64_t addr)
{
	size_t lo = 0, hi = l->nranges, climb;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->ranges[mid].lo <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (climb = 0; lo-- > 0 && l->ranges[lo].max_hi > addr && climb < MAX_CLIMB; climb++)
		if (addr < l->ranges[lo].hi)
			return &l->ranges[lo];
	return NULL;
}

/* ---- functions -------------------------------------------------------- */

static const char *string_attr(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute attr;

	return dwarf_formstring(dwarf_attr_integrate(die, name, &attr));
}

static bool is_scope(int tag)
{
	return tag == DW_TAG_namespace || tag == DW_TAG_class_type ||
	       tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_module;
}

static void collect_scopes(struct walk *w, Dwarf_Die *parent, uint32_t up, unsigned int depth)
{
	Dwarf_Die die;
	int r = dwarf_child(parent, &die);
	size_t mine;

	if (depth >= LINES_MAX_DEPTH)
		return;
	while (r == 0 && step(w->l)) {
		if (!is_scope(dwarf_tag(&die))) {
			r = dwarf_siblingof(&die, &die);
			continue;
		}
		mine = w->nscopes;
		if (mine >= NO_SCOPE ||
		    !grow((void **)&w->scopes, &w->scopes_cap, mine, sizeof(*w->scopes)))
			return;
		w->scopes[w->nscopes++] =
			(struct scope){ .start = dwarf_dieoffset(&die), .die = die, .parent = up };
		collect_scopes(w, &die, (uint32_t)mine, depth + 1);
		r = dwarf_siblingof(&die, &die);
		if (r == 0)
			w->scopes[mine].end = dwarf_dieoffset(&die);
	}
}

static void find_scopes(struct walk *w)
{
	size_t i;

	w->scopes_known = true;
	collect_scopes(w, w->tree, NO_SCOPE, 0);
	for (i = 0; i < w->nscopes; i++) { /* the last child ends where its parent does */
		struct scope *s = &w->scopes[i];

		if (!s->end)
			s->end = s->parent == NO_SCOPE ? UINT64_MAX : w->scopes[s->parent].end;
	}
}

/* The scope's name with those around it; pooled. */
static const char *scope_name(struct walk *w, uint32_t index, unsigned int depth)
{
	struct scope *s = &w->scopes[index];
	const char *name = string_attr(&s->die, DW_AT_name);

	if (!name)
		name = dwarf_tag(&s->die) == DW_TAG_namespace ? "(anonymous namespace)"
		                                              : "{unnamed type}";
	return names_scoped(w->l->names, s->die.addr,
	                    s->parent != NO_SCOPE && depth < LINES_MAX_DEPTH
	                            ? scope_name(w, s->parent, depth + 1)
	                            : NULL,
	                    name);
}

/* What a concrete function or an inlined copy was declared as. */
static Dwarf_Die declaration_of(Dwarf_Die *die)
{
	Dwarf_Die found = *die, next;
	unsigned int hops;

	for (hops = 0; hops < 8; hops++) {
		Dwarf_Attribute attr;

		if (!dwarf_formref_die(dwarf_attr(&found, DW_AT_abstract_origin, &attr), &next) &&
		    !dwarf_formref_die(dwarf_attr(&found, DW_AT_specification, &attr), &next))
			break;
		found = next;
	}
	return found;
}

/* A name without linkage name, with the scopes that its declaration stands in. */
static const char *scoped_name(struct walk *w, Dwarf_Die *die, const char *name)
{
	Dwarf_Die declared = declaration_of(die);
	uint64_t offset = dwarf_dieoffset(&declared);
	size_t lo = 0, hi;
	uint32_t i;

	if (!name)
		return NULL;
	if (declared.cu != w->tree->cu)
		return names_function(w->l->names, name);
	if (!w->scopes_known)
		find_scopes(w);
	for (hi = w->nscopes; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->scopes[mid].start <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	i = lo ? (uint32_t)(lo - 1) : NO_SCOPE;
	while (i != NO_SCOPE && w->scopes[i].end <= offset)
		i = w->scopes[i].parent;
	return names_scoped(w->l->names, declared.addr, i == NO_SCOPE ? NULL : scope_name(w, i, 0),
	                    name);
}

static void set_name(struct walk *w, struct lines_func *f, Dwarf_Die *die)
{
	const char *linkage = string_attr(die, DW_AT_linkage_name), *name;

	if (!linkage)
		linkage = string_attr(die, DW_AT_MIPS_linkage_name);
	/* in C an assembler name is an alias for the library's own use: __GI___libc_malloc */
	if (linkage && names_is_mangled(linkage)) {
		f->name = names_function(w->l->names, linkage);
		f->linkage = linkage;
		return;
	}
	name = string_attr(die, DW_AT_name);
	f->is_partial = w->has_scopes;
	f->name = w->has_scopes ? scoped_name(w, die, name) : names_function(w->l->names, name);
}

/* Do names of this unit's language have scopes in front? */
static bool has_scopes(Dwarf_Die *unit)
{
	switch (dwarf_srclang(unit)) {
	case DW_LANG_C_plus_plus:
	case DW_LANG_C_plus_plus_03:
	case DW_LANG_C_plus_plus_11:
	case DW_LANG_C_plus_plus_14:
	case DW_LANG_Rust:
		return true;
	default:
		return false;
	}
}

static uint32_t small_attr(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	if (dwarf_formudata(dwarf_attr(die, name, &attr), &value) || value > UINT32_MAX)
		return 0;
	return (uint32_t)value;
}

static struct lines_func *new_func(struct walk *w, Dwarf_Die *die, const struct lines_func *outer)
{
	struct lines_func *f = names_alloc(w->l->names, sizeof(*f));
	uint32_t file;

	if (!f) {
		w->nomem = true;
		return NULL;
	}
	set_name(w, f, die);
	f->outer = outer;
	if (outer) {
		f->depth = outer->depth + 1;
		f->call_line = small_attr(die, DW_AT_call_line);
		file = small_attr(die, DW_AT_call_file);
		if (w->files && file < w->nfiles && dwarf_hasattr(die, DW_AT_call_file))
			f->call_file = names_file(w->l->names,
			                          dwarf_filesrc(w->files, file, NULL, NULL), w->dir);
	}
	return f;
}

static size_t first_at_or_above(const struct walk *w, uint64_t addr)
{
	size_t lo = 0, hi = w->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->q[mid]->addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

enum cover { COVERS_NOTHING, COVERS_SOME, HAS_NO_RANGES };

/*
 * Gives the addresses that `die` covers, and that belong to `outer`, a new innermost
 * function.  *ret_func is it, when COVERS_SOME.
 */
static enum cover claim(struct walk *w, Dwarf_Die *die, const struct lines_func *outer,
                        const struct lines_func **ret_func)
{
	struct lines_func *f = NULL;
	Dwarf_Addr base = 0, lo, hi;
	bool ranges = false;
	ptrdiff_t off = 0;

	while (step(w->l) && (off = dwarf_ranges(die, off, &base, &lo, &hi)) > 0) {
		size_t i;

		ranges = true;
		for (i = first_at_or_above(w, lo); i < w->n && w->q[i]->addr < hi; i++) {
			if (w->q[i]->func != outer)
				continue;
			if (!f) {
				f = new_func(w, die, outer);
				if (!f)
					return COVERS_NOTHING;
			}
			if (!outer)
				w->left--;
			w->q[i]->func = f;
		}
	}
	if (off < 0)
		w->l->damaged = true;
	*ret_func = f;
	return f ? COVERS_SOME : ranges ? COVERS_NOTHING : HAS_NO_RANGES;
}

static bool covers_some(struct walk *w, Dwarf_Die *die)
{
	Dwarf_Addr base = 0, lo, hi;
	bool ranges = false;
	ptrdiff_t off = 0;
	size_t i;

	while (step(w->l) && (off = dwarf_ranges(die, off, &base, &lo, &hi)) > 0) {
		ranges = true;
		i = first_at_or_above(w, lo);
		if (i < w->n && w->q[i]->addr < hi)
			return true;
	}
	return !ranges;
}

/*
 * Looks at the children of `parent`.  Outside functions the only way down is through
 * namespaces and, in a second round, everything that can hold a function.
 */
static void walk_children(struct walk *w, Dwarf_Die *parent, const struct lines_func *outer,
                          unsigned int depth)
{
	Dwarf_Die die;
	int r = dwarf_child(parent, &die);

	if (depth >= LINES_MAX_DEPTH)
		return;
	for (; r == 0 && step(w->l) && !w->nomem; r = dwarf_siblingof(&die, &die)) {
		const struct lines_func *f = NULL;
		enum cover cover;

		if (!outer && !w->left)
			return;
		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
		case DW_TAG_entry_point:
			cover = claim(w, &die, NULL, &f);
			if (cover == COVERS_SOME)
				walk_children(w, &die, f, depth + 1);
			else if (w->everywhere)
				walk_children(w, &die, NULL, depth + 1);
			break;
		case DW_TAG_inlined_subroutine:
			if (!outer || outer->depth + 1 >= LINES_MAX_INLINES)
				break;
			if (claim(w, &die, outer, &f) == COVERS_SOME)
				walk_children(w, &die, f, depth + 1);
			break;
		case DW_TAG_lexical_block:
		case DW_TAG_try_block:
		case DW_TAG_catch_block:
		case DW_TAG_with_stmt:
			if (outer ? covers_some(w, &die) : w->everywhere)
				walk_children(w, &die, outer, depth + 1);
			break;
		case DW_TAG_namespace:
		case DW_TAG_module:
			if (!outer)
				walk_children(w, &die, NULL, depth + 1);
			break;
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
		case DW_TAG_enumeration_type:
			if (!outer && w->everywhere)
				walk_children(w, &die, NULL, depth + 1);
			break;
		default:
			break;
		}
	}
	if (r < 0)
		w->l->damaged = true;
}

/* ---- lines ------------------------------------------------------------ */

struct row {
	uint64_t addr;
	Dwarf_Line *line;
	bool end;
};

/* The rows of a unit in address order; NULL when it has none. */
static struct row *unit_rows(struct lines *l, Dwarf_Die *unit, size_t *ret_n)
{
	Dwarf_Lines *table;
	struct row *rows;
	size_t n, i;

	if (dwarf_getsrclines(unit, &table, &n)) {
		if (dwarf_hasattr(unit, DW_AT_stmt_list))
			l->damaged = true;
		return NULL;
	}
	rows = n ? malloc(n * sizeof(*rows)) : NULL;
	if (!rows)
		return NULL;
	for (i = 0; i < n; i++) {
		rows[i].line = dwarf_onesrcline(table, i);
		if (dwarf_lineaddr(rows[i].line, &rows[i].addr) ||
		    dwarf_lineendsequence(rows[i].line, &rows[i].end) ||
		    (i && rows[i].addr < rows[i - 1].addr)) {
			l->damaged = true;
			break;
		}
	}
	*ret_n = i;
	return rows;
}

static void look_up_line(struct walk *w, const struct row *rows, size_t n, struct lines_query *q)
{
	const struct unit_range *range = range_of(w->l, q->addr);
	size_t lo = 0, hi = n;
	int line;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (rows[mid].addr <= q->addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	/*
	 * The last row at or below, inside the same range.  An end of sequence there belongs
	 * to a discarded function whose rows lie between ours: the unit itself says that the
	 * address is its own.
	 */
	while (lo && rows[lo - 1].end && range && rows[lo - 1].addr > range->lo)
		lo--;
	if (!lo || rows[lo - 1].end || (range && rows[lo - 1].addr < range->lo))
		return;
	if (dwarf_lineno(rows[lo - 1].line, &line) || line < 0)
		return;
	q->line = (uint32_t)line;
	q->file = names_file(w->l->names, dwarf_linesrc(rows[lo - 1].line, NULL, NULL), w->dir);
}

/* ---- a unit ----------------------------------------------------------- */

/* A file that libdw may open by itself: of root or our own, so not made to hurt us. */
static bool is_trusted(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/*
 * The DIE to walk: of a skeleton, the top of its .dwo file.  libdw opens the path that the
 * program names, without elfimage.c around it.
 */
static Dwarf_Die *tree_of(Dwarf_Die *unit, Dwarf_Die *sub)
{
	Dwarf_Attribute attr;
	const char *name = dwarf_formstring(dwarf_attr(unit, DW_AT_dwo_name, &attr)), *dir;
	_cleanup_free_ char *path = NULL;
	uint8_t type;

	if (!name)
		name = dwarf_formstring(dwarf_attr(unit, DW_AT_GNU_dwo_name, &attr));
	if (!name)
		return unit;
	dir = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr));
	if (name[0] != '/' && dir && asprintf(&path, "%s/%s", dir, name) < 0)
		return unit;
	if (!is_trusted(path ? path : name) || (path && access(name, F_OK) == 0))
		return unit; /* libdw would also try the bare name */
	if (dwarf_cu_info(unit->cu, NULL, &type, NULL, sub, NULL, NULL, NULL) || !sub->addr)
		return unit;
	return sub;
}

static struct seep_error *resolve_unit(struct lines *l, Dwarf_Die *unit, struct lines_query **q,
                                       size_t n)
{
	struct walk w = { .l = l, .q = q, .n = n, .left = n };
	_cleanup_free_ struct row *rows = NULL;
	size_t nrows = 0, i;
	Dwarf_Die sub = { 0 }, *tree = tree_of(unit, &sub);
	Dwarf_Attribute attr;

	w.tree = tree;
	w.has_scopes = has_scopes(unit);
	w.dir = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr));
	if (dwarf_getsrcfiles(tree, &w.files, &w.nfiles))
		w.files = NULL;
	walk_children(&w, tree, NULL, 0);
	if (w.left && !w.nomem) { /* nested functions, functions inside classes: rare */
		w.everywhere = true;
		walk_children(&w, tree, NULL, 0);
	}
	free(w.scopes);
	if (w.nomem)
		return &seep_error_nomem;
	rows = unit_rows(l, unit, &nrows);
	for (i = 0; i < n && rows; i++)
		look_up_line(&w, rows, nrows, q[i]);
	return NULL;
}

struct owned {
	uint32_t unit;
	struct lines_query *q;
};

static int by_unit(const void *va, const void *vb)
{
	const struct owned *a = va, *b = vb;

	if (a->unit != b->unit)
		return a->unit < b->unit ? -1 : 1;
	return a->q < b->q ? -1 : a->q > b->q;
}

struct seep_error *lines_resolve(struct lines *l, struct lines_query *q, size_t n,
                                 void (*done)(void *arg, size_t n), void *done_arg)
{
	_cleanup_free_ struct owned *owned = malloc((n + 1) * sizeof(*owned));
	_cleanup_free_ struct lines_query **slice = malloc((n + 1) * sizeof(struct lines_query *));
	size_t i, first, nowned = 0;
	struct seep_error *err;

	if (!owned || !slice)
		return &seep_error_nomem;
	for (i = 0; i < n; i++) {
		const struct unit_range *range = range_of(l, q[i].addr);

		if (range)
			owned[nowned++] = (struct owned){ range->unit, &q[i] };
	}
	if (done && nowned < n)
		done(done_arg, n - nowned);
	qsort(owned, nowned, sizeof(*owned), by_unit);
	for (first = 0; first < nowned && !l->gave_up; first = i) {
		for (i = first; i < nowned && owned[i].unit == owned[first].unit; i++)
			slice[i - first] = owned[i].q;
		err = resolve_unit(l, &l->units[owned[first].unit], slice, i - first);
		if (err)
			return err;
		if (done)
			done(done_arg, i - first);
	}
	if (l->gave_up)
		warnings_add(l->warn,
		             "%s: its debug information is absurdly large or goes in circles; "
		             "some of its functions stay unknown",
		             l->file->path);
	else if (l->damaged)
		warnings_add(l->warn,
		             "%s: parts of its debug information are damaged (%s); some of its "
		             "functions or lines stay unknown",
		             l->file->path, dwarf_errmsg(-1) ? dwarf_errmsg(-1) : "cannot be read");
	l->damaged = l->gave_up = false;
	return NULL;
}

/* ---- open and close --------------------------------------------------- */

struct seep_error *lines_open(const struct symfile *f, const struct symfile *alt,
                              struct names *names, struct warnings *warn, struct lines **ret_lines)
{
	struct seep_error *err;
	struct lines *l;

	*ret_lines = NULL;
	if (!f->has_dwarf)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return &seep_error_nomem;
	l->file = f;
	l->names = names;
	l->warn = warn;
	l->dw = dwarf_begin_elf(f->elf, DWARF_C_READ, NULL);
	if (!l->dw) {
		warnings_add(warn, "%s: its debug information cannot be read (%s)", f->path,
		             dwarf_errmsg(-1));
		lines_close(l);
		return NULL;
	}
	l->alt = alt ? dwarf_begin_elf(alt->elf, DWARF_C_READ, NULL) : NULL;
	if (l->alt)
		dwarf_setalt(l->dw, l->alt);
	err = index_units(l);
	if (err) {
		lines_close(l);
		return err;
	}
	*ret_lines = l;
	return NULL;
}

void lines_close(struct lines *l)
{
	if (!l)
		return;
	dwarf_end(l->dw);
	dwarf_end(l->alt);
	free(l->units);
	free(l->ranges);
	free(l);
}
