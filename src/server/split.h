/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's split over time, out of the documents it wrote. */
#ifndef SEEP_SERVER_SPLIT_H
#define SEEP_SERVER_SPLIT_H

#include <stdint.h>

struct jsonw;
struct json_object;
struct seep_error;
struct store_documents;

/* Of all documents (newest first) one column for each class that any of them has; null when there are none. */
struct seep_error *split_put(struct jsonw *j, const char *key, const struct store_documents *l);

/* What the allocator holds free, resident, as the document has it; STORE_NONE: it does not say. */
int64_t split_retained(struct json_object *document);

#endif
