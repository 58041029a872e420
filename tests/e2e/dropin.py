# SPDX-License-Identifier: Apache-2.0
"""Standing in for other heap profilers: the same program, with the same environment and the same calls, once over the
real tcmalloc or jemalloc and once over glibc's malloc with libseep.so preloaded, and the profiles compared as
google-pprof and jeprof print them, function by function (docs/DROP-IN.md).

The programs are linked against no profiler (weak references), so that what is preloaded answers.
"""
import glob
import os
import re
import signal
import urllib.error
import urllib.request

from harness import (LIBRARY, SLOW_DEADLINE, SOAK, Skip, case, check, check_between, check_equal, main, need_program,
                     need_root, need_target, wait_for)

COMMANDS = 'dropin_commands'
FUNCTIONS = ('keep_small', 'keep_large', 'churn', 'keep_big', 'keep_mapped')
CLEAN = ('HEAPPROFILE', 'MALLOC_CONF', 'SEEP_OPTIONS', 'LD_PRELOAD', 'TCMALLOC_SAMPLE_PARAMETER')


def tcmalloc():
    for path in glob.glob('/usr/lib/*/libtcmalloc.so.4'):
        return path
    raise Skip('libtcmalloc.so.4 is not installed')


def jemalloc(w):
    for path in glob.glob('/usr/lib/*/libjemalloc.so.2'):
        run = w.bare([need_program('true')], env=dict(os.environ, LD_PRELOAD=path, MALLOC_CONF='prof:true'))
        if 'Invalid' in run.stderr:
            raise Skip('this jemalloc was built without profiling')
        return path
    raise Skip('libjemalloc.so.2 is not installed')


def environment(library, **more):
    env = {name: value for name, value in os.environ.items() if name not in CLEAN and 'HEAP_PROFILE' not in name}
    env['LD_PRELOAD'] = library
    if library == LIBRARY:
        env['ERRNO_STAYS'] = '1'
    env.update(more)
    return env


class Ran:
    """A program that ran with a profiler in a folder of its own, and what it left there."""

    def __init__(self, w, folder, library, commands, target=COMMANDS, status=0, **env):
        self.w, self.folder = w, w.file(folder)
        os.mkdir(self.folder)
        self.run = w.finish(w.start([need_target(target), *commands], env=environment(library, **env), cwd=self.folder))
        check_equal(self.run.status, status, 'status over %s %s' % (library, self.run.describe()))

    @property
    def names(self):
        """Of the files, process numbers taken out, children's as CHILD."""
        def plain(name):
            name = re.sub(r'\b%d\b' % self.run.pid, 'PID', name)
            return re.sub(r'_\d+\.', '_CHILD.', name)
        return sorted(plain(name) for name in os.listdir(self.folder))

    def path(self, name):
        name = name.replace('PID', str(self.run.pid))
        if 'CHILD' in name:
            found = glob.glob(os.path.join(self.folder, name.replace('CHILD', '[0-9]*')))
            check_equal(len(found), 1, 'files %s among %r' % (name, os.listdir(self.folder)))
            return found[0]
        return os.path.join(self.folder, name)

    def values(self, name, tool='google-pprof'):
        return {index: read(self.w, self.path(name), tool, index) for index in (
            'inuse_space', 'inuse_objects', 'alloc_space', 'alloc_objects')}


def read(w, path, tool, index='inuse_space', target=COMMANDS, functions=FUNCTIONS):
    """Function → what the tool says lies at it and what it calls: the real allocators' own frames are below."""
    run = w.bare([need_program(tool), '--text', '--show_bytes', '--' + index, need_target(target), path],
                 deadline=SLOW_DEADLINE)
    if 'No nodes to print' in run.stderr:
        return {}
    check_equal(run.status, 0, 'status of %s %s' % (tool, run.describe()))
    found = {}
    for line in run.stdout.splitlines():
        words = line.split()
        if len(words) >= 6 and words[5] in functions and float(words[3]):
            found[words[5]] = float(words[3])
    return found


def truths(truth):
    """What the program itself counted, by pprof's names of values."""
    sites = truth['sites']
    return {
        'inuse_space': {n: s['alloc_bytes'] - s['free_bytes'] for n, s in sites.items()
                        if s['alloc_bytes'] != s['free_bytes']},
        'inuse_objects': {n: s['allocs'] - s['frees'] for n, s in sites.items() if s['allocs'] != s['frees']},
        'alloc_space': {n: s['alloc_bytes'] for n, s in sites.items()},
        'alloc_objects': {n: s['allocs'] for n, s in sites.items()},
    }


def shared_memory():
    folder = '/dev/shm/seep-%d' % os.geteuid()
    return {n for n in os.listdir(folder) if n.endswith('.ledger')} if os.path.isdir(folder) else set()


def first_line(path):
    with open(path) as f:
        return f.readline().rstrip('\n')


# ---- gperftools ------------------------------------------------------------------------------------------


