/* SPDX-License-Identifier: Apache-2.0 */
/* The rules about jemalloc, tcmalloc and mimalloc: what these say of themselves. */
#include "analysis/doctor_case.h"

/* They say what they have mapped; of that no more explains RSS than is resident. */
static uint64_t resident_part(const struct doctor_case *j, enum doctor_class c, uint64_t said)
{
	return said < case_bytes(j, c) ? said : case_bytes(j, c);
}

bool rule_jemalloc_dirty(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t dirty = case_fact(j, FACT_JEMALLOC_DIRTY),
		 resident = case_fact(j, FACT_JEMALLOC_RESIDENT);

	if (dirty < 4 * MIB || dirty < case_part(resident, 25))
		return false;
	say_claim(j, v, resident_part(j, DOCTOR_OTHER_FREE, dirty),
	          case_fact_growth(j, FACT_JEMALLOC_DIRTY));
	say_trust(j, v, dirty, case_part(resident, 25));
	say_title(j, v, "jemalloc keeps %B of free pages", dirty);
	say_evidence(j, v, "resident %B, active %B; free dirty and muzzy pages %B", resident,
	             case_fact(j, FACT_JEMALLOC_ACTIVE), dirty);
	say_evidence(j, v,
	             "pages decay when the program allocates; an idle process keeps them unless "
	             "background_thread is on");
	say_remedy(j, v, "seep trim PID", "purges all arenas now");
	say_remedy(j, v, "seep tune PID background-thread=1",
	           "lets jemalloc return them by itself, idle or not");
	say_remedy(j, v, "MALLOC_CONF=background_thread:true,dirty_decay_ms:1000",
	           "in the environment of the next start");
	return true;
}

bool rule_jemalloc_internal(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_fact(j, FACT_JEMALLOC_INTERNAL),
		 active = case_fact(j, FACT_JEMALLOC_ACTIVE);

	if (bytes < 4 * MIB || bytes < case_part(active, 30))
		return false;
	say_claim(j, v, resident_part(j, DOCTOR_OTHER_INTERNAL, bytes),
	          case_fact_growth(j, FACT_JEMALLOC_INTERNAL));
	say_trust(j, v, bytes, case_part(active, 30));
	say_title(j, v, "jemalloc's pages are only partly used: %B", bytes);
	say_evidence(j, v, "active pages %B, blocks in them %B", active,
	             active > bytes ? active - bytes : 0);
	say_remedy(j, v, "seep heap PID", "shows which size classes");
	say_remedy(j, v, NULL, "nothing live helps: short-lived and long-lived blocks share slabs");
	return true;
}

bool rule_tcmalloc_free(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_fact(j, FACT_TCMALLOC_FREE), heap = case_fact(j, FACT_TCMALLOC_HEAP);

	if (bytes < 4 * MIB || bytes < case_part(heap, 20))
		return false;
	say_claim(j, v, resident_part(j, DOCTOR_OTHER_FREE, bytes),
	          case_fact_growth(j, FACT_TCMALLOC_FREE));
	say_trust(j, v, bytes, case_part(heap, 20));
	say_title(j, v, "tcmalloc's page heap keeps %B of free pages", bytes);
	say_evidence(j, v, "%P of the %B that it has mapped and not unmapped",
	             case_ratio(bytes, heap), heap);
	say_remedy(j, v, "seep trim PID", "asks it to release them now");
	say_remedy(j, v, "seep tune PID release-rate=10", "lets it release faster from now on");
	say_remedy(j, v, "TCMALLOC_RELEASE_RATE=10", "in the environment of the next start");
	return true;
}

bool rule_tcmalloc_caches(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t bytes = case_fact(j, FACT_TCMALLOC_CACHES), heap = case_fact(j, FACT_TCMALLOC_HEAP);

	if (bytes < 4 * MIB || bytes < case_part(heap, 15))
		return false;
	say_claim(j, v, resident_part(j, DOCTOR_OTHER_CACHED, bytes),
	          case_fact_growth(j, FACT_TCMALLOC_CACHES));
	say_trust(j, v, bytes, case_part(heap, 15));
	say_title(j, v, "tcmalloc's caches hold %B of free blocks", bytes);
	say_evidence(j, v, "%P of a heap of %B is in thread, central and transfer caches",
	             case_ratio(bytes, heap), heap);
	say_remedy(j, v, "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES=8388608",
	           "in the environment of the next start: smaller caches");
	return true;
}

bool rule_mimalloc(struct doctor_case *j, struct doctor_verdict *v)
{
	uint64_t resident = case_fact(j, FACT_MIMALLOC_RESIDENT),
		 live = case_fact(j, FACT_MIMALLOC_LIVE);
	uint64_t bytes = case_bytes(j, DOCTOR_OTHER_FREE);

	if (!resident || bytes < 4 * MIB || bytes < case_part(resident, 30))
		return false;
	say_claim(j, v, bytes, case_growth(j, DOCTOR_OTHER_FREE));
	v->confidence = DOCTOR_MEDIUM; /* by version, of segments or of what is committed */
	say_title(j, v, "mimalloc keeps %B that are not in use", bytes);
	say_evidence(j, v, "resident %B, in use %B", resident, live);
	say_remedy(j, v, "seep trim PID",
	           "has it collect; pages of idle threads stay until these free something");
	say_remedy(j, v, "MIMALLOC_PURGE_DELAY=0",
	           "in the environment of the next start: return at once");
	return true;
}
