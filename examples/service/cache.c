/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded cache: see cache.h.  A ring of entries under one lock; the oldest is replaced when it is full. */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	char *name, *page;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry entries[CACHE_ENTRIES];
static size_t used, oldest;

static char *render_page(const char *name)
{
	char *page = malloc(CACHE_PAGE_SIZE);

	if (page)
		memset(page, name[0] ? name[0] : '-', CACHE_PAGE_SIZE);
	return page;
}

static struct entry *find(const char *name)
{
	for (size_t i = 0; i < used; i++)
		if (!strcmp(entries[i].name, name))
			return &entries[i];
	return NULL;
}

/* The slot for a new entry, emptied. */
static struct entry *make_room(void)
{
	struct entry *e;

	if (used < CACHE_ENTRIES)
		return &entries[used++];
	e = &entries[oldest];
	oldest = (oldest + 1) % CACHE_ENTRIES;
	free(e->name);
	free(e->page);
	return e;
}

bool cache_page(const char *name, bool *ret_hit, size_t *ret_entries)
{
	char *copy, *page;
	bool hit;

	pthread_mutex_lock(&lock);
	hit = find(name) != NULL;
	if (!hit) {
		copy = strdup(name);
		page = render_page(name);
		if (!copy || !page) {
			free(copy);
			free(page);
			pthread_mutex_unlock(&lock);
			return false;
		}
		*make_room() = (struct entry){ copy, page };
	}
	*ret_entries = used;
	pthread_mutex_unlock(&lock);
	*ret_hit = hit;
	return true;
}

void cache_clear(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < used; i++) {
		free(entries[i].name);
		free(entries[i].page);
	}
	used = oldest = 0;
	pthread_mutex_unlock(&lock);
}