def both_gperftools(w, commands, **env):
    ours = Ran(w, 'ours', LIBRARY, commands, **env)
    theirs = Ran(w, 'theirs', tcmalloc(), commands, **env)
    return ours, theirs


@case
def heapprofile_gives_what_tcmalloc_gives(w):
    ours, theirs = both_gperftools(w, ['alloc', 'dump=one', 'drop', 'dump=two'], HEAPPROFILE='p')
    check_equal(ours.names, ['p.0001.heap', 'p.0002.heap', 'p.0003.heap'], 'files')
    check_equal(theirs.names, ours.names, "tcmalloc's files")
    for name in ours.names:
        check_equal(ours.values(name), theirs.values(name), 'values in ' + name)
    check_equal(ours.values('p.0003.heap'), truths(ours.run.truth()), 'values at the end')
    check(re.fullmatch(r'heap profile: +\d+: +\d+ \[ *\d+: +\d+\] @ heapprofile', first_line(ours.path('p.0001.heap'))),
          'first line', first_line(ours.path('p.0001.heap')))
    for line in ('Starting tracking the heap', 'Dumping heap profile to p.0001.heap (one)'):
        check(line in ours.run.stderr and line in theirs.run.stderr, line, 'not in', ours.run.stderr)
    check(re.search(r'Dumping heap profile to p.0003.heap \(Exiting, \d MB in use\)', ours.run.stderr), ours.run.stderr)


@case
def the_report_has_the_same_numbers(w):
    ran = Ran(w, 'ours', LIBRARY, ['alloc', 'drop'], HEAPPROFILE='p', SEEP_OPTIONS='dir=' + w.ledgers)
    report, values = w.report(w.ledger(ran.run.pid)), ran.values('p.0001.heap')
    for function in ('keep_small', 'keep_large', 'churn'):
        v = report.values(function)
        check_equal([values[i][function] for i in ('inuse_space', 'inuse_objects', 'alloc_space', 'alloc_objects')],
                    [v.inuse_bytes, v.inuse, v.alloc_bytes, v.allocs], function)


@case
def calls_start_and_stop_sessions(w):
    commands = ['running=0', 'alloc', 'dump=nothing', 'get=empty', 'start=s', 'running=1', 'start=again', 'drop', 'big=3',
                'dump=one', 'get=text', 'stop', 'running=0', 'get=none', 'dump=nothing', 'alloc', 'start=t', 'pass=2',
                'big=1', 'drop', 'dump=two']
    ours, theirs = both_gperftools(w, commands)
    check_equal(ours.names, ['empty', 'none', 's.0001.heap', 't.0002.heap', 't.0003.heap', 'text'], 'files')
    check_equal(theirs.names, ours.names, "tcmalloc's files")
    for name in ('s.0001.heap', 't.0002.heap', 't.0003.heap', 'text'):
        check_equal(ours.values(name), theirs.values(name), 'values in ' + name)
    check_equal(ours.values('s.0001.heap')['inuse_objects'], {'keep_big': 3}, 'since the first start')
    check_equal(ours.values('t.0002.heap')['alloc_objects'], {'keep_big': 3}, 'since the second')
    for name in ('empty', 'none'):
        check_equal(os.path.getsize(ours.path(name)), 0, 'size of ' + name)


@case
def a_signal_writes_a_profile(w):
    ours, theirs = both_gperftools(w, ['alloc', 'raise=12', 'drop', 'raise=12'], HEAPPROFILE='p', HEAPPROFILESIGNAL='12')
    check_equal(ours.names, ['p.0001.heap', 'p.0002.heap', 'p.0003.heap'], 'files')
    check_equal(theirs.names, ours.names, "tcmalloc's files")
    check_equal(ours.values('p.0001.heap'), theirs.values('p.0001.heap'), 'values')


def check_times(w, number, commands, **env):
    ours, theirs = both_gperftools(w, commands, HEAPPROFILE='p', **env)
    check_between(len(theirs.names), number - 1, number + 1, "tcmalloc's files")
    check_between(len(ours.names), number - 1, number + 1, 'files')
    return ours


