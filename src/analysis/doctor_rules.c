/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules: one table, a row for each cause, each row a function that looks at the classes and facts of one look (and of
 * an earlier one) and either does not apply or says what it explains, why, and what to do.
 *
 * Rows do not know each other, but for those that would claim the same bytes (arenas left behind by threads, and the
 * tops of threads' arenas; large blocks in the heap, and its holes).  A share is of all that is resident; shares of different rows may overlap
 * where one says "free" and the other says why, and that is said in docs/DOCTOR.md, as are all thresholds.
 */
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_case.h"
#include "analysis/doctor_runtime.h"
#include "base/cleanup.h"

static uint64_t returnable(const struct doctor_case *j)
{
	return case_bytes(j, DOCTOR_BINS) + case_bytes(j, DOCTOR_TOP_MAIN) +
	       case_bytes(j, DOCTOR_TOP_THREADS);
}

static uint64_t in_use(const struct doctor_case *j)
{
	return case_bytes(j, DOCTOR_REACHABLE) + case_bytes(j, DOCTOR_MAPPED_REACHABLE) +
	       case_bytes(j, DOCTOR_OTHER_LIVE);
}

static int64_t in_use_growth(const struct doctor_case *j)
{
	return case_growth(j, DOCTOR_REACHABLE) + case_growth(j, DOCTOR_MAPPED_REACHABLE) +
	       case_growth(j, DOCTOR_OTHER_LIVE);
}

static void trim_remedies(struct doctor_case *j, struct doctor_verdict *v)
{
	say_remedy(j, v, "seep trim --dry-run PID",
	           "says what would be given back, and changes nothing");
	say_remedy(j, v, "seep trim PID", "gives it back now; the program serves all the while");
}

/* ---- the heap: leaks, growth --------------------------------------------------------- */

static bool rule_leak(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t lost = case_fact(j, FACT_LEAKED_BYTES), live = case_fact(j, FACT_IN_USE);
	uint64_t most = case_part(live, 1) > MIB ? case_part(live, 1) : MIB;
	uint64_t resident = case_bytes(j, DOCTOR_LEAKED) + case_bytes(j, DOCTOR_MAPPED_LEAKED);
	int64_t grew = case_fact_growth(j, FACT_LEAKED_BYTES);

	if (lost < most && !(grew >= (int64_t)(64 * KIB) && case_explains(j, grew)))
		return false;
	say_claim(j, v, resident,
	          case_growth(j, DOCTOR_LEAKED) + case_growth(j, DOCTOR_MAPPED_LEAKED));
	say_trust(j, v, lost, most);
	say_title(j, v, "A leak: nothing points to %B in %C blocks any more", lost,
	          case_fact(j, FACT_LEAKED_BLOCKS));
	say_evidence(j, v, "%B of %B in use cannot be reached from any root (%P)", lost, live,
	             case_ratio(lost, live));
	if (case_fact(j, FACT_POSSIBLE_BYTES))
		say_evidence(j, v,
		             "%B more are held by pointers to their middle only; not counted here",
		             case_fact(j, FACT_POSSIBLE_BYTES));
	if (j->before)
		say_evidence(j, v, "lost bytes changed by %D in the window", grew);
	say_remedy(j, v, "seep check PID", "lists the lost blocks, by stack, type or content");
	if (!j->d->ledger)
		say_remedy(j, v, "seep attach PID",
		           "records from now on which lines allocate what is lost");
	say_remedy(
		j, v, NULL,
		"nothing live helps: lost blocks are in use for the allocator; restart to get them back");
	return true;
}

static bool rule_growth(struct doctor_case *j, struct doctor_verdict *v)
{
	int64_t grew = in_use_growth(j), lost = case_fact_growth(j, FACT_LEAKED_BYTES);

	if (!case_explains(j, grew) || (lost > 0 && lost * 2 >= grew))
		return false;
	say_claim(j, v, in_use(j), grew);
	v->confidence = grew * 10 >= j->growth * 8 ? DOCTOR_HIGH : DOCTOR_MEDIUM;
	say_title(j, v, "The program holds more: reachable blocks grew by %B", (uint64_t)grew);
	say_evidence(j, v, "blocks in use: %C, before %C", case_fact(j, FACT_BLOCKS),
	             doctor_fact(j->before, FACT_BLOCKS));
	say_evidence(j, v,
	             "lost bytes changed by %D only: this is a cache, a queue or a table, not a leak in "
	             "memcheck's sense",
	             lost);
	if (j->d->ledger)
		say_remedy(j, v, "seep report PID", "says which lines allocated what is in use");
	else
		say_remedy(j, v, "seep attach PID",
		           "records from now on who allocates; then: seep diff");
	say_remedy(j, v, "seep check --why ADDRESS PID",
	           "says what holds a block, from a variable on");
	say_remedy(j, v, NULL, "cap whatever holds it; trimming does not help");
	return true;
}

/* ---- the heap: free memory that stays -------------------------------------------------- */

static bool rule_arenas_left(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t resident = case_fact(j, FACT_ARENAS_RESIDENT),
		 live = case_fact(j, FACT_ARENAS_LIVE);
	uint64_t arenas = case_fact(j, FACT_ARENAS), left = case_fact(j, FACT_ARENAS_DETACHED);
	uint64_t bytes = case_fact(j, FACT_DETACHED_FREE);

	if (arenas < 8 || left * 2 < arenas || live * 2 >= resident || bytes < 4 * MIB)
		return false;
	j->left = true;
	say_claim(j, v, bytes, case_fact_growth(j, FACT_DETACHED_FREE));
	say_trust(j, v, bytes, 16 * MIB);
	say_title(j, v, "%C arenas of threads that ended keep %B of free memory", left, bytes);
	say_evidence(j, v, "%C arenas, %C of them used by no thread", arenas, left);
	say_evidence(j, v, "in use in threads' arenas: %B of %B resident (%P)", live, resident,
	             case_ratio(live, resident));
	trim_remedies(j, v);
	say_remedy(j, v, "MALLOC_ARENA_MAX=2",
	           "in the environment of the next start: fewer arenas, more sharing");
	return true;
}

static bool rule_thread_tops(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_TOP_THREADS), trim = case_fact(j, FACT_TRIM_THRESHOLD);

	if (j->left)
		bytes -= bytes < case_fact(j, FACT_DETACHED_TOPS) ? bytes
		                                                  : case_fact(j, FACT_DETACHED_TOPS);
	if (bytes < 16 * MIB || bytes < case_part(j->rss, 5))
		return false;
	say_claim(j, v, bytes, case_growth(j, DOCTOR_TOP_THREADS));
	say_trust(j, v, bytes, 16 * MIB);
	say_title(j, v, "The ends of threads' arenas are free but kept: %B", bytes);
	say_evidence(j, v, "%C arenas besides the main one, %B of them in use",
	             case_fact(j, FACT_ARENAS) ? case_fact(j, FACT_ARENAS) - 1 : 0,
	             case_fact(j, FACT_ARENAS_LIVE));
	if (trim > 128 * KIB)
		say_evidence(j, v,
		             "trim_threshold is %B: freeing a large mapped block raised it from 128 KiB, and an "
		             "arena's end is returned only above it",
		             trim);
	say_evidence(j, v,
	             "malloc_trim() does not return them: it only looks at the main arena's end");
	trim_remedies(j, v);
	if (trim > 128 * KIB)
		say_remedy(j, v, "seep tune PID trim_threshold=128K",
		           "lets malloc return them by itself from now on");
	say_remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.trim_threshold=131072",
	           "in the environment of the next start: the threshold stays where it is");
	return true;
}

