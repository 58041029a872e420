# SPDX-License-Identifier: Apache-2.0
"""Targets that each bring about one cause: the doctor names it first, its shares are within 2 % of what the target knows, and
nearly every resident byte has a class; in a clone, stopped, and from two looks; with little permission it says what it
could not see."""
import ctypes
import json
import os
import subprocess

from harness import (TARGETS, Skip, case, check, check_equal, main, need_root, need_target, wait_for, waits_for_input)
from doctor_look import Target, classes, doctor, near

# target, who has no symbols or another libc: NAME of the executable
GLIBC = ['leak', 'pinned_top', 'holes', 'fragments', 'thread_tops', 'arenas', 'tcache', 'stacks', 'shmem', 'lazyfree', 'mixed']
# what two looks explain
GROWING = ['cache', 'mmap', 'stacks']


def adds_up(d, what):
    got, rss = classes(d), d['facts']['rss']
    check_equal(sum(got.values()), rss, what + ': sum of the classes')
    check(got['unclassified'] <= rss * 0.01, what, 'not classified', got['unclassified'], 'of', rss)
    kernel = d['facts']['rss_kernel']
    check(abs(kernel - rss) <= max(rss * 0.01, 512 << 10), what, 'VmRSS', kernel, 'classes', rss)


def agrees(d, truth, what):
    adds_up(d, what)
    for name, bytes_ in truth['classes'].items():
        near(classes(d)[name], bytes_, d['facts']['rss'], '%s: %s' % (what, name))


def first_is(d, cause, what):
    names = [v['cause'] for v in d['verdicts']]
    check(names and names[0] == cause, what, 'verdicts', names, 'wanted first', cause)
    v = d['verdicts'][0]
    check(v['evidence'] and v['remedies'] and v['title'], what, v)


def examine(w, name, *options, variant=''):
    t = Target(w, name, variant)
    what = 'doctor_%s%s %s' % (name, variant, ' '.join(options))
    d = doctor(w, t.truth['pid'], *options)
    first_is(d, t.truth['cause'], what)
    agrees(d, t.truth, what)
    t.end(w)
    return d


@case
def every_cause(w):
    for name in GLIBC:
        d = examine(w, name)
        check_equal(d['how'], 'clone', name)
        check_equal(d['notes'], [], name + ': what was not looked at')


@case
def reserved_addresses_are_not_gone_through(w):
    """68 TB of them: page by page that would take minutes, and a check's roots some more."""
    t = Target(w, 'reserved')
    d = doctor(w, t.truth['pid'])
    first_is(d, t.truth['cause'], 'reserved')
    agrees(d, t.truth, 'reserved')
    for way in ('--clone', '--no-clone'):
        found = w.check(t.truth['pid'], way)
        check_equal((found.total('definite'), found.total('possible')), ((0, 0), (0, 0)), way)
        check(found.total('reachable')[0] >= 1, way, found.classes)
    t.end(w)


@case
def stopped_instead_of_cloned(w):
    for name in ('leak', 'holes', 'thread_tops'):
        check_equal(examine(w, name, '--no-clone')['how'], 'stopped', name)


@case
def static_and_stripped(w):
    for variant in ('_static', '_stripped'):
        for name in ('leak', 'holes'):
            examine(w, name, variant=variant)


@case
def musl(w):
    for name in ('leak_musl', 'holes_musl'):
        t = Target(w, name)
        d = doctor(w, t.truth['pid'])
        check_equal(d['allocator'], 'musl mallocng', name)
        if 'leak' in name:  # musl unmaps what is wholly free, and so has no holes
            first_is(d, 'leak', name)
        adds_up(d, name)
        near(classes(d)['leaked' if 'leak' in name else 'reachable'],
             t.truth['classes']['leaked' if 'leak' in name else 'reachable'], d['facts']['rss'], name)
        t.end(w)


@case
def two_looks(w):
    for name in GROWING:
        t = Target(w, name)
        before, after = w.file('a.json'), w.file('b.json')
        first = t.truth
        for path in (before, after):
            run = w.seep('doctor', '--json', '-o', path, str(t.truth['pid']))
            check_equal(run.status, 0, run.describe())
            if path == before:
                t.go_on()
        d = doctor(w, '--compare', before, after)
        first_is(d, t.truth['cause'], name)
        agrees(d, t.truth, name)
        growth = sum(t.truth['classes'].values()) - sum(first['classes'].values())
        near(d['window']['growth'], growth, 0, name + ': growth')
        near(d['verdicts'][0]['growth'], growth, 0, name + ': growth explained')
        check_equal(d['verdicts'][0]['problem'], True, name)
        t.end(w)