@case
def intervals_write_profiles(w):
    off = {'HEAP_PROFILE_ALLOCATION_INTERVAL': '0', 'HEAP_PROFILE_INUSE_INTERVAL': '0'}
    for name, commands, env in (
            ('a', ['pass=100'], {'HEAP_PROFILE_ALLOCATION_INTERVAL': str(10 << 20)}),
            ('f', ['pass=100'], {'HEAP_PROFILE_DEALLOCATION_INTERVAL': str(10 << 20)}),
            ('i', ['big=95', 'pass=500'], {'HEAP_PROFILE_INUSE_INTERVAL': str(9 << 20)})):
        ours = Ran(w, 'ours' + name, LIBRARY, commands, **{'HEAPPROFILE': 'p', **off, **env})
        theirs = Ran(w, 'theirs' + name, tcmalloc(), commands, **{'HEAPPROFILE': 'p', **off, **env})
        check_between(len(theirs.names), 10, 12, "%s: tcmalloc's files" % name)
        check_between(len(ours.names) - len(theirs.names), -1, 1, '%s: files beyond' % name)
    # The defaults: every GiB allocated.
    ours = Ran(w, 'default', LIBRARY, ['pass=3100'], HEAPPROFILE='p')
    check_equal(ours.names, ['p.000%d.heap' % i for i in (1, 2, 3, 4)], 'files')
    check('MB allocated cumulatively, ' in ours.run.stderr, ours.run.stderr)
    # And every 100 MiB more in use.
    ours = Ran(w, 'high', LIBRARY, ['big=310'], HEAPPROFILE='p')
    check_equal(len(ours.names), 4, 'files')
    # Time goes on, but a program that does nothing has nothing to say.
    env = environment(LIBRARY, HEAPPROFILE=w.file('t'), HEAP_PROFILE_TIME_INTERVAL='1')
    process = w.start([need_target('dropin_service')], env=env)
    port = int(process.stdout.readline())

    def asked():
        ask(port, '/work')
        return os.path.exists(w.file('t.0002.heap'))
    wait_for(asked, 'two profiles, a second apart')
    ask(port, '/quit')


@case
def children_have_names_of_their_own(w):
    ran = Ran(w, 'fork', LIBRARY, ['alloc', 'fork', 'big=2', 'dump=x'], HEAPPROFILE='p')
    check_equal(ran.names, ['p.0001.heap', 'p_CHILD.0001.heap', 'p_CHILD.0002.heap'], 'files')
    check_equal(ran.values('p_CHILD.0001.heap')['inuse_objects'], {'keep_big': 2}, "the child's own blocks")
    check_equal(ran.values('p.0001.heap'), truths(ran.run.truth('parent')), "the parent's")
    for name, library in (('exec', LIBRARY), ('exec_tc', tcmalloc())):
        ran = Ran(w, name, library, ['alloc', 'dump=a', 'exec', 'big=2', 'dump=b'], HEAPPROFILE='p')
        check_equal(ran.names, ['p.0001.heap', 'p_CHILD.0001.heap', 'p_CHILD.0002.heap'], 'files')
        check_equal(ran.values('p_CHILD.0001.heap')['inuse_objects'], {'keep_big': 2}, 'after exec')


@case
def old_profiles_of_the_prefix_go(w):
    for name in ('p.0001.heap', 'p.0777.heap', 'p.x.heap', 'pp.0001.heap', 'p.0001.heap.gz'):
        with open(w.file(name), 'w') as f:
            f.write('old')
    for keep, left in (('0', 4), ('1', 3)):
        Ran(w, 'run' + keep, LIBRARY, [], HEAPPROFILE=w.file('p'), HEAP_PROFILE_CLEANUP=keep)
        old = [n for n in os.listdir(w.path) if os.path.isfile(w.file(n)) and first_line(w.file(n)) == 'old']
        check_equal(len(old), left, 'old files among %r' % old)
    check(os.path.exists(w.file('p.x.heap')) and not os.path.exists(w.file('p.0777.heap')), os.listdir(w.path))


@case
def tcmalloc_in_the_process_writes_nothing_of_its_own(w):
    ran = Ran(w, 'both', LIBRARY + ':' + tcmalloc(), ['alloc', 'dump=x', 'raise=12'], HEAPPROFILE='p', HEAPPROFILESIGNAL='12')
    check_equal(ran.names, ['p.0001.heap', 'p.0002.heap', 'p.0003.heap'], 'files')
    check_equal(ran.values('p.0003.heap'), truths(ran.run.truth()), 'values')


@case
def what_cannot_be_written_is_said(w):
    ran = Ran(w, 'none', LIBRARY, ['dump=x'], HEAPPROFILE='no/such/folder/p')
    check('Failed dumping heap profile to no/such/folder/p.0001.heap' in ran.run.stderr, ran.run.stderr)
    ran = Ran(w, 'quiet', LIBRARY, ['dump=x'], HEAPPROFILE='p', PERFTOOLS_VERBOSE='-1')
    check_equal((ran.run.stderr, ran.names), ('', ['p.0001.heap', 'p.0002.heap']), 'messages and files')
    # Standard descriptors that are closed are not what a profile is written to.
    ran = Ran(w, 'closed', LIBRARY, ['alloc', 'close=0', 'close=2', 'dump=x', '_exit'], HEAPPROFILE='p')
    check_equal(ran.values('p.0001.heap'), truths(ran.run.truth()), 'values')


@case
def mappings_when_asked_for(w):
    for name, env, found in (('none', {}, {'keep_big'}), ('too', {'HEAP_PROFILE_MMAP': 'true'}, {'keep_big', 'keep_mapped'}),
                             ('only', {'HEAP_PROFILE_ONLY_MMAP': '1'}, {'keep_mapped'})):
        ran = Ran(w, name, LIBRARY, ['big=1', 'map=3'], HEAPPROFILE='p', **env)
        wanted = {n: v for n, v in truths(ran.run.truth())['inuse_space'].items() if n in found}
        check_equal(read(w, ran.path('p.0001.heap'), 'google-pprof'), wanted, name)