static bool rule_mmap_threshold(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t threshold = case_fact(j, FACT_MMAP_THRESHOLD),
		 bytes = case_fact(j, FACT_FREE_LARGE);

	if (threshold <= 128 * KIB || bytes < MIB || bytes < case_part(returnable(j), 25) ||
	    bytes < case_part(j->rss, 5))
		return false;
	j->large = bytes;
	say_claim(j, v, bytes, case_fact_growth(j, FACT_FREE_LARGE));
	say_trust(j, v, bytes, case_part(returnable(j), 25));
	say_title(j, v, "Large blocks come from the heap since mmap_threshold rose to %B",
	          threshold);
	say_evidence(j, v,
	             "%B are free in the heap that were blocks of 128 KiB and more: with the first threshold "
	             "these would have been mappings, gone when freed",
	             bytes);
	trim_remedies(j, v);
	say_remedy(j, v, "seep tune PID mmap_threshold=128K",
	           "lets large blocks be mappings again, from now on");
	say_remedy(j, v, "MALLOC_MMAP_THRESHOLD_=131072",
	           "in the environment of the next start: it stays where it is");
	return true;
}

static bool rule_holes(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bins = case_bytes(j, DOCTOR_BINS), h = case_fact(j, FACT_HEAP_RESIDENT);
	uint64_t left =
		j->left ? case_fact(j, FACT_DETACHED_FREE) - case_fact(j, FACT_DETACHED_TOPS) : 0;
	uint64_t bytes = bins - (left < bins ? left : bins) + case_bytes(j, DOCTOR_TOP_MAIN);
	int64_t large = j->large ? case_fact_growth(j, FACT_FREE_LARGE) : 0;
	bool one = case_fact(j, FACT_FREE_LARGEST) * 2 >= bytes && bins * 2 >= bytes;
	bool top = case_bytes(j, DOCTOR_TOP_MAIN) * 2 > bytes;

	bytes -= bytes < j->large ? bytes : j->large;
	if (bytes < 16 * MIB || bytes < case_part(h, 20))
		return false;
	say_claim(j, v, bytes,
	          case_growth(j, DOCTOR_BINS) + case_growth(j, DOCTOR_TOP_MAIN) - large);
	say_trust(j, v, bytes, case_part(h, 20) > 16 * MIB ? case_part(h, 20) : 16 * MIB);
	v->cause = top ? "heap-top" : one ? "pinned-top" : "heap-holes";
	if (top)
		say_title(j, v, "The end of the heap is free but kept: %B", bytes);
	else if (one)
		say_title(j, v, "A block in use above a large free stretch keeps %B", bytes);
	else
		say_title(j, v, "Free memory lies in holes between blocks in use: %B", bytes);
	say_evidence(j, v,
	             "%B of free pages inside a heap of %B resident (%P); none of it is in use",
	             bytes, h, case_ratio(bytes, h));
	if (!top)
		say_evidence(
			j, v,
			"the largest free stretch has %B; malloc returns by itself only what lies at the end",
			case_fact(j, FACT_FREE_LARGEST));
	if (top && case_fact(j, FACT_TRIM_THRESHOLD) > 128 * KIB)
		say_evidence(j, v, "trim_threshold is %B: up to so much stays",
		             case_fact(j, FACT_TRIM_THRESHOLD));
	if (j->d->npins && j->d->pins[0].what && !top)
		say_evidence(j, v, "kept by %s", j->d->pins[0].what);
	trim_remedies(j, v);
	if (!strcmp(j->d->allocator, "glibc"))
		say_remedy(j, v, "malloc_trim(0)",
		           "called by the program after a burst does the same for the main arena");
	return true;
}

