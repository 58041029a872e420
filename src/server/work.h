/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work: a few threads that answer what takes longer than a moment, so that the network thread never waits.
 *
 * Questions that are the same meet here: while one is being answered, others with the same key wait for that answer.  Answers
 * made of what does not change (reply.share) are kept for a while and given again.  Threads, waiting questions and kept
 * bytes are bounded; what is too much is refused, at once.
 *
 * A difference of two large snapshots takes some 100 MB of tables for a moment.  The kernel would clear them page by page
 * each time, which takes longer than filling them where memory is given by a hypervisor.  So the allocator keeps them
 * (large_keep()), what the next such answer will take is touched ahead, and work_rest() gives it all back.
 */
#ifndef SEEP_SERVER_WORK_H
#define SEEP_SERVER_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply;
struct request;
struct route;
struct server;
struct work;

struct work_answer; /* counted; shared by all who asked */

struct work *work_new(struct server *s, unsigned int threads, size_t most_waiting,
                      size_t cache_bytes);
void work_stop(struct work *w); /* ends the threads; who still waits is told NULL, nothing more is taken */
void work_free(struct work *w);

/*
 * Takes q over when it returns true: q is then answered by a thread, which calls done(arg, answer) once.  The answer
 * belongs to done(), which gives it back with work_answer_release(); NULL: the server is ending.
 * False: too many are waiting.
 */
bool work_submit(struct work *w, const struct route *route, struct request *q,
                 void (*done)(void *arg, struct work_answer *answer), void *arg);

/*
 * Gives memory back when nothing has been asked for a minute: until then what one answer was made of is there for the
 * next.  To be called now and then.
 */
void work_rest(struct work *w, int64_t now_ms);

const struct reply *work_answer_reply(const struct work_answer *a);
/* Something of the asker's that lives as long as the answer (a response of the HTTP library); set once, by the first. */
void *work_answer_shared(struct work_answer *a, void *(*make)(const struct reply *reply),
                         void (*drop)(void *));
void work_answer_release(struct work_answer *a);

#endif