@case
def tcmallocs_other_questions(w):
    """Without tcmalloc: what is known.  With it: what it says."""
    commands = ['big=20', 'property=generic.current_allocated_bytes', 'property=generic.heap_size', 'property=no.such',
                'release', 'stats=4000', 'stats=20']
    ours = Ran(w, 'ours', LIBRARY, commands, HEAPPROFILE='p').run.stdout
    numbers = [tuple(map(int, m)) for m in re.findall(r'^property (\d+) (\d+)', ours, re.M)]
    check_equal([n[0] for n in numbers], [1, 1, 0], 'answers %r' % ours)
    check_between(numbers[0][1], 20 << 20, (20 << 20) + 200000, 'allocated')
    check_between(numbers[1][1], 20 << 20, 30 << 20, 'heap size')
    check('Bytes in use by application' in ours, ours)
    real = Ran(w, 'theirs', tcmalloc(), commands).run.stdout
    both = Ran(w, 'both', LIBRARY + ':' + tcmalloc(), commands, HEAPPROFILE='q').run.stdout
    check('page heap freelist' in real and 'page heap freelist' in both, both)
    check_equal([n[0] for n in re.findall(r'^property (\d+) (\d+)', both, re.M)], ['1', '1', '0'], 'answers of tcmalloc')


@case
def tcmallocs_heap_sample(w):
    for name, env, word in (('exact', {}, '@ heapprofile'), ('sampled', {'TCMALLOC_SAMPLE_PARAMETER': '65536'}, '@ heap_v2/65536')):
        ran = Ran(w, name, LIBRARY, [], target='dropin_sample_cxx', SEEP_OPTIONS='dir=' + w.ledgers, **env)
        before, text = ran.run.stdout.split('\n', 1)
        check_equal((before, text.split('\n')[0][-len(word):]), ('before', word), 'first lines')
        with open(w.file(name + '.heap'), 'w') as f:
            f.write(text)
        found = read(w, w.file(name + '.heap'), 'google-pprof', target='dropin_sample_cxx')
        check_between(found['keep_big'], 9900000, 10100000, 'bytes')
        flat = w.bare([need_program('google-pprof'), '--text', '--show_bytes', need_target('dropin_sample_cxx'),
                       w.file(name + '.heap')], deadline=SLOW_DEADLINE).stdout.splitlines()[1].split()
        check_equal(flat[5], 'keep_big', 'where the stacks begin')


# ---- jemalloc ----------------------------------------------------------------------------------------------


@case
def malloc_conf_gives_what_jemalloc_gives(w):
    conf = 'prof:true,prof_accum:true,prof_final:true,lg_prof_sample:0,prof_prefix:p'
    commands = ['alloc', 'mdump', 'drop', 'mdump=named', 'prefix=q', 'mdump']
    ours = Ran(w, 'ours', LIBRARY, commands, MALLOC_CONF=conf)
    theirs = Ran(w, 'theirs', jemalloc(w), commands, MALLOC_CONF=conf)
    check_equal(ours.names, ['named', 'p.PID.0.m0.heap', 'q.PID.1.m1.heap', 'q.PID.2.f.heap'], 'files')
    check_equal(theirs.names, ours.names, "jemalloc's files")
    for name in ours.names:
        check_equal(ours.values(name, 'jeprof'), theirs.values(name, 'jeprof'), 'values in ' + name)
    check_equal(ours.values('q.PID.2.f.heap', 'jeprof'), truths(ours.run.truth()), 'values at the end')
    check_equal(first_line(ours.path('named')), 'heap_v2/1', 'first line')


@case
def sessions_begin_with_prof_reset(w):
    conf = 'prof:true,prof_accum:true,lg_prof_sample:0,prof_prefix:p'
    commands = ['alloc', 'reset', 'big=3', 'drop', 'mdump', 'active=0', 'big=2', 'active=1', 'tactive=0', 'big=4',
                'tactive=1', 'big=1', 'mdump']
    ours = Ran(w, 'ours', LIBRARY, commands, MALLOC_CONF=conf)
    theirs = Ran(w, 'theirs', jemalloc(w), commands, MALLOC_CONF=conf)
    for name, blocks in (('p.PID.0.m0.heap', 3), ('p.PID.1.m1.heap', 4)):
        values = ours.values(name, 'jeprof')
        check_equal(values['inuse_objects'], {'keep_big': blocks}, name)
        theirs_objects = theirs.values(name, 'jeprof')['inuse_objects']
        check_equal(theirs_objects, {'keep_big': blocks}, "jemalloc's " + name)


@case
def profiling_may_start_inactive(w):
    conf = 'prof:true,prof_active:false,lg_prof_sample:0,prof_prefix:p'
    ran = Ran(w, 'ours', LIBRARY, ['alloc', 'mdump', 'active=1', 'big=2', 'mdump'], MALLOC_CONF=conf)
    check_equal([ran.values(n, 'jeprof')['inuse_objects'] for n in ran.names], [{}, {'keep_big': 2}], 'blocks')


