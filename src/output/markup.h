/* SPDX-License-Identifier: Apache-2.0 */
/* Names of anybody's making, in pages and pictures.  Both append to a buffer, and neither lets a name be more than text. */
#ifndef SEEP_OUTPUT_MARKUP_H
#define SEEP_OUTPUT_MARKUP_H

struct buf;

/* Text or an attribute's value of XML and HTML: cleaned as text_clean() does, without what XML has no characters for. */
void markup_text(struct buf *b, const char *s);

/* A JSON string that is safe in a script element of HTML, and as JavaScript. */
void markup_json(struct buf *b, const char *s);

#endif
