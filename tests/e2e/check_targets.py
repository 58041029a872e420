# SPDX-License-Identifier: Apache-2.0
"""Every target of the leak checks, and every way to look at it: at its end, live, in a clone, in a core, with
and without the library.  Classes, blocks and bytes are those the target says, exactly, and so all ways agree."""
import os

from harness import (LEAK_CLASSES, SOAK, TARGETS, allow_cores, case, check, check_equal, main, need_target,
                     truth_total)

# What of a target differs from "check_NAME" ends with status 0 and has one process.
ARGUMENTS = {
    'exit_ways': [['return'], ['exit'], ['_exit'], ['quick_exit'], ['thread']],
}
STATUS = {'return': 1, 'exit': 2, '_exit': 3, 'quick_exit': 4, 'thread': 5}
# How many reachable blocks the loader and libc may have there besides, when no ledger tells whose they are.
EXTRA = {'check_dlopen_data': 8, 'check_dlclose_data': 8, 'check_root_tls_dynamic': 8, 'check_root_pthread_key': 2}
ROLES = {'fork_child': ('main', 'child')}


def compare(found, truth, moment, usable, what):
    """A check against the target's truth: totals, heuristics, cycles, and each function's where stacks are known."""
    wanted = truth_total(truth, moment, usable)
    got = found.classes
    extra = EXTRA.get(truth['target'], 2 if truth['runtime'] else 0)
    if extra and 'reachable' in got:
        # Blocks that the C and C++ libraries asked malloc for come on top of the target's.
        more = got['reachable'][0] - wanted.get('reachable', (0, 0))[0]
        check(0 <= more <= extra, what, 'reachable', got, wanted)
        wanted['reachable'] = got['reachable']
    check_equal(got, wanted, '%s: classes; %s' % (what, found.lost()))
    check_equal(found.heuristics, {name: (v[0], v[2 if usable else 1])
                                   for name, v in truth['heuristics'].items()}, what + ': heuristics')
    check_equal(found.cycles, truth['cycles'], what + ': lost cycles')
    if usable:
        return
    functions = {name: {c: (v[0], v[1]) for c, v in classes.items()}
                 for name, classes in truth['leaks'][moment].items() if classes}
    if truth['role'] == 'child':  # what it inherited has its stacks in the parent's ledger
        functions = {name: v for name, v in functions.items() if name not in ('make_inherited', 'make_kept')}
    check_equal(found.by_function(functions), functions, what + ': by function')


def records_add_up(found, what):
    for name in LEAK_CLASSES:
        records = [r for r in found.records if r['class'] == name]
        total = found.total(name)
        check_equal((sum(r['blocks'] for r in records), sum(r['bytes'] for r in records)), total,
                    '%s: records that are %s' % (what, name))
    indirect = sum(r['indirect']['blocks'] for r in found.records if r['class'] == 'definite')
    check(indirect <= found.total('indirect')[0], what, 'indirect blocks credited', indirect)


def complete(found, threads, what):
    c = found.completeness
    # that is how it should be
    missing = [n for n in c['notes'] if 'that have ended are no roots' not in n and 'read in the process itself' not in n]
    check(not missing and not c['unreadable_bytes'] and not c['missed_threads'], what, 'completeness', c)
    check_equal(c['threads'], threads, what + ': threads')


def at_exit(w, name, args):
    command = [need_target('check_' + name), *args]
    status = STATUS[args[0]] if args else 0
    for mode, moment in (('end', 'end'), ('exit', 'exit')):
        if moment == 'exit' and args and args[0] in ('_exit', 'quick_exit') or moment == 'exit' and \
                name == 'root_register':
            continue  # these do not pass exit()
        run = w.check_at_exit(command, '--check-at=' + mode, status=status)
        check_equal(len(run.checks), len(run.truths), 'processes checked %s' % run.describe())
        for truths in run.truths.values():
            truth = truths[0]
            found = [c for c in run.checks if c.pid == truth['pid']][0]
            check_equal(found.moment, moment, 'moment')
            compare(found, truth, moment, False, '%s %s' % (mode, truth['role']))
            records_add_up(found, mode)