static bool rule_fragmentation(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_PINNED), h = case_fact(j, FACT_HEAP_RESIDENT);
	uint64_t live = case_bytes(j, DOCTOR_REACHABLE) + case_bytes(j, DOCTOR_LEAKED);

	if (h < 4 * MIB || bytes < case_part(h, 40) || returnable(j) >= case_part(h, 10))
		return false;
	say_claim(j, v, bytes, case_growth(j, DOCTOR_PINNED));
	say_trust(j, v, bytes, case_part(h, 40));
	say_title(j, v, "Fragmentation: %B are free, but on pages with blocks in use", bytes);
	say_evidence(j, v, "in use %B, free on the same pages %B, whole free pages %B", live, bytes,
	             returnable(j));
	if (j->d->npins && j->d->pins[0].what)
		say_evidence(j, v, "most of it is pinned by %s", j->d->pins[0].what);
	say_remedy(j, v, NULL, "nothing live helps: a page goes back as a whole or not at all");
	if (!j->d->ledger)
		say_remedy(j, v, "seep attach PID",
		           "then the doctor names the lines whose blocks pin");
	say_remedy(j, v, NULL,
	           "keep long-lived small blocks apart from short-lived ones (a pool, an arena), or try "
	           "another allocator");
	return true;
}

static bool rule_cached(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_CACHED), h = case_fact(j, FACT_HEAP_RESIDENT);

	if (bytes < MIB || bytes < case_part(h, 10))
		return false;
	say_claim(j, v, bytes, case_growth(j, DOCTOR_CACHED));
	say_trust(j, v, bytes, case_part(h, 10));
	if (case_fact(j, FACT_FASTBINS) > case_fact(j, FACT_TCACHE)) {
		v->cause = "fastbins";
		say_title(j, v, "Fastbins hold %B of small free blocks that were never merged",
		          case_fact(j, FACT_FASTBINS));
	} else {
		say_title(j, v, "Threads' caches hold %B of free blocks", case_fact(j, FACT_TCACHE));
	}
	say_evidence(j, v, "tcaches %B, fastbins %B, of a heap of %B", case_fact(j, FACT_TCACHE),
	             case_fact(j, FACT_FASTBINS), h);
	say_evidence(j, v, "for the heap such blocks are in use: seep trim does not reach them");
	if (case_fact(j, FACT_FASTBINS) > case_fact(j, FACT_TCACHE)) {
		say_remedy(j, v, "malloc_trim(0)",
		           "called by the program merges them, and returns what it can");
		say_remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.mxfast=0",
		           "in the environment of the next start: no fastbins");
		return true;
	}
	say_evidence(
		j, v,
		"%C threads; each may keep 7 blocks of each of 64 sizes, more if tcache_count was raised",
		case_fact(j, FACT_THREADS));
	say_remedy(j, v, "GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
	           "in the environment of the next start: no caches (or a smaller count)");
	return true;
}

