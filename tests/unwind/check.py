# SPDX-License-Identifier: Apache-2.0
"""Every stack the tracker records equals the one libunwind finds from the same place, frame for frame.

libunwindcheck.so (unwind_check.c) stands in front of libseep.so, follows each new block's record through
the ledger and walks with libunwind; here real programs and the targets that are hard on an unwinder run
under both.  One difference is allowed, and checked to be nothing else: where code without unwind
information keeps a frame pointer, libunwind 1.6 names the caller twice (asm_no_cfi.c); the source shows
that it was called once.
"""
import os
import re
import shutil
import socket

from harness import LIBRARY, case, check, check_equal, main, need_program, need_target, wait_for

CHECKER = os.environ['SEEP_UNWIND_CHECK']
WORKLOADS = os.environ['SEEP_WORKLOADS']
PYTHON = '/usr/bin/python3'
LEAST_IN_ALL = 100000

COMPARED = 0  # over all cases, for the last one


class Comparison:
    """What libunwindcheck.so wrote, summed over the processes of one run."""

    def __init__(self, text):
        self.count = {}
        self.differences = []
        for line in text.splitlines():
            if line.startswith('compared '):
                words = line.split()
                for name, value in zip(words[::2], words[1::2]):
                    last = self.count.get(name, 0)
                    self.count[name] = max(last, int(value)) if name == 'deepest' else last + int(value)
            elif line.startswith('difference'):
                self.differences.append({'what': line})
            elif line.startswith((' tracker', ' libunwind')):
                self.differences[-1][line.split()[0]] = line.split()[1:]
            else:
                check(False, 'the checker wrote', repr(line[:200]))
        check(self.count, 'the checker wrote nothing')

    def __getattr__(self, name):
        return self.count[name]

    def describe(self):
        return '%r\n%s' % (self.count, '\n'.join(
            '%s\n  tracker   %s\n  libunwind %s' % (d['what'], ' '.join(d['tracker']), ' '.join(d['libunwind']))
            for d in self.differences[:4]))


def environment(w, every, **more):
    """For the target alone: nothing of this harness runs with the libraries preloaded."""
    env = dict(os.environ, LD_PRELOAD=CHECKER + ' ' + LIBRARY, SEEP_OPTIONS='dir=' + w.ledgers,
               UNWIND_CHECK_LEDGERS=w.ledgers, UNWIND_CHECK_OUT=w.file('unwind'), UNWIND_CHECK_EVERY=str(every),
               UNWIND_CHECK_SHOW='200')
    env.pop('PYTHONPATH', None)
    env.update(more)
    return env


def result(w, run, status=0):
    check_equal(run.status, status, 'status ' + run.describe())
    with open(w.file('unwind')) as f:
        return Comparison(f.read())


def all_equal(found, least):
    global COMPARED
    check(found.compared >= least, 'only compared:', found.describe())
    check_equal(found.equal, found.compared, 'equal stacks: ' + found.describe())
    check(not found.differences, found.describe())
    COMPARED += found.compared
    print('# %(compared)d stacks equal, %(frames)d frames, deepest %(deepest)d, %(signal)d through a signal, '
          'recalled %(fast)d, walked %(slow)d' % found.count, flush=True)


def some_were_recalled(found):
    """More stacks were compared than were ever walked, so the others came from memory."""
    check(found.fast > 0, 'no stack was recalled:', found.describe())
    check(found.compared > found.slow, 'every compared stack may have been walked:', found.describe())


def program(w, command, every, least, status=0, **env):
    run = w.bare(command, env=environment(w, every, **env), deadline=240)
    found = result(w, run, status)
    all_equal(found, least)
    return found


def target(w, name, least, *args, every=1, status=0):
    return program(w, [need_target(name), *args], every, least, status)


# ---- real programs -----------------------------------------------------------------------


@case
def cpython(w):
    found = program(w, [need_program(PYTHON), os.path.join(WORKLOADS, 'json_loop.py'), '1'], 5, 90000,
                    PYTHONMALLOC='malloc', PYTHONHASHSEED='1')
    some_were_recalled(found)
    check(found.deepest >= 50, 'deepest stack', found.deepest)


@case
def sqlite(w):
    found = program(w, [need_program('sqlite3'), ':memory:', '.read ' + os.path.join(WORKLOADS, 'queries.sql')],
                    40, 20000)
    some_were_recalled(found)


