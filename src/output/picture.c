/* SPDX-License-Identifier: Apache-2.0 */
/* Weights, words and colours of the pictures: picture.h. */
#include "output/picture.h"

#include <math.h>
#include <string.h>

#include "analysis/view.h"
#include "base/buf.h"
#include "base/error.h"
#include "output/report_private.h"
#include "output/units.h"

static int64_t clip(double v)
{
	return v >= 9e18    ? INT64_MAX
	       : v <= -9e18 ? -INT64_MAX
	                    : (int64_t)(v < 0 ? v - 0.5 : v + 0.5);
}

int64_t picture_value(const struct picture *p, const struct node_pair *sum)
{
	double last = (double)group_measure(&sum->last, p->measure);

	if (!p->diff)
		return clip(last);
	return clip(last - (double)group_measure(&sum->first, p->measure) * p->pairs.scale);
}

struct diff_change picture_weight(const struct picture *p, const struct node_pair *sum)
{
	int64_t v;

	if (p->diff)
		return diff_change(p->diff, &sum->first, &sum->last, p->measure, p->pairs.scale);
	v = picture_value(p, sum);
	return (struct diff_change){ v, v, v, false };
}

bool picture_pair_empty(const struct node_pair *sum)
{
	return !sum->first.sites && !sum->last.sites;
}

void picture_pair_add(struct node_pair *to, const struct node_pair *pair)
{
	group_sum_add(&to->first, &pair->first);
	group_sum_add(&to->last, &pair->last);
}

struct seep_error *picture_init(struct picture *p, const struct view *v, struct diff *d,
                                struct measure m, bool normalize)
{
	struct seep_error *err;

	memset(p, 0, sizeof(*p));
	p->v = v;
	p->diff = d;
	p->measure = m;
	err = node_pairs_make(d, v, m, normalize, &p->pairs);
	for (size_t i = 0; !err && i < p->pairs.n; i++)
		p->total += fabs((double)picture_value(p, &p->pairs.items[i]));
	return err;
}

void picture_release(struct picture *p)
{
	node_pairs_release(&p->pairs);
}

void picture_amount(struct buf *b, const struct picture *p, int64_t v)
{
	uint64_t amount = v < 0 ? (uint64_t)-v : (uint64_t)v;

	if (v < 0 || (p->diff && v > 0))
		buf_puts(b, v < 0 ? "-" : "+");
	if (p->measure.blocks)
		unit_count(b, amount);
	else
		unit_bytes(b, amount);
}

void picture_what(struct buf *b, const struct picture *p)
{
	buf_printf(b, "%s, %s%s", value_names[p->measure.value].words, p->diff ? "change in " : "",
	           p->measure.blocks ? "blocks" : "bytes");
}

/* Saturation grows with the score, fast at first: a tenth of everything is already worth a look. */
struct picture_rgb picture_color(double score, bool background, bool colorblind)
{
	/* towards these at the full score: red and green, or vermilion and blue (Okabe and Ito) */
	static const struct picture_rgb ends[2][2] = {
		{ { 178, 0, 0 }, { 0, 128, 0 } },
		{ { 213, 94, 0 }, { 0, 114, 178 } },
	};
	const struct picture_rgb *end = &ends[colorblind][score < 0];
	double by = pow(fmin(fabs(score), 1), 0.3) * (background ? 0.18 : 1);
	double grey = background ? 242 : 160;

	return (struct picture_rgb){
		(uint8_t)(grey + (end->r - grey) * by),
		(uint8_t)(grey + (end->g - grey) * by),
		(uint8_t)(grey + (end->b - grey) * by),
	};
}
