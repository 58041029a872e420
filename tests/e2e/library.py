# SPDX-License-Identifier: Apache-2.0
"""What libseep.so is made of: it may need libc and nothing else, and must not disturb programs that
look at their environment."""

from harness import LIBRARY, case, check, check_equal, main, need_program, need_target


@case
def it_needs_libc_only(w):
    dynamic = w.bare([need_program('readelf'), '-d', LIBRARY])
    needed = [line.split('[')[1].split(']')[0] for line in dynamic.stdout.splitlines() if '(NEEDED)' in line]
    check(set(needed) <= {'libc.so.6', 'ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1'}, 'it needs', needed)


@case
def it_has_no_text_relocations_and_no_executable_stack(w):
    headers = w.bare([need_program('readelf'), '-lW', LIBRARY]).stdout
    stack = [line for line in headers.splitlines() if 'GNU_STACK' in line]
    check(stack and 'RWE' not in stack[0], 'stack', stack)
    check('TEXTREL' not in w.bare([need_program('readelf'), '-d', LIBRARY]).stdout, 'text relocations')


@case
def errno_is_preserved(w):
    # realloc_fail checks errno after every failing call; malloc must not set it where it succeeds.
    run = w.preload('realloc_fail')
    check_equal(run.status, 0, run.describe())


@case
def file_descriptors_stay_as_they_were(w):
    script = 'exec 3</dev/null; ls -l /proc/self/fd | wc -l; exec 10</dev/null; ls -l /proc/self/fd | wc -l'
    bare = w.bare(['/bin/sh', '-c', script])
    tracked = w.preload('/bin/sh', '-c', script)
    check_equal(tracked.stdout, bare.stdout, 'open files a program sees of itself')


@case
def inactive_records_nothing(w):
    run = w.preload('leak_simple', options='active=0')
    check_equal(run.status, 0, run.describe())
    for path in w.ledger_paths(run.pid):
        check_equal(w.report(path).values('leak_here').allocs, 0, 'allocations while inactive')


@case
def only_one_process_is_tracked_when_asked(w):
    script = 'import os, sys; os.environ["SEEP_OPTIONS"] += ",only=%d" % os.getpid(); ' \
        'os.execv(sys.argv[1], sys.argv[1:])'
    run = w.preload('/usr/bin/python3', '-c', script, need_target('fork_exec'))
    check_equal(run.status, 0, run.describe())
    check_equal(w.report(w.ledger_paths(run.truth('parent')['pid'])[-1]).values('in_parent').allocs, 23,
                'allocations of the one')
    for truth in run.truths['program']:
        check_equal(w.ledger_paths(truth['pid']), [], 'ledgers of its children')


main()
