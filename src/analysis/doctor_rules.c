/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules: one table, a row for each cause, each row a function that looks at the classes and facts of one look (and of
 * an earlier one) and either does not apply or says what it explains, why, and what to do.
 *
 * Rows do not know each other, but for those that would claim the same bytes (arenas left behind by threads, and the
 * tops of threads' arenas; large blocks in the heap, and its holes).  A share is of all that is resident; shares of different rows may overlap
 * where one says "free" and the other says why, and that is said in docs/DOCTOR.md, as are all thresholds.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "analysis/doctor_runtime.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/units.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

/* ---- helpers ------------------------------------------------------------------------ */

static uint64_t class_bytes(const struct doctor_case *j, enum doctor_class c)
{
	return j->d->classes[c];
}

static int64_t class_growth(const struct doctor_case *j, enum doctor_class c)
{
	return j->before ? (int64_t)(j->d->classes[c] - j->before->classes[c]) : 0;
}

static uint64_t fact(const struct doctor_case *j, enum doctor_fact f)
{
	return doctor_fact(j->d, f);
}

static int64_t fact_growth(const struct doctor_case *j, enum doctor_fact f)
{
	return j->before && doctor_knows(j->before, f) && doctor_knows(j->d, f)
	               ? (int64_t)(j->d->facts[f] - j->before->facts[f])
	               : 0;
}

static uint64_t part(uint64_t bytes, uint64_t percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

/* Does this growth explain half of all growth? */
static bool explains(const struct doctor_case *j, int64_t growth)
{
	return j->grew && growth > 0 && growth * 2 >= j->growth;
}

/* "%B" is bytes, "%C" a count, "%P" a share, "%s" a string: the numbers of evidence and titles. */
static char *words(struct doctor_case *j, const char *fmt, va_list ap)
{
	struct buf b = { 0 };

	for (const char *p = fmt; *p; p++) {
		if (*p != '%') {
			buf_putc(&b, *p);
			continue;
		}
		switch (*++p) {
		case 'B':
			unit_bytes(&b, va_arg(ap, uint64_t));
			break;
		case 'C':
			unit_count(&b, va_arg(ap, uint64_t));
			break;
		case 'P':
			unit_ratio(&b, va_arg(ap, double));
			break;
		case 'D': {
			int64_t v = va_arg(ap, int64_t);

			buf_putc(&b, v < 0 ? '-' : '+');
			unit_bytes(&b, v < 0 ? (uint64_t)-v : (uint64_t)v);
			break;
		}
		case 'd':
			buf_printf(&b, "%d", va_arg(ap, int));
			break;
		case 's':
			buf_puts(&b, va_arg(ap, const char *));
			break;
		default:
			buf_putc(&b, *p);
		}
	}
	if (b.failed)
		j->failed = true;
	return buf_steal(&b);
}

static void title(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(v->title);
	v->title = words(j, fmt, ap);
	va_end(ap);
}

static void evidence(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...)
{
	va_list ap;

	if (v->nevidence == DOCTOR_EVIDENCE)
		return;
	va_start(ap, fmt);
	v->evidence[v->nevidence++] = words(j, fmt, ap);
	va_end(ap);
}

/* command: NULL, or with one %d for the pid at most. */
static void remedy(struct doctor_case *j, struct doctor_verdict *v, const char *command,
                   const char *text)
{
	struct doctor_remedy *r = &v->remedies[v->nremedies];
	const char *pid = command ? strstr(command, "PID") : NULL;

	if (v->nremedies == DOCTOR_REMEDIES)
		return;
	r->text = strdup(text);
	if (pid) {
		if (asprintf(&r->command, "%.*s%d%s", (int)(pid - command), command, (int)j->d->pid,
		             pid + 3) < 0)
			r->command = NULL;
	} else if (command) {
		r->command = strdup(command);
	}
	if (!r->text || (command && !r->command))
		j->failed = true;
	v->nremedies++;
}

static void claim(struct doctor_case *j, struct doctor_verdict *v, uint64_t bytes, int64_t growth)
{
	v->bytes = bytes;
	v->share = ratio(bytes, j->rss);
	v->has_growth = j->before != NULL;
	v->growth = growth;
	v->growth_share = j->growth > 0 ? (double)growth / (double)j->growth : 0;
}

/* A walk that met damage, or a threshold only just passed, is worth less. */
static void trust(struct doctor_case *j, struct doctor_verdict *v, uint64_t value,
                  uint64_t threshold)
{
	v->confidence = value >= 2 * threshold ? DOCTOR_HIGH : DOCTOR_MEDIUM;
	if (j->d->torn && v->confidence > DOCTOR_LOW)
		v->confidence--;
}

static uint64_t returnable(const struct doctor_case *j)
{
	return class_bytes(j, DOCTOR_BINS) + class_bytes(j, DOCTOR_TOP_MAIN) +
	       class_bytes(j, DOCTOR_TOP_THREADS);
}

static uint64_t in_use(const struct doctor_case *j)
{
	return class_bytes(j, DOCTOR_REACHABLE) + class_bytes(j, DOCTOR_MAPPED_REACHABLE) +
	       class_bytes(j, DOCTOR_OTHER_LIVE);
}

static int64_t in_use_growth(const struct doctor_case *j)
{
	return class_growth(j, DOCTOR_REACHABLE) + class_growth(j, DOCTOR_MAPPED_REACHABLE) +
	       class_growth(j, DOCTOR_OTHER_LIVE);
}

static void trim_remedies(struct doctor_case *j, struct doctor_verdict *v)
{
	remedy(j, v, "seep trim --dry-run PID",
	       "says what would be given back, and changes nothing");
	remedy(j, v, "seep trim PID", "gives it back now; the program serves all the while");
}

/* ---- the heap: leaks, growth --------------------------------------------------------- */

static bool rule_leak(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t lost = fact(j, FACT_LEAKED_BYTES), live = fact(j, FACT_IN_USE);
	uint64_t most = part(live, 1) > MIB ? part(live, 1) : MIB;
	uint64_t resident = class_bytes(j, DOCTOR_LEAKED) + class_bytes(j, DOCTOR_MAPPED_LEAKED);
	int64_t grew = fact_growth(j, FACT_LEAKED_BYTES);

	if (lost < most && !(grew >= (int64_t)(64 * KIB) && explains(j, grew)))
		return false;
	claim(j, v, resident,
	      class_growth(j, DOCTOR_LEAKED) + class_growth(j, DOCTOR_MAPPED_LEAKED));
	trust(j, v, lost, most);
	title(j, v, "A leak: nothing points to %B in %C blocks any more", lost,
	      fact(j, FACT_LEAKED_BLOCKS));
	evidence(j, v, "%B of %B in use cannot be reached from any root (%P)", lost, live,
	         ratio(lost, live));
	if (fact(j, FACT_POSSIBLE_BYTES))
		evidence(j, v, "%B more are held by pointers to their middle only; not counted here",
		         fact(j, FACT_POSSIBLE_BYTES));
	if (j->before)
		evidence(j, v, "lost bytes changed by %D in the window", grew);
	remedy(j, v, "seep check PID", "lists the lost blocks, by stack, type or content");
	if (!j->d->ledger)
		remedy(j, v, "seep attach PID",
		       "records from now on which lines allocate what is lost");
	remedy(j, v, NULL,
	       "nothing live helps: lost blocks are in use for the allocator; restart to get them back");
	return true;
}

static bool rule_growth(struct doctor_case *j, struct doctor_verdict *v)
{
	int64_t grew = in_use_growth(j), lost = fact_growth(j, FACT_LEAKED_BYTES);

	if (!explains(j, grew) || (lost > 0 && lost * 2 >= grew))
		return false;
	claim(j, v, in_use(j), grew);
	v->confidence = grew * 10 >= j->growth * 8 ? DOCTOR_HIGH : DOCTOR_MEDIUM;
	title(j, v, "The program holds more: reachable blocks grew by %B", (uint64_t)grew);
	evidence(j, v, "blocks in use: %C, before %C", fact(j, FACT_BLOCKS),
	         doctor_fact(j->before, FACT_BLOCKS));
	evidence(j, v,
	         "lost bytes changed by %D only: this is a cache, a queue or a table, not a leak in "
	         "memcheck's sense",
	         lost);
	if (j->d->ledger)
		remedy(j, v, "seep report PID", "says which lines allocated what is in use");
	else
		remedy(j, v, "seep attach PID",
		       "records from now on who allocates; then: seep diff");
	remedy(j, v, "seep check --why ADDRESS PID", "says what holds a block, from a variable on");
	remedy(j, v, NULL, "cap whatever holds it; trimming does not help");
	return true;
}

/* ---- the heap: free memory that stays -------------------------------------------------- */

static bool rule_arenas_left(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t resident = fact(j, FACT_ARENAS_RESIDENT), live = fact(j, FACT_ARENAS_LIVE);
	uint64_t arenas = fact(j, FACT_ARENAS), left = fact(j, FACT_ARENAS_DETACHED);
	uint64_t bytes = fact(j, FACT_DETACHED_FREE);

	if (arenas < 8 || left * 2 < arenas || live * 2 >= resident || bytes < 4 * MIB)
		return false;
	j->left = true;
	claim(j, v, bytes, fact_growth(j, FACT_DETACHED_FREE));
	trust(j, v, bytes, 16 * MIB);
	title(j, v, "%C arenas of threads that ended keep %B of free memory", left, bytes);
	evidence(j, v, "%C arenas, %C of them used by no thread", arenas, left);
	evidence(j, v, "in use in threads' arenas: %B of %B resident (%P)", live, resident,
	         ratio(live, resident));
	trim_remedies(j, v);
	remedy(j, v, "MALLOC_ARENA_MAX=2",
	       "in the environment of the next start: fewer arenas, more sharing");
	return true;
}

static bool rule_thread_tops(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_TOP_THREADS), trim = fact(j, FACT_TRIM_THRESHOLD);

	if (j->left)
		bytes -= bytes < fact(j, FACT_DETACHED_TOPS) ? bytes : fact(j, FACT_DETACHED_TOPS);
	if (bytes < 16 * MIB || bytes < part(j->rss, 5))
		return false;
	claim(j, v, bytes, class_growth(j, DOCTOR_TOP_THREADS));
	trust(j, v, bytes, 16 * MIB);
	title(j, v, "The ends of threads' arenas are free but kept: %B", bytes);
	evidence(j, v, "%C arenas besides the main one, %B of them in use",
	         fact(j, FACT_ARENAS) ? fact(j, FACT_ARENAS) - 1 : 0, fact(j, FACT_ARENAS_LIVE));
	if (trim > 128 * KIB)
		evidence(j, v,
		         "trim_threshold is %B: freeing a large mapped block raised it from 128 KiB, and an "
		         "arena's end is returned only above it",
		         trim);
	evidence(j, v, "malloc_trim() does not return them: it only looks at the main arena's end");
	trim_remedies(j, v);
	if (trim > 128 * KIB)
		remedy(j, v, "seep tune PID trim_threshold=128K",
		       "lets malloc return them by itself from now on");
	remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.trim_threshold=131072",
	       "in the environment of the next start: the threshold stays where it is");
	return true;
}