@case
def mallctl_answers_as_jemallocs(w):
    conf = 'prof:true,lg_prof_sample:16,prof_leak:true,prof_prefix:p'
    os.mkdir(w.file('a'))
    os.mkdir(w.file('b'))
    ours = Ran(w, 'ours', LIBRARY, [w.file('a')], target='dropin_mallctl', MALLOC_CONF=conf)
    theirs = Ran(w, 'theirs', jemalloc(w), [w.file('b')], target='dropin_mallctl', MALLOC_CONF=conf)
    check(len(ours.run.stdout.splitlines()) > 90, ours.run.stdout)
    for mine, real in zip(ours.run.stdout.splitlines(), theirs.run.stdout.splitlines()):
        check_equal(mine, real, "mine and jemalloc's")
    check_equal(ours.run.stdout, theirs.run.stdout, 'answers')
    check_equal((ours.names, os.listdir(w.file('a'))), (theirs.names, os.listdir(w.file('b'))), 'files')


@case
def a_jemalloc_that_profiles_is_left_to_it(w):
    conf = 'prof:true,prof_accum:true,prof_final:true,lg_prof_sample:0,prof_prefix:p'
    ran = Ran(w, 'both', LIBRARY + ':' + jemalloc(w), ['alloc', 'mdump', 'drop'], MALLOC_CONF=conf)
    check_equal(ran.names, ['p.PID.0.m0.heap', 'p.PID.1.f.heap'], 'files')
    check_equal(ran.values('p.PID.1.f.heap', 'jeprof'), truths(ran.run.truth()), 'values')
    theirs = Ran(w, 'a', jemalloc(w), [w.path], target='dropin_mallctl', MALLOC_CONF=conf)
    both = Ran(w, 'b', LIBRARY + ':' + jemalloc(w), [w.path], target='dropin_mallctl', MALLOC_CONF=conf)
    check_equal(both.run.stdout, theirs.run.stdout, 'answers')


@case
def in_front_of_a_jemalloc_that_does_not_profile(w):
    ran = Ran(w, 'ours', LIBRARY + ':' + jemalloc(w), ['alloc', 'mdump', 'prefix=q', 'drop', 'mdump'],
              SEEP_OPTIONS='dir=' + w.ledgers)
    check_equal(ran.names, ['jeprof.PID.0.m0.heap', 'q.PID.1.m1.heap'], 'files')
    check_equal(ran.values('q.PID.1.m1.heap', 'jeprof')['inuse_space'], truths(ran.run.truth())['inuse_space'], 'values')


@case
def intervals_and_highs_write_profiles(w):
    ran = Ran(w, 'i', LIBRARY, ['pass=100'], MALLOC_CONF='prof:true,lg_prof_sample:0,lg_prof_interval:23,prof_prefix:p')
    check_equal(ran.names, sorted('p.PID.%d.i%d.heap' % (i, i) for i in range(12)), 'files')
    ran = Ran(w, 'u', LIBRARY, ['big=10', 'pass=20'], MALLOC_CONF='prof:true,lg_prof_sample:0,prof_gdump:true,prof_prefix:p')
    check_equal(ran.names, sorted('p.PID.%d.u%d.heap' % (i, i) for i in range(5)), 'files')


@case
def leaks_are_summed_up_in_jemallocs_words(w):
    conf = 'prof:true,prof_final:true,lg_prof_sample:0,prof_prefix:p,'
    ran = Ran(w, 'leak', LIBRARY, ['big=3'], MALLOC_CONF=conf + 'prof_leak:true')
    found = re.search(r'^<jemalloc>: Leak approximation summary: ~(\d+) bytes, ~(\d+) objects?, >= (\d+) contexts?\n'
                      r'<jemalloc>: Run jeprof on dump output for leak detail$', ran.run.stderr, re.M)
    check(found, ran.run.stderr)
    check_between(int(found.group(1)), 3 << 20, (3 << 20) + 100000, 'bytes')
    ran = Ran(w, 'error', LIBRARY, ['big=3'], status=1, MALLOC_CONF=conf + 'prof_leak_error:true')
    check('<jemalloc>: Exiting with error code because memory leaks were detected' in ran.run.stderr, ran.run.stderr)


# ---- sampled ----------------------------------------------------------------------------------------------


@case
def sampled_files_say_what_the_report_says(w):
    for name, tool, path, env in (
            ('tc', 'google-pprof', 'p.0001.heap', {'HEAPPROFILE': 'p', 'TCMALLOC_SAMPLE_PARAMETER': '65536'}),
            ('je', 'jeprof', 'p.PID.0.f.heap',
             {'MALLOC_CONF': 'prof:true,prof_final:true,lg_prof_sample:16,prof_prefix:p'})):
        ledgers = w.file('ledgers_' + name)
        ran = Ran(w, name, LIBRARY, ['alloc', 'alloc', 'drop'], SEEP_OPTIONS='dir=' + ledgers, **env)
        check(first_line(ran.path(path)).endswith('heap_v2/65536'), first_line(ran.path(path)))
        report = w.report(glob.glob(ledgers + '/*.ledger')[0])
        check_equal((report.sampled, report.period), (True, 65536), 'mode')
        values = read(w, ran.path(path), tool)
        for function in ('keep_small', 'keep_large', 'churn'):
            mine = report.values(function).inuse_bytes
            if mine:
                check_between(values[function], mine * 0.99, mine * 1.01, function)
        check_between(values['keep_large'], 40 * 81920 * 2 * 0.7, 40 * 81920 * 2 * 1.3, 'estimate')