static bool rule_returned(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t listed = case_fact(j, FACT_FREE_LISTED), resident = returnable(j);

	if (listed < 16 * MIB || resident >= case_part(listed, 10))
		return false;
	say_claim(j, v, 0, 0);
	v->confidence = DOCTOR_HIGH;
	say_title(j, v, "malloc's free memory was returned already: %B are only address space",
	          listed - resident);
	say_evidence(j, v, "free by malloc's books (mallinfo's fordblks): %B, of that resident: %B",
	             listed, resident);
	say_remedy(j, v, NULL, "nothing to do");
	return true;
}

static bool rule_swapped(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_fact(j, FACT_SWAP_FREE);

	if (bytes < 64 * MIB)
		return false;
	say_claim(j, v, 0, 0);
	v->confidence = DOCTOR_HIGH;
	say_title(j, v, "%B of free memory take up swap", bytes);
	say_evidence(j, v, "swapped %B, of that free memory of the heap %B",
	             case_fact(j, FACT_SWAP), bytes);
	trim_remedies(j, v);
	return true;
}

/* Of the program's own mappings: what of them is there only because a huge page is all or nothing. */
static bool huge_mappings(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t huge = case_fact(j, FACT_ANON_HUGE), bytes = case_fact(j, FACT_HUGE_ZEROS);

	if (bytes < 16 * MIB || bytes < case_part(j->rss, 20))
		return false;
	say_claim(j, v, bytes, case_fact_growth(j, FACT_HUGE_ZEROS));
	say_trust(j, v, bytes, case_part(j->rss, 20));
	say_title(j, v, "Transparent huge pages hold %B that were never used", bytes);
	say_evidence(j, v,
	             "%B are huge pages; of these, %B are pages with nothing but zeros in them: one byte "
	             "touched makes 2 MiB resident",
	             huge, bytes);
	say_remedy(j, v, "madvise(MADV_NOHUGEPAGE)",
	           "by the program, on mappings that it fills only here and there, before it does");
	say_remedy(j, v, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
	           "where it is \"always\": only those get huge pages who ask for them");
	return true;
}

static bool rule_huge(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t huge = case_fact(j, FACT_ANON_HUGE), anon = case_fact(j, FACT_ANON),
		 waste = case_fact(j, FACT_HUGE_WASTE);
	uint64_t h = case_fact(j, FACT_HEAP_RESIDENT);
	uint64_t live = case_bytes(j, DOCTOR_REACHABLE) + case_bytes(j, DOCTOR_LEAKED);

	if (!huge || huge < case_part(anon, 50))
		return false;
	if (case_fact(j, FACT_HUGE_ZEROS) > waste && huge_mappings(j, v))
		return true;
	if (h < 16 * MIB || live >= case_part(h, 60) || waste < MIB)
		return false;
	say_claim(j, v, waste, case_fact_growth(j, FACT_HUGE_WASTE));
	say_trust(j, v, huge, case_part(anon, 50));
	say_title(j, v, "Transparent huge pages keep %B of free memory in 2 MiB pieces", waste);
	say_evidence(j, v, "%B of %B anonymous memory are huge pages; in use %B of a heap of %B",
	             huge, anon, live, h);
	say_remedy(j, v, "seep trim PID", "splits them and gives the free part back");
	say_remedy(
		j, v, "GLIBC_TUNABLES=glibc.malloc.hugetlb=0",
		"in the environment of the next start; or madvise in /sys/kernel/mm/transparent_hugepage/enabled");
	return true;
}

/* ---- outside of heaps ------------------------------------------------------------------------ */