static bool rule_mmap_threshold(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t threshold = fact(j, FACT_MMAP_THRESHOLD), bytes = fact(j, FACT_FREE_LARGE);

	if (threshold <= 128 * KIB || bytes < MIB || bytes < part(returnable(j), 25) ||
	    bytes < part(j->rss, 5))
		return false;
	j->large = bytes;
	claim(j, v, bytes, fact_growth(j, FACT_FREE_LARGE));
	trust(j, v, bytes, part(returnable(j), 25));
	title(j, v, "Large blocks come from the heap since mmap_threshold rose to %B", threshold);
	evidence(j, v,
	         "%B are free in the heap that were blocks of 128 KiB and more: with the first threshold "
	         "these would have been mappings, gone when freed",
	         bytes);
	trim_remedies(j, v);
	remedy(j, v, "seep tune PID mmap_threshold=128K",
	       "lets large blocks be mappings again, from now on");
	remedy(j, v, "MALLOC_MMAP_THRESHOLD_=131072",
	       "in the environment of the next start: it stays where it is");
	return true;
}

static bool rule_holes(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bins = class_bytes(j, DOCTOR_BINS), h = fact(j, FACT_HEAP_RESIDENT);
	uint64_t left = j->left ? fact(j, FACT_DETACHED_FREE) - fact(j, FACT_DETACHED_TOPS) : 0;
	uint64_t bytes = bins - (left < bins ? left : bins) + class_bytes(j, DOCTOR_TOP_MAIN);
	int64_t large = j->large ? fact_growth(j, FACT_FREE_LARGE) : 0;
	bool one = fact(j, FACT_FREE_LARGEST) * 2 >= bytes && bins * 2 >= bytes;
	bool top = class_bytes(j, DOCTOR_TOP_MAIN) * 2 > bytes;

	bytes -= bytes < j->large ? bytes : j->large;
	if (bytes < 16 * MIB || bytes < part(h, 20))
		return false;
	claim(j, v, bytes, class_growth(j, DOCTOR_BINS) + class_growth(j, DOCTOR_TOP_MAIN) - large);
	trust(j, v, bytes, part(h, 20) > 16 * MIB ? part(h, 20) : 16 * MIB);
	v->cause = top ? "heap-top" : one ? "pinned-top" : "heap-holes";
	if (top)
		title(j, v, "The end of the heap is free but kept: %B", bytes);
	else if (one)
		title(j, v, "A block in use above a large free stretch keeps %B", bytes);
	else
		title(j, v, "Free memory lies in holes between blocks in use: %B", bytes);
	evidence(j, v, "%B of free pages inside a heap of %B resident (%P); none of it is in use",
	         bytes, h, ratio(bytes, h));
	if (!top)
		evidence(j, v,
		         "the largest free stretch has %B; malloc returns by itself only what lies at the end",
		         fact(j, FACT_FREE_LARGEST));
	if (top && fact(j, FACT_TRIM_THRESHOLD) > 128 * KIB)
		evidence(j, v, "trim_threshold is %B: up to so much stays",
		         fact(j, FACT_TRIM_THRESHOLD));
	if (j->d->npins && j->d->pins[0].what && !top)
		evidence(j, v, "kept by %s", j->d->pins[0].what);
	trim_remedies(j, v);
	if (!strcmp(j->d->allocator, "glibc"))
		remedy(j, v, "malloc_trim(0)",
		       "called by the program after a burst does the same for the main arena");
	return true;
}

