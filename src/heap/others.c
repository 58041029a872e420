/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocators without a walker, known by the modules they come in.  What they hold is not looked into, and whoever
 * reads a check has to know that.
 */
#include "heap/heap_private.h"

#include <string.h>

#define NO_WALKER "no walker; blocks are known only with a ledger"

static const struct other {
	const char *module; /* how the file's name begins */
	const char *note;
} others[] = {
	{ "libjemalloc", NO_WALKER },
	{ "libtcmalloc", NO_WALKER },
	{ "libmimalloc", NO_WALKER },
	{ "libtbbmalloc", NO_WALKER },
	{ "libsnmalloc", NO_WALKER },
	{ "libscudo", NO_WALKER },
	{ "libhardened_malloc", NO_WALKER },
	{ "libclang_rt.asan", NO_WALKER },
	{ "libasan.so", NO_WALKER },
	{ "libjvm.so", "the Java heap is not looked into" },
	{ "libcoreclr.so", "the .NET heap is not looked into" },
	{ "libmonosgen", "the Mono heap is not looked into" },
};

bool heap_note_no_walker(const char *note)
{
	return strstr(note, ": " NO_WALKER) != NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/*
 * A Go program says so at the beginning of its data: a section of 16-byte alignment that begins with this magic, within 64 KB as Go's own tools
 * expect.
 */
bool heap_module_is_go(const struct image *img, const struct image_module *mod)
{
	static const char magic[] = "\xff Go buildinf:";
	enum { LOOK = 65536, PAGE = 4096 };

	for (size_t i = image_map_after(img, mod->start);
	     i < img->nmaps && img->maps[i].start < mod->end; i++) {
		const struct image_map *m = &img->maps[i];
		uint8_t page[PAGE], resident[LOOK / PAGE];
		uint64_t len = m->end - m->start < LOOK ? m->end - m->start : LOOK;

		if (!(m->flags & IMAGE_READ) || m->flags & (IMAGE_EXEC | IMAGE_ABSENT))
			continue;
		image_resident(img, m->start, len / img->page_size, resident);
		for (uint64_t at = 0; at + PAGE <= len; at += PAGE) {
			if (resident[at / img->page_size] != 1 ||
			    !image_read_all(img, m->start + at, page, PAGE))
				continue;
			for (size_t k = 0; k + sizeof(magic) - 1 <= PAGE; k += 16)
				if (!memcmp(page + k, magic, sizeof(magic) - 1))
					return true;
		}
	}
	return false;
}

void heap_note_others(const struct image *img, struct heap *h)
{
	for (size_t i = 0; i < img->nmodules; i++) {
		const char *name = base_name(img->modules[i].path);

		for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++)
			if (!strncmp(name, others[k].module, strlen(others[k].module)))
				heap_note(h, "%s: %s", name, others[k].note);
		if (heap_module_is_go(img, &img->modules[i]))
			heap_note(h, "%s: Go's heap is not seen", name);
	}
	if (!h->allocator[0] && !h->nnotes)
		heap_note(h, "no allocator was recognised; blocks are known only with a ledger");
}