@case
def watched(w):
    t = Target(w, 'cache')
    process = w.start([os.environ['SEEP'], 'doctor', '--json', '--watch', '3s', str(t.truth['pid'])])
    # The first look is over when the target's clone is gone: growing before or after that, it is one window.
    children = '/proc/%d/task/%d/children' % (t.truth['pid'], t.truth['pid'])
    seen = False

    def looked_at():
        nonlocal seen
        with open(children) as f:
            alive = bool(f.read().split())
        seen = seen or alive
        return seen and not alive

    wait_for(looked_at, 'the first look')
    t.go_on()
    run = w.finish(process)
    check_equal(run.status, 0, run.describe())
    d = json.loads(run.stdout)
    if d['window']['growth'] > 16 << 20:
        first_is(d, 'reachable-growth', 'watched')
        check(d['window']['until_limit_ns'], d['window'])
    else:
        raise Skip('the machine was too slow: the second look came before the target had grown')
    t.end(w)


@case
def with_a_ledger(w):
    """Stacks: who leaks, who pins, which module."""
    t = Target(w, 'fragments', env=w.tracked_environment())
    d = doctor(w, t.truth['pid'], '--ledger-dir=' + w.ledgers)
    first_is(d, 'fragmentation', 'tracked')
    adds_up(d, 'tracked')
    check_equal(d['ledger'], True, 'ledger')
    check(classes(d)['seep'] > 0, "seep's own", classes(d))
    functions = [f['function'] for f in d['pins'][0]['stack']]
    check('main' in functions or 'doctor_block' in functions, 'who pins', d['pins'][0])
    modules = {p['name']: p['bytes'] for p in d['parts'] if p['by'] == 'module'}
    check('doctor_fragments' in modules, 'modules', modules)
    t.end(w)


@case
def who_pins_without_a_ledger(w):
    t = Target(w, 'pinned_top')
    d = doctor(w, t.truth['pid'])
    pin = d['pins'][0]
    near(pin['holds_back'], t.truth['classes']['free_bins'], d['facts']['rss'], 'what the block keeps')
    check_equal((pin['blocks'], pin['bytes']), (1, 4008), 'the block')
    t.end(w)


@case
def what_is_not_permitted_is_said(w):
    need_root()
    t = Target(w, 'holes')
    probe = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
    if subprocess.run([*probe, 'true'], capture_output=True).returncode:
        raise Skip('setpriv cannot drop privileges here')
    seep = w.file('seep')
    os.chmod(w.path, 0o755)
    subprocess.run(['cp', os.environ['SEEP'], seep], check=True)
    run = w.finish(w.start([*probe, seep, 'doctor', '--json', str(t.truth['pid'])]))
    check_equal(run.status, 0, run.describe())
    d = json.loads(run.stdout)
    check_equal(d['how'], 'status', 'how')
    check(len(d['notes']) >= 2 and all('not looked at' in n for n in d['notes']), d['notes'])
    got = classes(d)
    check(got['file'] and got['unclassified'] > 60 << 20 and not got['reachable'], got)
    check_equal(sum(got.values()), d['facts']['rss'], 'sum')
    check(d['facts']['blocks'] is None and d['facts']['pss'] is None, 'unknown is not 0', d['facts'])
    t.end(w)


@case
def several_at_once(w):
    """Only one program can trace a process: each waits until the one before has let go."""
    t = Target(w, 'holes')
    at_once = [w.start([os.environ['SEEP'], 'doctor', '--json', str(t.truth['pid'])]) for _ in range(5)]
    for process in at_once:
        run = w.finish(process)
        check_equal(run.status, 0, run.describe())
        d = json.loads(run.stdout)
        check_equal((d['how'], d['notes']), ('clone', []), 'how it was looked at')
        first_is(d, t.truth['cause'], 'with others')
    t.end(w)


@case
def what_only_the_kernel_tells_is_not_made_more_of(w):
    """Under a debugger: mappings and no look inside.  Nobody can say then that they are no heap's."""
    t = Target(w, 'arenas')
    libc, seize = ctypes.CDLL(None, use_errno=True), 0x4206
    check_equal(libc.ptrace(seize, t.truth['pid'], None, None), 0, 'PTRACE_SEIZE')
    d = doctor(w, t.truth['pid'])
    check_equal(d['how'], 'maps', 'how')
    check(any('is traced by process %d' % os.getpid() in n for n in d['notes']), d['notes'])
    v = next((v for v in d['verdicts'] if v['cause'] == 'anonymous-mappings'), None)
    check(v and v['confidence'] == 'low' and 'heap known to seep' not in str(v), d['verdicts'])
    run = w.seep('doctor', str(t.truth['pid']))
    check('is traced by process %d' % os.getpid() in ' '.join(run.stdout.split()), run.describe())
    t.process.kill()