static bool rule_fragmentation(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_PINNED), h = fact(j, FACT_HEAP_RESIDENT);
	uint64_t live = class_bytes(j, DOCTOR_REACHABLE) + class_bytes(j, DOCTOR_LEAKED);

	if (h < 4 * MIB || bytes < part(h, 40) || returnable(j) >= part(h, 10))
		return false;
	claim(j, v, bytes, class_growth(j, DOCTOR_PINNED));
	trust(j, v, bytes, part(h, 40));
	title(j, v, "Fragmentation: %B are free, but on pages with blocks in use", bytes);
	evidence(j, v, "in use %B, free on the same pages %B, whole free pages %B", live, bytes,
	         returnable(j));
	if (j->d->npins && j->d->pins[0].what)
		evidence(j, v, "most of it is pinned by %s", j->d->pins[0].what);
	remedy(j, v, NULL, "nothing live helps: a page goes back as a whole or not at all");
	if (!j->d->ledger)
		remedy(j, v, "seep attach PID", "then the doctor names the lines whose blocks pin");
	remedy(j, v, NULL,
	       "keep long-lived small blocks apart from short-lived ones (a pool, an arena), or try "
	       "another allocator");
	return true;
}

static bool rule_cached(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_CACHED), h = fact(j, FACT_HEAP_RESIDENT);

	if (bytes < MIB || bytes < part(h, 10))
		return false;
	claim(j, v, bytes, class_growth(j, DOCTOR_CACHED));
	trust(j, v, bytes, part(h, 10));
	if (fact(j, FACT_FASTBINS) > fact(j, FACT_TCACHE)) {
		v->cause = "fastbins";
		title(j, v, "Fastbins hold %B of small free blocks that were never merged",
		      fact(j, FACT_FASTBINS));
	} else {
		title(j, v, "Threads' caches hold %B of free blocks", fact(j, FACT_TCACHE));
	}
	evidence(j, v, "tcaches %B, fastbins %B, of a heap of %B", fact(j, FACT_TCACHE),
	         fact(j, FACT_FASTBINS), h);
	evidence(j, v, "for the heap such blocks are in use: seep trim does not reach them");
	if (fact(j, FACT_FASTBINS) > fact(j, FACT_TCACHE)) {
		remedy(j, v, "malloc_trim(0)",
		       "called by the program merges them, and returns what it can");
		remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.mxfast=0",
		       "in the environment of the next start: no fastbins");
		return true;
	}
	evidence(j, v,
	         "%C threads; each may keep 7 blocks of each of 64 sizes, more if tcache_count was raised",
	         fact(j, FACT_THREADS));
	remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
	       "in the environment of the next start: no caches (or a smaller count)");
	return true;
}

