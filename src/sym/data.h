/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of data: which variable, table or vtable of a module covers an address.
 *
 * From .symtab and .dynsym of the module's own file, and of its debug file where the former is
 * stripped.  The files stay open until data_symbols_free().  One thread at a time.
 */
#ifndef SEEP_SYM_DATA_H
#define SEEP_SYM_DATA_H

#include <stdbool.h>
#include <stdint.h>

struct data_symbols;
struct prof_module;
struct seep_error;
struct sym_options;

struct data_symbol {
	const char *name; /* demangled; a static variable of a function without the compiler's number */
	const char *raw;      /* as the symbol table has it */
	uint64_t start, size; /* address in the process; size as the file says, 0 unknown */
};

/*
 * The data symbols of one module, which is found and checked as by the symbolizer.  *ret_data is NULL when
 * there is no file, or none with such symbols; an error is lack of memory.  m is not kept.
 */
struct seep_error *data_symbols_open(const struct sym_options *opts, const struct prof_module *m,
                                     struct data_symbols **ret_data);

/* The symbol that covers addr, an address in the process; its strings live as long as d.  NULL d: none. */
bool data_symbols_find(struct data_symbols *d, uint64_t addr, struct data_symbol *ret_symbol);

void data_symbols_free(struct data_symbols *d); /* NULL is fine */

static inline void data_symbols_freep(struct data_symbols **d)
{
	data_symbols_free(*d);
}
#define _cleanup_data_symbols_ __attribute__((cleanup(data_symbols_freep)))

#endif
