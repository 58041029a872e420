# SPDX-License-Identifier: Apache-2.0
"""`jeprof --dot --base=A B` and `google-pprof --dot --base=A B` draw the same graph of seep's files as of those that jemalloc
and gperftools write of themselves, for a program that leaks between two moments."""
import glob
import json
import math
import os
import re

from harness import (SLOW_DEADLINE, Skip, case, check, check_between, check_equal, main, need_program, need_target)

TARGET = 'leak_stages'
PERIOD = 65536
# What the target says of itself, as a graph: function → bytes of its own, and with all it called.
SESSIONS, UPLOADS, LOG, TRIMMED = 2000 * 20480, 1000 * 20480, 2000 * 60 * 96, 512 * 4096
GREW = SESSIONS + UPLOADS + LOG - TRIMMED
NODES = {
    'main': (0, GREW),
    'serve': (0, SESSIONS + UPLOADS + LOG),
    'handle_request': (0, SESSIONS + LOG),
    'handle_upload': (0, UPLOADS),
    'session_open': (0, SESSIONS + UPLOADS),
    'session_buffer': (SESSIONS + UPLOADS, SESSIONS + UPLOADS),
    'log_line': (LOG, LOG),
}
EDGES = {
    ('main', 'serve'): SESSIONS + UPLOADS + LOG,
    ('serve', 'handle_request'): SESSIONS + LOG,
    ('serve', 'handle_upload'): UPLOADS,
    ('handle_request', 'session_open'): SESSIONS,
    ('handle_request', 'log_line'): LOG,
    ('handle_upload', 'session_open'): UPLOADS,
    ('session_open', 'session_buffer'): SESSIONS + UPLOADS,
}


def library(name):
    for path in glob.glob('/usr/lib/*/' + name) + glob.glob('/usr/lib/' + name):
        return path
    raise Skip('%s is not installed' % name)


def stages(process, after):
    """Runs the target to its end; after(number) is called when each of its two stages is done."""
    for number in (1, 2):
        line = process.stdout.readline()
        check(line, 'the target said nothing and ended:', process.poll())
        check_equal(json.loads(line)['role'], 'stage%d' % number, 'what the target says')
        after(number)
        process.stdin.write('\n')
        process.stdin.flush()


def peer_profiles(w, preload, prefix='', **environment):
    """What an allocator's own profiler writes at the end of both stages."""
    process = w.start([need_target(TARGET), prefix or w.file('peer')],
                      env=dict(os.environ, LD_PRELOAD=library(preload), **environment), stdin=-1)
    stages(process, lambda number: None)
    run = w.finish(process)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    return run


def seep_profiles(w, suffix, options=''):
    """seep's snapshots of the same two moments, in the peer's format."""
    paths = []

    def snap(number):
        snapshot, path = w.file('s%d.seep' % number), w.file('seep.%d%s' % (number, suffix))
        for arguments in (['snap', '-o', snapshot, w.ledger(process.pid)], ['export', snapshot, '-o', path]):
            run = w.seep(*arguments)
            check_equal(run.status, 0, 'status of seep %s %s' % (arguments[0], run.describe()))
        paths.append(path)

    process = w.start([need_target(TARGET)], env=w.tracked_environment(options), stdin=-1)
    stages(process, snap)
    check_equal(w.finish(process).status, 0, 'status of the tracked target')
    return paths


def graph(w, tool, base, last):
    """Nodes and edges of at least 5 % of the growth, as the tool draws them."""
    run = w.bare([tool, '--dot', '--show_bytes', '--inuse_space', '--nodefraction=0.05', '--edgefraction=0.05',
                  '--base=' + base, need_target(TARGET), last], deadline=SLOW_DEADLINE)
    check_equal(run.status, 0, 'status of %s %s' % (tool, run.describe()))
    names, nodes = {}, {}
    for number, label in re.findall(r'^(N\d+) \[label="([^"]*)"', run.stdout, re.M):
        name, *values = re.split(r'\\[nrl]', label)
        sizes = [int(re.match(r'(?:of )?(-?\d+)', v).group(1)) for v in values if v]
        names[number] = name
        nodes[name] = (sizes[0], sizes[-1])
    edges = {(names[a], names[b]): int(size) for a, b, size in
             re.findall(r'^(N\d+) -> (N\d+) \[label=(-?\d+)', run.stdout, re.M)}
    check(nodes and edges, 'no graph in', run.describe())
    return nodes, edges