def held(w, name, args):
    roles = ROLES.get(name, ('main',))
    process = w.hold('check_' + name, *args, roles=roles, preexec_fn=allow_cores)
    cores = []
    for role, truth in process.truths.items():
        pid = truth['pid']
        threads = len(os.listdir('/proc/%d/task' % pid))
        for option, moment in (('--clone', 'clone'), ('--no-clone', 'live'), ('--clone', 'clone')):
            found = w.check(pid, option)
            check_equal(found.moment, moment, 'moment')
            compare(found, truth, 'hold', True, '%s %s' % (moment, role))
            records_add_up(found, moment)
            complete(found, threads, moment)
        if SOAK or name.startswith('root_') or name in ('dead_thread_stack', 'arena_threads') or len(roles) > 1:
            cores.append((role, truth, w.core_of(process, pid, gcore=True), 'gcore'))
    if len(roles) == 1:
        truth = process.truths['main']
        cores.append(('main', truth, w.core_of(process), 'core'))
    else:
        w.release(process)
    if name == 'root_region':
        cores = []  # in a core a shared mapping of a file looks like any other
    for role, truth, core, kind in cores:
        found = w.check(core)
        check_equal(found.moment, 'core', 'moment')
        compare(found, truth, 'hold', True, '%s %s' % (kind, role))
        records_add_up(found, kind)
        os.unlink(core)


def held_tracked(w, name, args):
    """The ledger gives every block its exact size and its stack; nothing else changes."""
    process = w.hold('check_' + name, *args, roles=ROLES.get(name, ('main',)), tracked=True)
    for role, truth in process.truths.items():
        for option in ('--clone', '--no-clone'):
            found = w.check(truth['pid'], option, '--ledger-dir=' + w.ledgers)
            check(found.completeness['ledger'], 'the ledger was found', found.completeness)
            compare(found, truth, 'tracked', False, 'with a ledger, %s %s' % (option, role))
            records_add_up(found, 'with a ledger')
    w.release(process, STATUS[args[0]] if args else STATUS['return'] if name == 'exit_ways' else 0)


def add_case(name):
    def run(w):
        for args in ARGUMENTS.get(name, [[]]):
            at_exit(w, name, args)
        for args in ARGUMENTS.get(name, [[]])[:1]:
            held(w, name, args)
            held_tracked(w, name, args)

    run.__name__ = name
    case(run)


for program in sorted(os.listdir(TARGETS)) if TARGETS else []:
    if program.startswith('check_') and '.' not in program:
        add_case(program[len('check_'):])


@case
def options_that_see_more(w):
    """Classes change as asked: no heuristics, unaligned and masked pointers, interior ones, kinds of roots."""
    for name, options, wanted in (
            ('heuristic_stdstring', ['--heuristics=none'], 'possible'),
            ('heuristic_stdstring', ['--heuristics=length64,newarray,multipleinheritance'], 'possible'),
            ('heuristic_stdstring', ['--heuristics=stdstring'], 'reachable'),
            ('heuristic_length64', ['--heuristics=stdstring'], 'possible'),
            ('heuristic_none', ['--presets=lsan'], 'reachable'),
            ('possible', ['--presets=lsan'], 'reachable'),
            ('unaligned_pointer', ['--unaligned'], 'reachable'),
            ('tagged_pointer', ['--pointer-mask=0x00ffffffffffffff'], 'reachable'),
            ('root_data', ['--roots=stack,register,tls,mapping'], 'definite'),
            ('root_data', ['--roots=data'], 'reachable'),
            ('root_stack_main', ['--roots=data,register,tls,mapping'], 'definite'),
            ('root_stack_main', ['--roots=stack'], 'reachable'),
            ('root_register', ['--roots=data,stack,tls,mapping'], 'definite'),
            ('root_register', ['--roots=register'], 'reachable'),
            ('root_mapping', ['--roots=data,stack,tls,register'], 'definite'),
            ('root_mapping', ['--roots=mapping'], 'reachable'),
            ('root_dontfork', ['--roots=data,stack,tls,register'], 'definite'),
            ('root_dontfork', ['--roots=mapping'], 'reachable'),
            ('root_tls_static', ['--roots=data,stack,mapping,register'], 'definite'),
            ('root_tls_static', ['--roots=tls'], 'reachable')):
        process = w.hold('check_' + name)
        truth = process.truths['main']
        blocks = sum(c[0] for f in truth['leaks']['hold'].values() for c in f.values())
        usable = sum(c[2] for f in truth['leaks']['hold'].values() for c in f.values())
        for option in ('--clone', '--no-clone'):
            found = w.check(process.pid, option, *options)
            check_equal(found.classes, {wanted: (blocks, usable)}, '%s %s' % (name, options))
        w.release(process)


main()