static bool rule_returned(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t listed = fact(j, FACT_FREE_LISTED), resident = returnable(j);

	if (listed < 16 * MIB || resident >= part(listed, 10))
		return false;
	claim(j, v, 0, 0);
	v->confidence = DOCTOR_HIGH;
	title(j, v, "malloc's free memory was returned already: %B are only address space",
	      listed - resident);
	evidence(j, v, "free by malloc's books (mallinfo's fordblks): %B, of that resident: %B",
	         listed, resident);
	remedy(j, v, NULL, "nothing to do");
	return true;
}

static bool rule_swapped(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = fact(j, FACT_SWAP_FREE);

	if (bytes < 64 * MIB)
		return false;
	claim(j, v, 0, 0);
	v->confidence = DOCTOR_HIGH;
	title(j, v, "%B of free memory take up swap", bytes);
	evidence(j, v, "swapped %B, of that free memory of the heap %B", fact(j, FACT_SWAP), bytes);
	trim_remedies(j, v);
	return true;
}

/* Of the program's own mappings: what of them is there only because a huge page is all or nothing. */
static bool huge_mappings(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t huge = fact(j, FACT_ANON_HUGE), bytes = fact(j, FACT_HUGE_ZEROS);

	if (bytes < 16 * MIB || bytes < part(j->rss, 20))
		return false;
	claim(j, v, bytes, fact_growth(j, FACT_HUGE_ZEROS));
	trust(j, v, bytes, part(j->rss, 20));
	title(j, v, "Transparent huge pages hold %B that were never used", bytes);
	evidence(j, v,
	         "%B are huge pages; of these, %B are pages with nothing but zeros in them: one byte "
	         "touched makes 2 MiB resident",
	         huge, bytes);
	remedy(j, v, "madvise(MADV_NOHUGEPAGE)",
	       "by the program, on mappings that it fills only here and there, before it does");
	remedy(j, v, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
	       "where it is \"always\": only those get huge pages who ask for them");
	return true;
}