@case
def what_seep_was_asked_for_counts_more(w):
    need_target(COMMANDS)
    env = environment('', HEAPPROFILE=w.file('p'), TCMALLOC_SAMPLE_PARAMETER='65536')
    del env['LD_PRELOAD']
    run = w.seep('run', '--ledger-dir=' + w.ledgers, '--', need_target(COMMANDS), 'alloc', env=env)
    check_equal(run.status, 0, run.describe())
    check(first_line(w.file('p.0001.heap')).endswith('@ heapprofile'), first_line(w.file('p.0001.heap')))


# ---- the ledger ---------------------------------------------------------------------------------------------


@case
def no_ledger_is_left_when_nobody_asked_for_one(w):
    before = shared_memory()
    for env in ({'HEAPPROFILE': 'p'}, {'MALLOC_CONF': 'prof:true'}, {'TCMALLOC_SAMPLE_PARAMETER': '524288'}):
        for commands in (['alloc', 'hold'], ['alloc', 'hold', '_exit'], ['alloc', 'exec', 'hold'],
                         ['alloc', 'fork', 'alloc', 'hold']):
            process = w.start([need_target(COMMANDS), *commands], env=environment(LIBRARY, **env), stdin=-1, cwd=w.path)
            wait_for(lambda p=process: 'held' in p.stdout.readline(), 'the program to hold')
            pids = {p.split('.')[0] for p in shared_memory() - before}
            check(str(process.pid) in pids or 'exec' in commands, 'ledgers', pids)
            if 'fork' not in commands:
                report = w.report(process.pid)
                check(report.live, 'seep report of the running program')
                check(str(process.pid) in w.seep('ps').stdout, 'seep ps')
            run = w.finish(process, stdin='')
            check_equal(run.status, 0, run.describe())
            check_equal(shared_memory() - before, set(), 'ledgers left by %r %r' % (env, commands))


# ---- a service and its runbook ------------------------------------------------------------------------------


def ask(port, path):
    try:
        with urllib.request.urlopen('http://127.0.0.1:%d%s' % (port, path), timeout=30) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def runbook(w, library, folder, **env):
    """What the operators do, and the values of `remember` they see; the service was never told of seep."""
    os.mkdir(w.file(folder))
    process = w.start([need_target('dropin_service')], env=environment(library, **env), cwd=w.file(folder))
    port = int(process.stdout.readline())
    for _ in range(10):
        check_equal(ask(port, '/work'), (200, 'worked\n'), 'work')
    check_equal(ask(port, '/dump'), (200, 'dumped\n'), 'dump')
    for _ in range(10):
        ask(port, '/work')
    before = set(os.listdir(w.file(folder)))
    process.send_signal(signal.SIGUSR2)
    wait_for(lambda: set(os.listdir(w.file(folder))) - before, 'a file after the signal')
    ask(port, '/work')
    text = ask(port, '/pprof/heap')
    ask(port, '/quit')
    w.finish(process)
    return process.pid, sorted(os.listdir(w.file(folder))), text


def remembered(w, tool, *path):
    return read(w, w.file(os.path.join(*path)), tool, 'inuse_objects', 'dropin_service', ('remember',))


@case
def a_runbook_for_gperftools_works_without_it(w):
    for folder, library in (('ours', LIBRARY), ('theirs', tcmalloc())):
        _, names, (status, text) = runbook(w, library, folder, HEAPPROFILE='svc')
        check_equal(names, ['svc.000%d.heap' % i for i in (1, 2, 3)], 'files')
        check_equal([remembered(w, 'google-pprof', folder, n) for n in names],
                    [{'remember': n} for n in (10000, 20000, 21000)], 'blocks')
        check_equal(status, 200, 'status of /pprof/heap')
        with open(w.file('text'), 'w') as f:
            f.write(text)
        check_equal(remembered(w, 'google-pprof', 'text'), {'remember': 21000}, 'what /pprof/heap says')


@case
def a_runbook_for_jemalloc_works_without_it(w):
    conf = 'prof:true,prof_final:true,lg_prof_sample:0,prof_prefix:svc'
    for folder, library in (('ours', LIBRARY), ('theirs', jemalloc(w))):
        pid, names, _ = runbook(w, library, folder, MALLOC_CONF=conf)
        check_equal(names, ['svc.%d.%s.heap' % (pid, n) for n in ('0.m0', '1.m1', '2.f')], 'files')
        check_equal([remembered(w, 'jeprof', folder, n) for n in names],
                    [{'remember': n} for n in (10000, 20000, 21000)], 'blocks')


