/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runtimes that bring a heap of their own, which no allocator of the C library knows: Java, Go, Node, .NET and their like.
 */
#ifndef SEEP_ANALYSIS_DOCTOR_RUNTIME_H
#define SEEP_ANALYSIS_DOCTOR_RUNTIME_H

struct image;

struct doctor_runtime {
	const char *name; /* "Java"; what the JSON says */
	const char *command; /* asks the runtime itself; "PID" is the process; NULL: there is none to type */
	const char *asks;  /* what that says, or what to do instead */
	const char *limit; /* for the next start; a line for the environment or an option */
	const char *limits;
};

/* The runtime in a process, or NULL. */
const struct doctor_runtime *doctor_runtime_in(const struct image *img);
/* The one of that name, or NULL. */
const struct doctor_runtime *doctor_runtime_named(const char *name);

#endif