static bool rule_huge(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t huge = fact(j, FACT_ANON_HUGE), anon = fact(j, FACT_ANON),
		 waste = fact(j, FACT_HUGE_WASTE);
	uint64_t h = fact(j, FACT_HEAP_RESIDENT);
	uint64_t live = class_bytes(j, DOCTOR_REACHABLE) + class_bytes(j, DOCTOR_LEAKED);

	if (!huge || huge < part(anon, 50))
		return false;
	if (fact(j, FACT_HUGE_ZEROS) > waste && huge_mappings(j, v))
		return true;
	if (h < 16 * MIB || live >= part(h, 60) || waste < MIB)
		return false;
	claim(j, v, waste, fact_growth(j, FACT_HUGE_WASTE));
	trust(j, v, huge, part(anon, 50));
	title(j, v, "Transparent huge pages keep %B of free memory in 2 MiB pieces", waste);
	evidence(j, v, "%B of %B anonymous memory are huge pages; in use %B of a heap of %B", huge,
	         anon, live, h);
	remedy(j, v, "seep trim PID", "splits them and gives the free part back");
	remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.hugetlb=0",
	       "in the environment of the next start; or madvise in /sys/kernel/mm/transparent_hugepage/enabled");
	return true;
}

/* ---- other allocators --------------------------------------------------------------------- */

/* They say what they have mapped; of that no more explains RSS than is resident. */
static uint64_t resident_part(const struct doctor_case *j, enum doctor_class c, uint64_t said)
{
	return said < class_bytes(j, c) ? said : class_bytes(j, c);
}

static bool rule_jemalloc_dirty(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t dirty = fact(j, FACT_JEMALLOC_DIRTY), resident = fact(j, FACT_JEMALLOC_RESIDENT);

	if (dirty < 4 * MIB || dirty < part(resident, 25))
		return false;
	claim(j, v, resident_part(j, DOCTOR_OTHER_FREE, dirty), fact_growth(j, FACT_JEMALLOC_DIRTY));
	trust(j, v, dirty, part(resident, 25));
	title(j, v, "jemalloc keeps %B of free pages", dirty);
	evidence(j, v, "resident %B, active %B; free dirty and muzzy pages %B", resident,
	         fact(j, FACT_JEMALLOC_ACTIVE), dirty);
	evidence(j, v,
	         "pages decay when the program allocates; an idle process keeps them unless "
	         "background_thread is on");
	remedy(j, v, "seep trim PID", "purges all arenas now");
	remedy(j, v, "seep tune PID background-thread=1",
	       "lets jemalloc return them by itself, idle or not");
	remedy(j, v, "MALLOC_CONF=background_thread:true,dirty_decay_ms:1000",
	       "in the environment of the next start");
	return true;
}

