/* SPDX-License-Identifier: Apache-2.0 */
#include "server/joints.h"

#include "analysis/diff.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <pthread.h>
#include <stdlib.h>

#define IDLE 2             /* that wait; those in use are bounded by the number of workers */
#define LARGEST (1u << 20) /* sites and frames of one that may wait: some 200 MB */

struct joints {
	struct profiles *profiles;
	pthread_mutex_t lock;
	struct joint *idle; /* given back last first */
};

struct joints *joints_new(struct profiles *p)
{
	struct joints *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->profiles = p;
	pthread_mutex_init(&j->lock, NULL);
	return j;
}

static void joint_free(struct joints *j, struct joint *joint)
{
	diff_free(joint->diff);
	profiles_release(j->profiles, joint->base);
	profiles_release(j->profiles, joint->view);
	free(joint);
}

void joints_free(struct joints *j)
{
	if (!j)
		return;
	while (j->idle) {
		struct joint *joint = j->idle;

		j->idle = joint->next;
		joint_free(j, joint);
	}
	pthread_mutex_destroy(&j->lock);
	free(j);
}

struct seep_error *joints_take(struct joints *j, struct held *base, struct held *view,
                               struct joint **ret_joint)
{
	struct seep_error *err;
	struct joint *joint;

	pthread_mutex_lock(&j->lock);
	for (struct joint **at = &j->idle; *at; at = &(*at)->next) {
		if ((*at)->base != base || (*at)->view != view)
			continue;
		*ret_joint = *at;
		*at = (*at)->next;
		pthread_mutex_unlock(&j->lock);
		return NULL;
	}
	pthread_mutex_unlock(&j->lock);
	joint = calloc(1, sizeof(*joint));
	if (!joint)
		return &seep_error_nomem;
	joint->base = profiles_hold(j->profiles, base);
	joint->view = profiles_hold(j->profiles, view);
	joint->sides[0] = base->profile;
	joint->sides[1] = view->profile;
	err = diff_make(joint->sides, 2, &joint->diff);
	if (err)
		joint_free(j, joint);
	else
		*ret_joint = joint;
	return err;
}

void joints_give(struct joints *j, struct joint *joint)
{
	struct joint *gone = joint;
	size_t n = 1;

	if (!joint)
		return;
	if (joint->diff->joint->nsites + joint->diff->joint->nframes <= LARGEST) {
		pthread_mutex_lock(&j->lock);
		joint->next = j->idle;
		j->idle = joint;
		gone = NULL;
		for (struct joint **at = &joint->next; *at; at = &(*at)->next)
			if (++n > IDLE) {
				gone = *at; /* one at a time is added, so one at most goes */
				*at = NULL;
				break;
			}
		pthread_mutex_unlock(&j->lock);
	}
	if (gone)
		joint_free(j, gone);
}