@case
def clang(w):
    source = os.path.join(WORKLOADS, 'templates.cc')
    found = program(w, [need_program('clang++'), '-std=c++17', '-fsyntax-only', source], 20, 10000)
    check(found.fast > 0, 'no stack was recalled:', found.describe())
    check(found.deepest >= 100, 'deepest stack', found.deepest)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(port):
    def ask():
        try:
            socket.create_connection(('127.0.0.1', port), timeout=5).close()
            return True
        except OSError:
            return False
    return ask


@case
def redis(w):
    server, bench = need_program('redis-server'), need_program('redis-benchmark')
    client, port = need_program('redis-cli'), free_port()
    process = w.start([server, '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no',
                       '--dir', w.path], env=environment(w, 5))
    wait_for(answers(port), 'redis to answer')
    load = w.bare([bench, '-h', '127.0.0.1', '-p', str(port), '-n', '4000', '-c', '20', '-q', '-t',
                   'set,get,lpush,lpop,sadd,hset', '-r', '2000'], deadline=120)
    check_equal(load.status, 0, load.describe())
    w.bare([client, '-h', '127.0.0.1', '-p', str(port), 'shutdown', 'nosave'])
    found = result(w, w.finish(process))
    all_equal(found, 10000)
    some_were_recalled(found)


# ---- what is hard on an unwinder ------------------------------------------------------------


@case
def exceptions(w):
    some_were_recalled(target(w, 'cxx_exceptions', 9000))


@case
def fibers(w):
    target(w, 'fiber_swapcontext', 900)


@case
def alternate_signal_stack(w):
    found = target(w, 'sigaltstack_alloc', 60)
    check_equal(found.signal, 60, 'stacks through a signal frame')


@case
def signals_at_any_instruction(w):
    target(w, 'signal_storm', 1000)


@case
def longjmp_out_of_frames(w):
    target(w, 'setjmp_longjmp', 1000)


@case
def frames_of_variable_size(w):
    target(w, 'alloca_frames', 400)


@case
def realigned_frames(w):
    target(w, 'drap_frames', 300)


@case
def threads(w):
    some_were_recalled(target(w, 'threads_storm', 30000, '4', '20000', every=1))


@case
def calls_that_never_return(w):
    target(w, 'noreturn_tail', 3, status=4)


@case
def modules_at_the_same_address(w):
    target(w, 'dlopen_cycle', 400)


@case
def stacks_cut_at_the_limit(w):
    """Ten stacks are deeper than the tracker records; libunwind's first 512 frames are the same."""
    found = target(w, 'deep_recursion', 20)
    check_equal((found.deepest, found.cut), (512, 10), 'deepest stack, cut stacks')


@case
def code_without_unwind_tables(w):
    """The hundred stacks below code without a frame pointer end there for both.  The other hundred go on, and
    libunwind has the frame above framed_call() twice."""
    global COMPARED
    name = need_target('asm_no_cfi')
    found = result(w, w.bare([name], env=environment(w, 1)))
    check_equal((found.compared, found.equal, found.cut, len(found.differences)), (200, 100, 100, 100),
                'compared, equal, cut, shown')
    for d in found.differences:
        ours, theirs = d['tracker'], d['libunwind']
        check(ours[0].startswith('asm_no_cfi+') and ours[1].startswith('asm_no_cfi+'), found.describe())
        check_equal(theirs, ours[:3] + ours[2:], 'libunwind: the tracker\'s with the third frame twice')
        check_equal(len(ours), len(set(ours)), 'frames of the tracker: different ones')
    # The frame that is there once for us is framed_call()'s caller, main; the one below it framed_call().
    offsets = [int(re.sub(r'.*\+(0x[0-9a-f]+)\(.*', r'\1', f), 16) for f in found.differences[0]['tracker'][:3]]
    symbols = {}
    for line in w.bare([need_program('nm'), '-n', name]).stdout.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in 'Tt':
            symbols[int(parts[0], 16)] = parts[2]
    names = [symbols[max(s for s in symbols if s < o)] for o in offsets]
    check_equal(names, ['below_framed', 'framed_call', 'main'], 'innermost frames')
    COMPARED += found.compared


@case
def in_all(w):
    """The cases above together; those skipped because a program is missing leave enough."""
    if all(shutil.which(p) for p in (PYTHON, 'sqlite3', 'redis-server', 'clang++')):
        check(COMPARED >= LEAST_IN_ALL, 'stacks compared:', COMPARED)
    print('# %d stacks compared' % COMPARED)


main()