static bool rule_jemalloc_internal(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = fact(j, FACT_JEMALLOC_INTERNAL), active = fact(j, FACT_JEMALLOC_ACTIVE);

	if (bytes < 4 * MIB || bytes < part(active, 30))
		return false;
	claim(j, v, resident_part(j, DOCTOR_OTHER_INTERNAL, bytes),
	      fact_growth(j, FACT_JEMALLOC_INTERNAL));
	trust(j, v, bytes, part(active, 30));
	title(j, v, "jemalloc's pages are only partly used: %B", bytes);
	evidence(j, v, "active pages %B, blocks in them %B", active,
	         active > bytes ? active - bytes : 0);
	remedy(j, v, "seep heap PID", "shows which size classes");
	remedy(j, v, NULL, "nothing live helps: short-lived and long-lived blocks share slabs");
	return true;
}

static bool rule_tcmalloc_free(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = fact(j, FACT_TCMALLOC_FREE), heap = fact(j, FACT_TCMALLOC_HEAP);

	if (bytes < 4 * MIB || bytes < part(heap, 20))
		return false;
	claim(j, v, resident_part(j, DOCTOR_OTHER_FREE, bytes), fact_growth(j, FACT_TCMALLOC_FREE));
	trust(j, v, bytes, part(heap, 20));
	title(j, v, "tcmalloc's page heap keeps %B of free pages", bytes);
	evidence(j, v, "%P of the %B that it has mapped and not unmapped", ratio(bytes, heap), heap);
	remedy(j, v, "seep trim PID", "asks it to release them now");
	remedy(j, v, "seep tune PID release-rate=10", "lets it release faster from now on");
	remedy(j, v, "TCMALLOC_RELEASE_RATE=10", "in the environment of the next start");
	return true;
}

static bool rule_tcmalloc_caches(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = fact(j, FACT_TCMALLOC_CACHES), heap = fact(j, FACT_TCMALLOC_HEAP);

	if (bytes < 4 * MIB || bytes < part(heap, 15))
		return false;
	claim(j, v, resident_part(j, DOCTOR_OTHER_CACHED, bytes),
	      fact_growth(j, FACT_TCMALLOC_CACHES));
	trust(j, v, bytes, part(heap, 15));
	title(j, v, "tcmalloc's caches hold %B of free blocks", bytes);
	evidence(j, v, "%P of a heap of %B is in thread, central and transfer caches",
	         ratio(bytes, heap), heap);
	remedy(j, v, "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES=8388608",
	       "in the environment of the next start: smaller caches");
	return true;
}

static bool rule_mimalloc(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t resident = fact(j, FACT_MIMALLOC_RESIDENT), live = fact(j, FACT_MIMALLOC_LIVE);
	uint64_t bytes = class_bytes(j, DOCTOR_OTHER_FREE);

	if (!resident || bytes < 4 * MIB || bytes < part(resident, 30))
		return false;
	claim(j, v, bytes, class_growth(j, DOCTOR_OTHER_FREE));
	v->confidence = DOCTOR_MEDIUM; /* by version, of segments or of what is committed */
	title(j, v, "mimalloc keeps %B that are not in use", bytes);
	evidence(j, v, "resident %B, in use %B", resident, live);
	remedy(j, v, "seep trim PID",
	       "has it collect; pages of idle threads stay until these free something");
	remedy(j, v, "MIMALLOC_PURGE_DELAY=0",
	       "in the environment of the next start: return at once");
	return true;
}

/* ---- outside of heaps ------------------------------------------------------------------------ */

static bool rule_lazy_free(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = fact(j, FACT_LAZY_FREE);

	if (bytes < MIB || bytes < part(j->rss, 25))
		return false;
	claim(j, v, bytes, fact_growth(j, FACT_LAZY_FREE));
	v->confidence = DOCTOR_HIGH;
	title(j, v,
	      "%B are given back already (MADV_FREE) and only counted until somebody needs them",
	      bytes);
	evidence(j, v, "LazyFree in smaps: %P of what is resident", v->share);
	remedy(j, v, NULL, "nothing to do: under pressure the kernel takes them at no cost");
	return true;
}