static bool rule_lazy_free(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_fact(j, FACT_LAZY_FREE);

	if (bytes < MIB || bytes < case_part(j->rss, 25))
		return false;
	say_claim(j, v, bytes, case_fact_growth(j, FACT_LAZY_FREE));
	v->confidence = DOCTOR_HIGH;
	say_title(j, v,
	          "%B are given back already (MADV_FREE) and only counted until somebody needs them",
	          bytes);
	say_evidence(j, v, "LazyFree in smaps: %P of what is resident", v->share);
	say_remedy(j, v, NULL, "nothing to do: under pressure the kernel takes them at no cost");
	return true;
}

static bool rule_stacks(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t live = case_bytes(j, DOCTOR_STACKS), ended = case_bytes(j, DOCTOR_STACKS_ENDED);
	uint64_t unjoined = case_fact(j, FACT_STACKS_UNJOINED);
	int64_t grew = case_growth(j, DOCTOR_STACKS) + case_growth(j, DOCTOR_STACKS_ENDED);

	if (!case_explains(j, grew) && (live + ended < MIB || live + ended < case_part(j->rss, 10)))
		return false;
	say_claim(j, v, live + ended, grew);
	say_trust(j, v, live + ended, case_part(j->rss, 10));
	if (unjoined > case_fact(j, FACT_STACKS_LIVE))
		say_title(j, v, "%C threads ended and were never joined: their stacks keep %B",
		          unjoined, ended);
	else
		say_title(j, v, "Thread stacks hold %B", live + ended);
	say_evidence(j, v, "%C stacks of running threads: %B; %C of ended ones: %B",
	             case_fact(j, FACT_STACKS_LIVE), live, case_fact(j, FACT_STACKS_DEAD), ended);
	if (unjoined)
		say_evidence(j, v, "%C ended without being joined or detached", unjoined);
	if (j->before)
		say_evidence(j, v, "threads: %C, before %C", case_fact(j, FACT_THREADS),
		             doctor_fact(j->before, FACT_THREADS));
	say_remedy(j, v, "seep run -- COMMAND; seep report --kind stack",
	           "names the lines that create the threads, and those never joined");
	if (ended > live && !unjoined)
		say_remedy(j, v, "GLIBC_TUNABLES=glibc.pthread.stack_cache_size=1048576",
		           "in the environment of the next start: glibc keeps fewer old stacks");
	return true;
}

static bool rule_mappings(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_ANONYMOUS), lazy = case_fact(j, FACT_LAZY_FREE);
	int64_t grew = case_growth(j, DOCTOR_ANONYMOUS);
	bool growing = case_explains(j, grew);
	const struct doctor_runtime *runtime =
		doctor_runtime_named(j->d->runtime ? j->d->runtime : "");
	bool looked = j->d->how != DOCTOR_MAPS; /* inside them: else the heaps are among them */

	bytes -= lazy < bytes ? lazy : bytes;
	if (!growing && (bytes < MIB || bytes < case_part(j->rss, 30)))
		return false;
	say_claim(j, v, bytes, grew);
	v->cause = runtime || case_fact(j, FACT_JIT) * 2 > bytes ? "runtime-heap"
	           : growing                                     ? "mmap-growth"
	                                                         : v->cause;
	v->problem = growing;
	say_trust(j, v, growing ? (uint64_t)grew : bytes,
	          growing ? (uint64_t)j->growth / 2 : case_part(j->rss, 30));
	if (runtime)
		say_title(j, v, "%s holds %B: its heap, its code and what it needs for them",
		          runtime->name, bytes);
	else if (looked)
		say_title(j, v, "Anonymous mappings of the program's own hold %B", bytes);
	else
		say_title(j, v, "Anonymous mappings hold %B, those of heaps among them", bytes);
	if (looked)
		say_evidence(j, v, "%C mappings of %B that belong to no heap known to seep",
		             case_fact(j, FACT_ANON_MAPS), case_fact(j, FACT_ANON_MAPS_BYTES));
	else
		say_evidence(j, v, "%C mappings of %B; whose they are was not looked at",
		             case_fact(j, FACT_ANON_MAPS), case_fact(j, FACT_ANON_MAPS_BYTES));
	if (j->before)
		say_evidence(j, v, "mappings: %C before", doctor_fact(j->before, FACT_ANON_MAPS));
	if (case_fact(j, FACT_JIT))
		say_evidence(j, v, "%B of it can be executed: a just-in-time compiler's code",
		             case_fact(j, FACT_JIT));
	if (j->d->nmappings && j->d->mappings[0].class == DOCTOR_ANONYMOUS)
		say_evidence(j, v, "the largest has %B%s%s", j->d->mappings[0].resident,
		             j->d->mappings[0].name[0] ? ": " : "", j->d->mappings[0].name);
	if (runtime) {
		say_remedy(j, v, runtime->command, runtime->asks);
		if (runtime->limit)
			say_remedy(j, v, runtime->limit, runtime->limits);
		return true;
	}
	if (!looked) {
		v->confidence = DOCTOR_LOW;
		say_remedy(j, v, "seep doctor PID",
		           "again, once it may be traced: tells free from in use");
		return true;
	}
	if (j->d->ledger)
		say_remedy(j, v, "seep report --kind mmap PID", "names the lines that mapped it");
	else
		say_remedy(j, v, "seep attach PID", "records from now on which lines map memory");
	say_remedy(j, v, NULL, "a runtime's heap (Java, Go, Node) is its own tool's to explain");
	return true;
}

