#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# prefix.sh CC... OUTPUT: the system's libjemalloc.a as if configured with --with-jemalloc-prefix=je_.
set -eu
for output; do :; done
compiler=''
while [ $# -gt 1 ]; do
	compiler="$compiler $1"
	shift
done
archive=$($compiler -print-file-name=libjemalloc.a)
set --
for name in aligned_alloc calloc dallocx free mallctl mallctlbymib mallctlnametomib malloc malloc_conf \
	malloc_conf_2_conf_harder malloc_message malloc_stats_print malloc_usable_size mallocx memalign nallocx \
	posix_memalign rallocx realloc sallocx sdallocx valloc xallocx; do
	set -- "$@" --redefine-sym "$name=je_$name"
done
objcopy "$@" "$archive" "$output"