static bool rule_stacks(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t live = class_bytes(j, DOCTOR_STACKS), ended = class_bytes(j, DOCTOR_STACKS_ENDED);
	uint64_t unjoined = fact(j, FACT_STACKS_UNJOINED);
	int64_t grew = class_growth(j, DOCTOR_STACKS) + class_growth(j, DOCTOR_STACKS_ENDED);

	if (!explains(j, grew) && (live + ended < MIB || live + ended < part(j->rss, 10)))
		return false;
	claim(j, v, live + ended, grew);
	trust(j, v, live + ended, part(j->rss, 10));
	if (unjoined > fact(j, FACT_STACKS_LIVE))
		title(j, v, "%C threads ended and were never joined: their stacks keep %B",
		      unjoined, ended);
	else
		title(j, v, "Thread stacks hold %B", live + ended);
	evidence(j, v, "%C stacks of running threads: %B; %C of ended ones: %B",
	         fact(j, FACT_STACKS_LIVE), live, fact(j, FACT_STACKS_DEAD), ended);
	if (unjoined)
		evidence(j, v, "%C ended without being joined or detached", unjoined);
	if (j->before)
		evidence(j, v, "threads: %C, before %C", fact(j, FACT_THREADS),
		         doctor_fact(j->before, FACT_THREADS));
	remedy(j, v, "seep run -- COMMAND; seep report --kind stack",
	       "names the lines that create the threads, and those never joined");
	if (ended > live && !unjoined)
		remedy(j, v, "GLIBC_TUNABLES=glibc.pthread.stack_cache_size=1048576",
		       "in the environment of the next start: glibc keeps fewer old stacks");
	return true;
}

static bool rule_mappings(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_ANONYMOUS), lazy = fact(j, FACT_LAZY_FREE);
	int64_t grew = class_growth(j, DOCTOR_ANONYMOUS);
	bool growing = explains(j, grew);
	const struct doctor_runtime *runtime =
		doctor_runtime_named(j->d->runtime ? j->d->runtime : "");
	bool looked = j->d->how != DOCTOR_MAPS; /* inside them: else the heaps are among them */

	bytes -= lazy < bytes ? lazy : bytes;
	if (!growing && (bytes < MIB || bytes < part(j->rss, 30)))
		return false;
	claim(j, v, bytes, grew);
	v->cause = runtime || fact(j, FACT_JIT) * 2 > bytes ? "runtime-heap"
	           : growing                                ? "mmap-growth"
	                                                    : v->cause;
	v->problem = growing;
	trust(j, v, growing ? (uint64_t)grew : bytes,
	      growing ? (uint64_t)j->growth / 2 : part(j->rss, 30));
	if (runtime)
		title(j, v, "%s holds %B: its heap, its code and what it needs for them",
		      runtime->name, bytes);
	else if (looked)
		title(j, v, "Anonymous mappings of the program's own hold %B", bytes);
	else
		title(j, v, "Anonymous mappings hold %B, those of heaps among them", bytes);
	if (looked)
		evidence(j, v, "%C mappings of %B that belong to no heap known to seep",
		         fact(j, FACT_ANON_MAPS), fact(j, FACT_ANON_MAPS_BYTES));
	else
		evidence(j, v, "%C mappings of %B; whose they are was not looked at",
		         fact(j, FACT_ANON_MAPS), fact(j, FACT_ANON_MAPS_BYTES));
	if (j->before)
		evidence(j, v, "mappings: %C before", doctor_fact(j->before, FACT_ANON_MAPS));
	if (fact(j, FACT_JIT))
		evidence(j, v, "%B of it can be executed: a just-in-time compiler's code",
		         fact(j, FACT_JIT));
	if (j->d->nmappings && j->d->mappings[0].class == DOCTOR_ANONYMOUS)
		evidence(j, v, "the largest has %B%s%s", j->d->mappings[0].resident,
		         j->d->mappings[0].name[0] ? ": " : "", j->d->mappings[0].name);
	if (runtime) {
		remedy(j, v, runtime->command, runtime->asks);
		if (runtime->limit)
			remedy(j, v, runtime->limit, runtime->limits);
		return true;
	}
	if (!looked) {
		v->confidence = DOCTOR_LOW;
		remedy(j, v, "seep doctor PID",
		       "again, once it may be traced: tells free from in use");
		return true;
	}
	if (j->d->ledger)
		remedy(j, v, "seep report --kind mmap PID", "names the lines that mapped it");
	else
		remedy(j, v, "seep attach PID", "records from now on which lines map memory");
	remedy(j, v, NULL, "a runtime's heap (Java, Go, Node) is its own tool's to explain");
	return true;
}