@case
def the_service_without_variables_can_be_dumped_under_seep_run(w):
    """No profiler was configured, but mallctl is there."""
    env = environment('')
    del env['LD_PRELOAD']
    process = w.start([os.environ['SEEP'], 'run', '--ledger-dir=' + w.ledgers, '--', need_target('dropin_service')],
                      env=env, cwd=w.path)
    port = int(process.stdout.readline())
    ask(port, '/work')
    check_equal(ask(port, '/dump'), (200, 'dumped\n'), 'dump')
    ask(port, '/quit')
    w.finish(process)
    names = glob.glob(w.file('jeprof.*.heap'))
    check_equal(len(names), 1, 'files')
    check_equal(remembered(w, 'jeprof', names[0]), {'remember': 1000}, 'blocks')


@case
def redis_says_the_same_of_its_memory(w):
    """It asks its jemalloc by mallctl(); what is preloaded in front of that must not change the answers."""
    redis, cli = need_program('redis-server'), need_program('redis-cli')
    fields = ('mem_allocator', 'allocator_frag_ratio', 'allocator_rss_ratio')

    def answers(library, folder):
        path = w.file(folder)
        os.mkdir(path)
        process = w.start([redis, '--port', '0', '--unixsocket', path + '/s', '--save', '', '--dir', path,
                           '--appendonly', 'no', '--daemonize', 'no'], env=environment(library, SEEP_OPTIONS='dir=' + w.ledgers))
        wait_for(lambda: os.path.exists(path + '/s'), 'redis to listen')

        def say(*words):
            run = w.bare([cli, '-s', path + '/s', *words])
            check_equal(run.status, 0, run.describe())
            return run.stdout
        say('debug', 'populate', '20000', 'key', '100')
        info = dict(line.split(':', 1) for line in say('info', 'memory').splitlines() if ':' in line)
        stats, malloc_stats = say('memory', 'stats'), say('memory', 'malloc-stats')
        purge = say('memory', 'purge')
        say('shutdown', 'nosave')
        check_equal(w.finish(process).status, 0, 'status of redis')
        return info, stats, malloc_stats, purge

    bare, tracked = answers('', 'bare'), answers(LIBRARY, 'tracked')
    check_equal(sorted(tracked[0]), sorted(bare[0]), 'fields of INFO memory')
    check_equal(tracked[0]['mem_allocator'], bare[0]['mem_allocator'], 'allocator')
    check(tracked[0]['mem_allocator'].startswith('jemalloc') or 'libc' in tracked[0]['mem_allocator'], tracked[0])
    for field in ('allocator_allocated', 'allocator_active', 'allocator_resident', 'used_memory'):
        mine, real = int(tracked[0][field]), int(bare[0][field])
        check_between(mine, real * 0.8, real * 1.25, field)
    for field in fields[1:]:
        check_between(float(tracked[0][field]), float(bare[0][field]) * 0.7, float(bare[0][field]) * 1.4, field)
    words = [[line for line in answer[1].splitlines() if re.match(r'^[a-z]', line)] for answer in (tracked, bare)]
    check_equal(words[0], words[1], 'MEMORY STATS')
    check_between(len(tracked[2]), len(bare[2]) * 0.8, len(bare[2]) * 1.2, 'length of MEMORY MALLOC-STATS')
    check_equal(tracked[3], bare[3], 'MEMORY PURGE')


# ---- at bad moments -------------------------------------------------------------------------------------------


def whole(path):
    """The profile is complete: its header's total is that of its lines, and the mappings end with a line."""
    with open(path, 'rb') as f:
        text = f.read()
    head, _, maps = text.partition(b'\nMAPPED_LIBRARIES:\n')
    check(maps.endswith(b'\n') and b'[stack]' in maps, 'mappings of', path, maps[-200:])
    numbers = [tuple(map(int, m)) for m in re.findall(rb'(\d+): +(\d+) \[ *(\d+): +(\d+)\]', head)]
    check(numbers, 'no values in', path)
    for column in range(4):
        check_equal(numbers[0][column], sum(n[column] for n in numbers[1:]), 'total of column %d in %s' % (column, path))