def close(found, wanted, allowed, what):
    check_between(found, wanted - allowed(wanted), wanted + allowed(wanted), what)


def check_graph(found, allowed, what):
    """It is the graph of NODES and EDGES, and there is nothing else in it but what calls main."""
    nodes, edges = found
    for name, (own, total) in NODES.items():
        check(name in nodes, what, 'has no', name, sorted(nodes))
        close(nodes[name][0], own, allowed, '%s: %s itself' % (what, name))
        close(nodes[name][1], total, allowed, '%s: %s with what it calls' % (what, name))
    for pair, size in EDGES.items():
        check(pair in edges, what, 'has no edge', pair, sorted(edges))
        close(edges[pair], size, allowed, '%s: %s → %s' % (what, *pair))
    for name in set(nodes) - set(NODES):
        check(name.startswith(('_start', '__libc_start', '_dl_')), what, 'has a node too many:', name, nodes[name])
    for pair in set(edges) - set(EDGES):
        check(pair[0] not in NODES or pair[1] in NODES, what, 'has an edge too many:', pair, edges[pair])


def check_same(mine, theirs, allowed):
    """Both pictures against each other: the same functions, the same arrows."""
    check_equal(sorted(mine[0]), sorted(theirs[0]), 'functions drawn')
    check_equal(sorted(mine[1]), sorted(theirs[1]), 'arrows drawn')
    for name in mine[0]:
        close(mine[0][name][1], theirs[0][name][1], allowed, 'both of ' + name)
    for pair in mine[1]:
        close(mine[1][pair], theirs[1][pair], allowed, 'both of %s → %s' % pair)


def exact(size):
    """What the C library itself allocates."""
    return 8192


def sampling_error(size):
    """Five standard errors of the sum of blocks that are smaller than the period."""
    return 5 * math.sqrt(max(size, PERIOD) * PERIOD)


def difference_of(error):
    return lambda size: error(size) * math.sqrt(2)


def jemalloc_case(w, lg, allowed, options):
    tool = need_program('jeprof')
    peer_profiles(w, 'libjemalloc.so.2', MALLOC_CONF='prof:true,lg_prof_sample:%d,prof_prefix:%s' % (lg, w.file('p')))
    theirs = [w.file('peer.%d.heap' % n) for n in (1, 2)]
    if not os.path.exists(theirs[0]):
        raise Skip('this jemalloc was built without profiling')
    theirs, mine = graph(w, tool, *theirs), graph(w, tool, *seep_profiles(w, '.jeheap', options))
    check_graph(theirs, allowed, "jemalloc's own")
    check_graph(mine, allowed, "seep's")
    check_same(mine, theirs, difference_of(allowed))


@case
def jeprof_draws_the_same(w):
    jemalloc_case(w, 0, exact, '')


@case
def jeprof_draws_the_same_of_samples(w):
    jemalloc_case(w, 16, sampling_error, 'sample=%d' % PERIOD)


@case
def google_pprof_draws_the_same(w):
    tool = need_program('google-pprof')
    run = peer_profiles(w, 'libtcmalloc.so.4', HEAPPROFILE=w.file('gp'))
    dumps = re.findall(r'Dumping heap profile to (\S+) \(stage\)', run.stderr)
    check_equal(len(dumps), 2, 'dumps of gperftools %s' % run.describe())
    theirs, mine = graph(w, tool, *dumps), graph(w, tool, *seep_profiles(w, '.heap'))
    check_graph(theirs, exact, "gperftools' own")
    check_graph(mine, exact, "seep's")
    check_same(mine, theirs, difference_of(exact))


@case
def seep_draws_the_same(w):
    """seep diff of jemalloc's own two files has the numbers of the graph, too."""
    peer_profiles(w, 'libjemalloc.so.2', MALLOC_CONF='prof:true,lg_prof_sample:0,prof_prefix:' + w.file('p'))
    theirs = [w.file('peer.%d.heap' % n) for n in (1, 2)]
    if not os.path.exists(theirs[0]):
        raise Skip('this jemalloc was built without profiling')
    run = w.seep('diff', '--json', '--by', 'function', '--no-debuginfod', *theirs)
    check_equal(run.status, 0, run.describe())
    functions = {f['name']: f for f in json.loads(run.stdout)['functions']}
    for name, (own, total) in NODES.items():
        close(functions[name]['self_growth'], own, exact, name + ' itself')
        close(functions[name]['growth'], total, exact, name + ' with what it calls')


if __name__ == '__main__':
    main()