static bool rule_shmem(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_SHMEM);
	int64_t grew = class_growth(j, DOCTOR_SHMEM);

	if (!explains(j, grew) && (bytes < MIB || bytes < part(j->rss, 30)))
		return false;
	claim(j, v, bytes, grew);
	v->confidence = DOCTOR_HIGH;
	title(j, v, "Shared memory: %B", bytes);
	evidence(j, v, "%P of what is resident", v->share);
	for (size_t i = 0; i < j->d->nmappings; i++)
		if (j->d->mappings[i].class == DOCTOR_SHMEM) {
			evidence(j, v, "the largest mapping has %B: %s", j->d->mappings[i].resident,
			         j->d->mappings[i].name[0] ? j->d->mappings[i].name
			                                   : "without a name");
			break;
		}
	if (doctor_knows(j->d, FACT_PSS))
		evidence(j, v, "of RSS %B, this process's own share (PSS) is %B", j->rss,
		         fact(j, FACT_PSS));
	remedy(j, v, "ipcs -m; ls -l /dev/shm", "lists segments that were never removed");
	return true;
}

static bool rule_files(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = class_bytes(j, DOCTOR_FILE);
	int64_t grew = class_growth(j, DOCTOR_FILE);

	if (!explains(j, grew) && (bytes < 4 * MIB || bytes < part(j->rss, 50)))
		return false;
	claim(j, v, bytes, grew);
	v->confidence = DOCTOR_HIGH;
	title(j, v, "Pages of mapped files: %B, which the kernel can drop and read again", bytes);
	evidence(j, v, "%P of what is resident", v->share);
	for (size_t i = 0; i < j->d->nmappings; i++)
		if (j->d->mappings[i].class == DOCTOR_FILE) {
			evidence(j, v, "the largest mapping has %B: %s", j->d->mappings[i].resident,
			         j->d->mappings[i].name);
			break;
		}
	remedy(j, v, NULL, "not a leak: it is the page cache, seen through this process");
	return true;
}

static bool rule_in_use(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = in_use(j), other = class_bytes(j, DOCTOR_OTHER_LIVE);
	bool unseen = other > bytes / 2; /* its allocator says how much, not what */

	if (bytes < part(j->rss, 30) || explains(j, in_use_growth(j)))
		return false;
	claim(j, v, bytes, in_use_growth(j));
	v->confidence = DOCTOR_HIGH;
	if (unseen) {
		title(j, v, "The program holds it: %B are in use", bytes);
		evidence(j, v,
		         "%B of it as %s says; what of that is lost, only a ledger of all blocks would tell",
		         other, j->d->nallocators ? j->d->allocators[0].name : "the allocator");
	} else {
		title(j, v, "The program holds it: %B are in use and reachable", bytes);
		evidence(j, v, "%C blocks; what is lost: %B", fact(j, FACT_BLOCKS),
		         fact(j, FACT_LEAKED_BYTES));
	}
	if (unseen && !j->d->ledger)
		remedy(j, v, "seep attach PID", "records who allocates from now on");
	if (j->d->ledger)
		remedy(j, v, "seep report PID", "says which lines allocated it");
	else
		remedy(j, v, "seep doctor --watch 5m PID", "says whether it grows, and what of it");
	return true;
}

const struct doctor_rule doctor_rules[] = {
	{ "leak", true, rule_leak },
	{ "reachable-growth", true, rule_growth },
	{ "arenas-left", true, rule_arenas_left },
	{ "thread-arena-tops", true, rule_thread_tops },
	{ "mmap-threshold", true, rule_mmap_threshold },
	{ "heap-holes", true, rule_holes },
	{ "fragmentation", true, rule_fragmentation },
	{ "thread-caches", true, rule_cached },
	{ "free-swapped", true, rule_swapped },
	{ "huge-pages", true, rule_huge },
	{ "jemalloc-dirty", true, rule_jemalloc_dirty },
	{ "jemalloc-internal", true, rule_jemalloc_internal },
	{ "tcmalloc-page-heap", true, rule_tcmalloc_free },
	{ "tcmalloc-caches", true, rule_tcmalloc_caches },
	{ "mimalloc-retained", true, rule_mimalloc },
	{ "thread-stacks", true, rule_stacks },
	{ "lazy-free", false, rule_lazy_free },
	{ "anonymous-mappings", false, rule_mappings },
	{ "shared-memory", false, rule_shmem },
	{ "file-pages", false, rule_files },
	{ "in-use", false, rule_in_use },
	{ "already-returned", false, rule_returned },
};

const size_t doctor_nrules = ARRAY_SIZE(doctor_rules);
