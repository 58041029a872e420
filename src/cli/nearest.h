/* SPDX-License-Identifier: Apache-2.0 */
/* Did you mean: which of several names is most like one that was mistyped. */
#ifndef SEEP_CLI_NEAREST_H
#define SEEP_CLI_NEAREST_H

struct nearest {
	const char *name; /* as it was typed; of up to 24 characters, longer ones are like nothing */
	const char *best; /* NULL: none is like it */
	unsigned int least;
};

struct nearest nearest_to(const char *name);
void nearest_try(struct nearest *n, const char *candidate);

#endif