@case
def from_outside_a_container(w):
    """Its own pid namespace and mounts: seen from outside, by the pid it has there."""
    need_root()
    command = ['unshare', '--pid', '--fork', '--mount', '--mount-proc', '--kill-child', need_target('doctor_holes_static')]
    if subprocess.run(['unshare', '--pid', '--fork', '--mount', '--mount-proc', 'true'], capture_output=True).returncode:
        raise Skip('namespaces cannot be made here')
    process = w.start(command, stdin=subprocess.PIPE)
    truth = json.loads(process.stdout.readline())
    check_equal(truth['pid'], 1, 'its own pid')
    with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as f:
        pid = int(f.read().split()[0])
    wait_for(lambda: waits_for_input(pid), 'the target to wait for its input')
    d = doctor(w, pid)
    first_is(d, truth['cause'], 'in a container')
    agrees(d, truth, 'in a container')
    run = w.finish(process, stdin='')
    check_equal(run.status, 0, run.describe())


@case
def a_core(w):
    t = Target(w, 'holes')
    core = w.core_of(t.process, t.truth['pid'], gcore=True)
    d = doctor(w, core, need_target('doctor_holes'))
    check_equal(d['how'], 'core', 'how')
    check(any(v['cause'] == 'heap-holes' for v in d['verdicts']), d['verdicts'])
    near(classes(d)['reachable'], t.truth['classes']['reachable'], d['facts']['rss'], 'reachable')


@case
def other_allocators(w):
    """They are asked; what they say is a class, and the cause is theirs."""
    found = 0
    for program, shape, cause, class_, name in (
            ('jemalloc', 'dirty', 'jemalloc-dirty', 'other_free', lambda f: 4096 * (f['pdirty'] + f['pmuzzy'])),
            ('jemalloc', 'internal', 'jemalloc-internal', 'other_internal', lambda f: f['active'] - f['allocated']),
            ('jemalloc_prefixed', 'dirty', 'jemalloc-dirty', 'other_free', lambda f: 4096 * (f['pdirty'] + f['pmuzzy'])),
            ('tcmalloc', 'pageheap', 'tcmalloc-page-heap', 'other_free', lambda f: f['tcmalloc.pageheap_free_bytes']),
            ('mimalloc', 'retention', 'mimalloc-retained', 'other_free', None)):
        if not os.path.exists(os.path.join(TARGETS, 'doctor_' + program)):
            continue
        process = w.start([need_target('doctor_' + program), shape], stdin=subprocess.PIPE)
        said = {}
        while 'ready' not in said:
            said = json.loads(process.stdout.readline())
        pid = said['ready']
        process.stdin.write('s\n')
        process.stdin.flush()
        figures = json.loads(process.stdout.readline())
        wait_for(lambda: waits_for_input(pid), program + ' to wait for its input')
        d = doctor(w, pid)
        what = program + ' ' + shape
        first_is(d, cause, what)
        adds_up(d, what)
        if name:
            near(classes(d)[class_], name(figures), d['facts']['rss'], what)
        check(not any(v['cause'].split('-')[0] in ('jemalloc', 'tcmalloc', 'mimalloc') and
                      v['cause'].split('-')[0] not in program for v in d['verdicts']), what, d['verdicts'])
        process.stdin.write('q\n')
        process.stdin.flush()
        w.finish(process)
        found += 1
    if not found:
        raise Skip('none of the other allocators is installed')


@case
def text_for_people(w):
    t = Target(w, 'mixed')
    run = w.seep('doctor', str(t.truth['pid']))
    check_equal(run.status, 0, run.describe())
    for words in ('Verdict', '1. Free memory lies in holes', 'A leak: nothing points to', 'seep trim %d' % t.truth['pid'],
                  'Where the resident memory is', 'is classified'):
        check(words in run.stdout, words, 'is not in', run.stdout)
    check(all(len(line) <= 100 for line in run.stdout.splitlines()), 'wider than 100 columns', run.stdout)
    t.end(w)


@case
def what_cannot_be_done(w):
    for args, words in ((['4194304'], 'no process'), (['--compare', '/dev/null', '/dev/null'], 'doctor --json'),
                        ([], 'look at what'), (['--compare', '--watch', '1s', 'a', 'b'], 'two ways')):
        run = w.seep('doctor', *args)
        check_equal(run.status, 2, run.describe())
        check(words in run.stderr, words, run.stderr)


if __name__ == '__main__':
    main()