@case
def profiles_from_everywhere_at_once(w):
    seconds = 60 if SOAK else 3
    before = shared_memory()
    process = w.start([need_target('dropin_storm'), str(seconds)], cwd=w.path, env=environment(
        LIBRARY, HEAPPROFILE='s', MALLOC_CONF='prof:true,lg_prof_sample:0,prof_prefix:j', PERFTOOLS_VERBOSE='-1',
        SEEP_OPTIONS='dir=%s,mode=full' % w.ledgers))
    run = w.finish(process, deadline=seconds + 120)
    check_equal(run.status, 0, run.describe())
    names = [n for n in os.listdir(w.path) if n.startswith(('s.', 's_', 'j.'))]
    check([n for n in names if n.startswith('s_')], 'no profile of a child')
    check(len(names) > 20, 'only', len(names), 'profiles')
    check_equal([n for n in names if not n.endswith('.heap')], [], 'files that are no profiles')
    for name in names[::max(1, len(names) // 200)]:
        whole(w.file(name))
    last = sorted(n for n in names if re.match(r's\.\d+\.heap', n))[-1]
    check_equal(read(w, w.file(last), 'google-pprof', 'inuse_objects', 'dropin_storm', ('stay',)), {'stay': 500}, last)
    report = w.report(w.ledger(process.pid))
    check_equal(report.values('stay').inuse, 500, 'blocks in the report')
    check_equal(shared_memory() - before, set(), 'ledgers')
    print('# %d profiles; %s' % (len(names), run.stdout.splitlines()[0]))


@case
def killed_while_it_writes_it_leaves_no_half_file(w):
    found = 0
    for i in range(200 if SOAK else 12):
        folder = w.file('k%d' % i)
        os.mkdir(folder)
        process = w.start([need_target('dropin_storm'), '30', 's'], cwd=folder, env=environment(
            LIBRARY, PERFTOOLS_VERBOSE='-1', SEEP_OPTIONS='dir=' + w.ledgers, MALLOC_CONF='prof:true,lg_prof_sample:0,prof_prefix:j'))
        wait_for(lambda n=i, f=folder: len(os.listdir(f)) > 2 + n % 7, 'profiles')
        process.kill()
        process.wait()
        for name in os.listdir(folder):
            check(name.endswith('.heap'), 'a file that is no profile:', name)
            whole(os.path.join(folder, name))
            found += 1
    check(found > 30, 'profiles', found)


@case
def where_files_have_no_nameless_form(w):
    """A name that is taken is replaced as a whole; what is no file is written to."""
    with open(w.file('named'), 'w') as f:
        f.write('x' * 1000000)
    conf = 'prof:true,lg_prof_sample:0'
    ran = Ran(w, 'a', LIBRARY, ['alloc', 'mdump=' + w.file('named'), 'mdump=/dev/stderr'], MALLOC_CONF=conf)
    whole(w.file('named'))
    check(ran.run.stderr.startswith('heap_v2/1\n'), ran.run.stderr[:100])
    os.symlink(w.file('elsewhere'), w.file('link'))
    Ran(w, 'b', LIBRARY, ['alloc', 'mdump=' + w.file('link')], MALLOC_CONF=conf)
    check(os.path.islink(w.file('link')), 'the link was replaced')
    whole(w.file('elsewhere'))
    os.mkfifo(w.file('fifo'))
    ran = Ran(w, 'c', LIBRARY, ['mdump=' + w.file('fifo')], status=98, MALLOC_CONF=conf)
    check('prof.dump' in ran.run.stderr, 'a pipe that nobody reads', ran.run.stderr)


@case
def without_proc(w):
    """No /proc to read the environment from, nor to link a nameless file by: the C library is asked, a file renamed."""
    need_root()
    ran = w.bare([need_program('unshare'), '-m', 'sh', '-c', 'mount --make-rprivate / && umount -l /proc && exec "$@"',
                  'sh', 'env', 'LD_PRELOAD=' + LIBRARY, 'HEAPPROFILE=' + w.file('p'), need_target(COMMANDS), 'alloc', 'dump=x'])
    if 'umount' in ran.stderr or 'unshare' in ran.stderr:
        raise Skip('cannot take /proc away: ' + ran.stderr)
    check_equal(ran.status, 0, ran.describe())
    names = sorted(n for n in os.listdir(w.path) if os.path.isfile(w.file(n)))
    check_equal([re.sub(r'_\d+', '', n) for n in names], ['p.0001.heap', 'p.0002.heap'], 'files')
    with open(w.file(names[0])) as f:
        text = f.read()
    check(re.search(r'^ +40: +3276800 \[', text, re.M) and text.endswith('MAPPED_LIBRARIES:\n'), text)


@case
def a_socket_is_not_needed(w):
    """Nothing of this opens connections or starts threads: what the program's own rules may forbid."""
    strace = need_program('strace')
    log = w.file('strace')
    env = environment('')
    del env['LD_PRELOAD']
    settings = [a for n, v in (('LD_PRELOAD', LIBRARY), ('HEAPPROFILE', w.file('p')), ('MALLOC_CONF', 'prof:true,prof_final:true'))
                for a in ('-E', '%s=%s' % (n, v))]
    run = w.bare([strace, '-f', '-o', log, *settings, need_target(COMMANDS), 'alloc', 'dump=x', 'mdump'], env=env, cwd=w.path)
    check_equal(run.status, 0, run.describe())
    with open(log) as f:
        calls = {re.sub(r'^\d+\s+', '', line).split('(')[0] for line in f}
    check_equal(calls & {'clone', 'clone3', 'fork', 'vfork', 'socket', 'connect', 'ptrace'}, set(), 'system calls')
    check('linkat' in calls, 'system calls', calls)


main()