static bool rule_shmem(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_SHMEM);
	int64_t grew = case_growth(j, DOCTOR_SHMEM);

	if (!case_explains(j, grew) && (bytes < MIB || bytes < case_part(j->rss, 30)))
		return false;
	say_claim(j, v, bytes, grew);
	v->confidence = DOCTOR_HIGH;
	say_title(j, v, "Shared memory: %B", bytes);
	say_evidence(j, v, "%P of what is resident", v->share);
	for (size_t i = 0; i < j->d->nmappings; i++)
		if (j->d->mappings[i].class == DOCTOR_SHMEM) {
			say_evidence(j, v, "the largest mapping has %B: %s",
			             j->d->mappings[i].resident,
			             j->d->mappings[i].name[0] ? j->d->mappings[i].name
			                                       : "without a name");
			break;
		}
	if (doctor_knows(j->d, FACT_PSS))
		say_evidence(j, v, "of RSS %B, this process's own share (PSS) is %B", j->rss,
		             case_fact(j, FACT_PSS));
	say_remedy(j, v, "ipcs -m; ls -l /dev/shm", "lists segments that were never removed");
	return true;
}

static bool rule_files(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_bytes(j, DOCTOR_FILE);
	int64_t grew = case_growth(j, DOCTOR_FILE);

	if (!case_explains(j, grew) && (bytes < 4 * MIB || bytes < case_part(j->rss, 50)))
		return false;
	say_claim(j, v, bytes, grew);
	v->confidence = DOCTOR_HIGH;
	say_title(j, v, "Pages of mapped files: %B, which the kernel can drop and read again",
	          bytes);
	say_evidence(j, v, "%P of what is resident", v->share);
	for (size_t i = 0; i < j->d->nmappings; i++)
		if (j->d->mappings[i].class == DOCTOR_FILE) {
			say_evidence(j, v, "the largest mapping has %B: %s",
			             j->d->mappings[i].resident, j->d->mappings[i].name);
			break;
		}
	say_remedy(j, v, NULL, "not a leak: it is the page cache, seen through this process");
	return true;
}

static bool rule_in_use(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = in_use(j), other = case_bytes(j, DOCTOR_OTHER_LIVE);
	bool unseen = other > bytes / 2; /* its allocator says how much, not what */

	if (bytes < case_part(j->rss, 30) || case_explains(j, in_use_growth(j)))
		return false;
	say_claim(j, v, bytes, in_use_growth(j));
	v->confidence = DOCTOR_HIGH;
	if (unseen) {
		const struct doctor_allocator *most = doctor_largest_allocator(j->d);

		say_title(j, v, "The program holds it: %B are in use", bytes);
		say_evidence(
			j, v,
			"%B of it as %s says; what of that is lost, only a ledger of all blocks would tell",
			other, most ? most->name : "the allocator");
	} else {
		say_title(j, v, "The program holds it: %B are in use and reachable", bytes);
		say_evidence(j, v, "%C blocks; what is lost: %B", case_fact(j, FACT_BLOCKS),
		             case_fact(j, FACT_LEAKED_BYTES));
	}
	if (j->d->ledger) {
		say_remedy(j, v, "seep report PID", "says which lines allocated it");
	} else {
		if (unseen)
			say_remedy(j, v, "seep attach PID", "records who allocates from now on");
		say_remedy(j, v, "seep doctor --watch 5m PID",
		           "says whether it grows, and what of it");
	}
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
