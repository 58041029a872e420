/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor's files share. */
#ifndef SEEP_ANALYSIS_DOCTOR_PRIVATE_H
#define SEEP_ANALYSIS_DOCTOR_PRIVATE_H

#include "analysis/check_private.h"
#include "analysis/doctor.h"
#include "proc/image.h"
#include "proc/memory.h"

/* Blocks that keep free memory resident, as the split meets them. */
struct doctor_holder {
	uint32_t block; /* index */
	uint32_t holds; /* free bytes on its own pages */
	uint64_t back;  /* free bytes in the stretch right below it */
};

/* Residency as it was before anything was read (doctor_pages.c). */
struct doctor_pages;
struct memory_maps;
/* maps: what the kernel counts of each mapping, so that empty ones are not gone through; NULL unknown. */
struct seep_error *doctor_pages_take(const struct image *img, const struct memory_maps *maps,
                                     struct doctor_pages **ret);
/* The first page at or behind start that was there; UINT64_MAX: none. */
uint64_t doctor_pages_next(const struct doctor_pages *p, uint64_t start);
void doctor_pages_free(struct doctor_pages *p);
/* IMAGE_PAGE_* of npages pages from start on. */
void doctor_pages_get(const struct doctor_pages *p, uint64_t start, uint64_t npages, uint8_t *ret);

struct doctor_look;
/* Bytes of pages of zeros inside of huge pages in [from, to) (doctor_huge.c); a sample of it where that is much. */
uint64_t doctor_zeros_in_huge(struct doctor_look *l, uint64_t from, uint64_t to);

/* Was a free chunk of glibc's one large block once (doctor_stretch.c), and not many that were merged? */
bool doctor_was_large(struct doctor_look *l, uint64_t chunk, uint64_t size);

/* One look in the making. */
struct doctor_look {
	struct doctor *d;
	const struct image *img;        /* NULL: only the kernel's account */
	const struct memory_maps *maps; /* smaps; NULL: cannot be read */
	const struct check_input *in; /* heap (with free chunks), marks, roots' stacks; NULL without img */
	struct doctor_pages *pages; /* with img */
	const char *ledger;         /* path, or NULL */
	struct doctor_holder *holders;
	size_t nholders, holders_room;
	bool failed; /* out of memory */
};

/* What a rule is asked about. */
struct doctor_case {
	struct doctor *d;
	const struct doctor *before;
	uint64_t rss;
	int64_t growth;
	bool grew;      /* enough to ask why */
	bool left;      /* arenas that threads left behind are a verdict of their own */
	uint64_t large; /* free bytes that are explained by mmap_threshold */
	bool failed;
};

struct doctor_rule {
	const char *cause;
	bool problem;
	bool (*applies)(struct doctor_case *j, struct doctor_verdict *v);
};
extern const struct doctor_rule doctor_rules[];
extern const size_t doctor_nrules;

struct doctor *doctor_new(void);
void doctor_clear_verdicts(struct doctor *d);

/* Fills in classes, arenas, mappings and the facts that come from them. */
struct seep_error *doctor_split(struct doctor_look *l);
/* Asks other allocators for their statistics (doctor_allocators.c); d->pid's, before the look. */
struct seep_error *doctor_ask(struct doctor *d, bool no_ask);
/* Takes what they say out of what is anonymous.  by_ledger: bytes of their blocks that have a class already. */
void doctor_carve(struct doctor *d, uint64_t by_ledger);
/* From the holders. */
struct seep_error *doctor_find_pins(struct doctor_look *l, const char *const *debug_dirs);
/* Needs d->profile. */
struct seep_error *doctor_find_parts(struct doctor_look *l);
void doctor_mapping_add(struct doctor_look *l, uint64_t start, uint64_t end, uint64_t resident,
                        enum doctor_class class, const char *name);

#endif
