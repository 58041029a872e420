# SPDX-License-Identifier: Apache-2.0
"""Counts equal valgrind's "total heap usage": allocations, frees and bytes, over C, C++, threads,
realloc-heavy and memalign-heavy programs.

seep and valgrind see the same calls, with two constant differences:
  - valgrind runs libc's own clean-up (__libc_freeres) at exit; --run-libc-freeres=no leaves it out.
  - The loader allocates a vector for each thread with one slot of 16 bytes for every module that has
    thread-local variables.  libseep.so is one more such module, so each vector is 16 bytes larger.
"""
import re

from harness import case, check, check_equal, main, need_program, need_target

USAGE = re.compile(r'total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes allocated')


def valgrind_usage(w, command):
    run = w.bare([need_program('valgrind'), '--leak-check=no', '--run-libc-freeres=no',
                  '--run-cxx-freeres=no', '--trace-children=no', *command], deadline=300)
    found = USAGE.search(run.stderr)
    check(found, 'no summary from valgrind', run.describe())
    return run, [int(n.replace(',', '')) for n in found.groups()]


# Each thread that glibc cannot give a cached stack gets a vector with an entry of 16 bytes for every
# module with thread-local storage, allocated by pthread_create; libseep.so is one such module more.
DTV_ENTRY = 16


def compare(w, target, *args, new_threads=0):
    path = need_target(target)
    theirs, (allocs, frees, size) = valgrind_usage(w, [path, *args])
    ours = w.preload(target, *args)
    check_equal(ours.status, theirs.status, 'exit status')
    total = w.report(w.ledger(ours.pid)).totals('heap')
    check_equal((total.allocs, total.frees, total.alloc_bytes),
                (allocs, frees, size + new_threads * DTV_ENTRY),
                '%s: allocs, frees, bytes; valgrind' % target)


@case
def c_malloc_free(w):
    compare(w, 'malloc_free_exact')


@case
def c_calloc(w):
    compare(w, 'calloc')


@case
def c_realloc_heavy(w):
    compare(w, 'realloc_chain')


@case
def c_memalign_heavy(w):
    compare(w, 'memalign_family', 'no-pvalloc')


@case
def cxx_new_and_delete(w):
    # Without the requests that are refused: valgrind's own operator new makes no exception for them.
    compare(w, 'cxx_new_delete', 'no-throw')


@case
def cxx_exceptions(w):
    compare(w, 'cxx_exceptions')


@case
def cxx_containers(w):
    compare(w, 'leak_cxx')


@case
def threads(w):
    compare(w, 'cross_thread_free', new_threads=6)


@case
def threads_that_come_and_go(w):
    compare(w, 'thread_exit_tls', new_threads=4)


@case
def threads_under_storm(w):
    # Deterministic per thread: four threads of their own random sequence each.
    compare(w, 'threads_storm', '4', '5000', new_threads=4)


main()
