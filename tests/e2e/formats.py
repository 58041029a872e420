# SPDX-License-Identifier: Apache-2.0
"""Other tools' formats, with the tools themselves: they read what seep writes of a recorded program and print the
same numbers for each function, and seep reads what they write and has the same totals.

What a machine lacks of the tools skips its cases; scripts/setup installs those that are Debian packages.
"""
import fcntl
import glob
import json
import os
import pty
import re
import struct
import termios

from harness import (SEEP, SLOW_DEADLINE, Report, Skip, case, check, check_between, check_equal, main, need_program, need_target)

SITES = ('tiny', 'small', 'medium', 'large', 'huge')
SAMPLE = 'sample_sites'


def recorded(w, options=''):
    """The target's ledger, and what it said of itself."""
    run = w.preload(SAMPLE, options=options)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    return w.ledger(run.pid), run.truth()['sites']


def export(w, what, name, *options):
    path = w.file(name)
    run = w.seep('export', str(what), '-o', path, *options)
    check_equal(run.status, 0, 'status of seep export %s' % run.describe())
    return path


def seep_report(w, path, *options):
    """seep's view of a file: Report, with its warnings."""
    run = w.seep('report', '--json', '--top', '0', '--kind', 'all', '--no-debuginfod', *options, path)
    check_equal(run.status, 0, 'status of seep report %s' % run.describe())
    report = Report(json.loads(run.stdout))
    report.warnings = run.stderr
    return report


def library(name):
    for path in glob.glob('/usr/lib/*/' + name) + glob.glob('/usr/lib/' + name):
        return path
    raise Skip('%s is not installed' % name)


def top_lines(text):
    """Name → (flat, cumulative) of the tables that pprof and its ancestors print."""
    found = {}
    for line in text.splitlines():
        m = re.match(r'\s*([\d.]+)[kMGB]*\s+[\d.]+%\s+[\d.]+%\s+([\d.]+)[kMGB]*\s+[\d.]+%\s+(\S+)', line)
        if m:
            found[m.group(3)] = (float(m.group(1)), float(m.group(2)))
    return found


def perl_pprof(w, tool, index, path):
    run = w.bare([tool, '--text', '--show_bytes', '--' + index, need_target(SAMPLE), path],
                 deadline=SLOW_DEADLINE)
    check_equal(run.status, 0, 'status of %s %s' % (tool, run.describe()))
    return top_lines(run.stdout)


def go_pprof(w, index, *paths):
    go = need_program('go')
    env = dict(os.environ, HOME=w.path, PPROF_TMPDIR=w.path, GOCACHE=w.file('go'), GOFLAGS='-mod=mod')
    run = w.bare([go, 'tool', 'pprof', '-top', '-unit=B', '-nodecount=500', '-nodefraction=0', '-edgefraction=0',
                  '-sample_index=' + index, *paths], env=env, deadline=SLOW_DEADLINE)
    check_equal(run.status, 0, 'status of go tool pprof %s' % run.describe())
    return top_lines(run.stdout)


def truths(sites):
    """What each function has by pprof's names of values."""
    return {
        'inuse_space': {n: s['alloc_bytes'] - s['free_bytes'] for n, s in sites.items()},
        'inuse_objects': {n: s['allocs'] - s['frees'] for n, s in sites.items()},
        'alloc_space': {n: s['alloc_bytes'] for n, s in sites.items()},
        'alloc_objects': {n: s['allocs'] for n, s in sites.items()},
    }


def check_exact(lines, wanted, what):
    for name in SITES:
        check(name in lines, what, 'does not name', name, sorted(lines))
        check_equal(lines[name][0], wanted[name], '%s: %s' % (what, name))


# ---- they read what seep writes ---------------------------------------------------------------------


@case
def jeprof_reads_exact(w):
    tool = need_program('jeprof')
    ledger, sites = recorded(w)
    path = export(w, ledger, 'exact.jeheap')
    for index, wanted in truths(sites).items():
        check_exact(perl_pprof(w, tool, index, path), wanted, 'jeprof --' + index)


@case
def google_pprof_reads_exact(w):
    tool = need_program('google-pprof')
    ledger, sites = recorded(w)
    path = export(w, ledger, 'exact.heap')
    for index, wanted in truths(sites).items():
        check_exact(perl_pprof(w, tool, index, path), wanted, 'google-pprof --' + index)


@case
def go_pprof_reads_exact(w):
    need_program('go')
    ledger, sites = recorded(w)
    proto, text = export(w, ledger, 'exact.pb.gz'), export(w, ledger, 'exact.heap')
    for index, wanted in truths(sites).items():
        check_exact(go_pprof(w, index, proto), wanted, 'go tool pprof (protobuf) ' + index)
        check_exact(go_pprof(w, index, need_target(SAMPLE), text), wanted, 'go tool pprof (text) ' + index)


def check_sampled(lines, report, what):
    """The tool's estimate of every function is seep's, to within the rounding of samples to integers."""
    for name in SITES:
        mine = report.values(name).inuse_bytes
        check(name in lines, what, 'does not name', name, sorted(lines))
        check_between(lines[name][0], mine * 0.995, mine * 1.005, '%s: %s' % (what, name))


@case
def all_read_sampled(w):
    ledger, sites = recorded(w, 'sample=64K')
    report = seep_report(w, ledger)
    total = sum(s['alloc_bytes'] - s['free_bytes'] for s in sites.values())
    check_between(report.totals().inuse_bytes, total * 0.8, total * 1.2, 'what seep estimates')
    checked = 0
    for tool, name in (('jeprof', 's.jeheap'), ('google-pprof', 's.heap'), ('go', 's.pb.gz'), ('go', 's.heap')):
        try:
            tool = need_program(tool)
        except Skip:
            continue
        path = export(w, ledger, name)
        if tool.endswith('go'):
            lines = go_pprof(w, 'inuse_space', *([need_target(SAMPLE)] if name == 's.heap' else []), path)
        else:
            lines = perl_pprof(w, tool, 'inuse_space', path)
        check_sampled(lines, report, '%s of %s' % (tool, name))
        checked += 1
    if not checked:
        raise Skip('neither jeprof nor google-pprof nor go is installed')


@case
def ms_print_reads(w):
    tool = need_program('ms_print')
    ledger, sites = recorded(w)
    path = export(w, ledger, 'out.massif')
    run = w.bare([tool, '--threshold=0', path])
    check_equal(run.status, 0, 'status of ms_print %s' % run.describe())
    last = run.stdout.rsplit('(heap allocation functions)', 1)[1]
    for name, bytes_ in truths(sites)['inuse_space'].items():
        found = re.findall(r'\(([\d,]+)B\) 0x[0-9a-f]+: %s \(' % name, last)
        check_equal([int(f.replace(',', '')) for f in found], [bytes_], 'ms_print: %s' % name)
    peak = re.search(r'\d+ \(peak\)', run.stdout)
    check(peak, 'ms_print knows no peak', run.stdout[:3000])


@case
def speedscope_reads(w):
    """What its importer demands; viewers.py asks the importer itself."""
    ledger, sites = recorded(w)
    path = export(w, ledger, 'out.speedscope.json')
    with open(path) as f:
        data = json.load(f)
    profile, frames = data['profiles'][0], data['shared']['frames']
    check_equal((profile['type'], profile['unit']), ('sampled', 'bytes'), 'type and unit')
    check_equal(len(profile['samples']), len(profile['weights']), 'samples and weights')
    check_equal(sum(profile['weights']), profile['endValue'], 'sum of weights')
    leaf = {}
    for stack, weight in zip(profile['samples'], profile['weights']):
        for i in stack:
            check(0 <= i < len(frames), 'frame', i, 'of', len(frames))
        if stack:
            name = frames[stack[-1]]['name']
            leaf[name] = leaf.get(name, 0) + weight
    for name, bytes_ in truths(sites)['inuse_space'].items():
        check_equal(leaf.get(name), bytes_, 'weight of %s' % name)


@case
def folded_stacks_are_the_truth(w):
    ledger, sites = recorded(w)
    for value, index in (('inuse', 'inuse_space'), ('alloc-blocks', 'alloc_objects')):
        run = w.seep('export', ledger, '--format=folded', '--value=' + value)
        check_equal(run.status, 0, 'status of seep export %s' % run.describe())
        leaf = {}
        for line in run.stdout.splitlines():
            stack, number = line.rsplit(' ', 1)
            name = stack.split(';')[-1]
            leaf[name] = leaf.get(name, 0) + int(number)
        for name, wanted in truths(sites)[index].items():
            check_equal(leaf.get(name), wanted, '%s of %s' % (value, name))


# ---- seep reads what they write -----------------------------------------------------------------------


@case
def seep_reads_jemalloc(w):
    tool = need_program('jeprof')
    preload = library('libjemalloc.so.2')
    for lg, factor in ((0, 0.0001), (16, 0.0001)):
        env = dict(os.environ, LD_PRELOAD=preload, MALLOC_CONF=(
            'prof:true,prof_final:true,prof_accum:true,lg_prof_sample:%d,prof_prefix:%s' % (lg, w.file('je%d' % lg))))
        run = w.bare([need_target(SAMPLE)], env=env)
        check_equal(run.status, 0, 'status of the target %s' % run.describe())
        dumps = glob.glob(w.file('je%d.*.heap' % lg))
        if not dumps:
            raise Skip('this jemalloc was built without profiling')
        lines = perl_pprof(w, tool, 'inuse_space', dumps[0])
        report = seep_report(w, dumps[0])
        check_equal(report.sampled, lg > 0, 'sampled')
        for name in SITES:
            mine = report.values(name).inuse_bytes
            check_between(mine, lines[name][1] * (1 - factor) - 1, lines[name][1] * (1 + factor) + 1,
                          '%s in use, by jeprof, period 2^%d' % (name, lg))
        allocs = perl_pprof(w, tool, 'alloc_objects', dumps[0])
        for name in SITES:
            mine = report.values(name).allocs
            check_between(mine, allocs[name][1] * (1 - factor) - 2, allocs[name][1] * (1 + factor) + 2,
                          '%s allocated, by jeprof, period 2^%d' % (name, lg))


@case
def seep_reads_gperftools(w):
    tool = need_program('google-pprof')
    env = dict(os.environ, LD_PRELOAD=library('libtcmalloc.so.4'), HEAPPROFILE=w.file('gp'))
    run = w.bare([need_target(SAMPLE)], env=env)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    dumps = sorted(glob.glob(w.file('gp.*.heap')))
    check(dumps, 'gperftools wrote nothing', run.describe())
    lines, report = perl_pprof(w, tool, 'inuse_space', dumps[-1]), seep_report(w, dumps[-1])
    allocs = perl_pprof(w, tool, 'alloc_objects', dumps[-1])
    check(not report.sampled, 'the profile is exact')
    for name in SITES:
        values = report.values(name)
        check_equal(values.inuse_bytes, lines[name][1], '%s in use, by google-pprof' % name)
        check_equal(values.allocs, allocs[name][1], '%s allocated, by google-pprof' % name)


@case
def seep_reads_massif(w):
    valgrind, tool = need_program('valgrind'), need_program('ms_print')
    path = w.file('massif.out')
    run = w.bare([valgrind, '--tool=massif', '--detailed-freq=1', '--threshold=0', '--massif-out-file=' + path,
                  need_target('leak_simple')])
    check_equal(run.status, 0, 'status of massif %s' % run.describe())
    printed = w.bare([tool, '--threshold=0', path]).stdout
    rows = re.findall(r'^ *\d+ +[\d,]+ +[\d,]+ +([\d,]+) +[\d,]+ +[\d,]+$', printed, re.M)
    report = seep_report(w, path)
    check_equal(report.data['totals']['peak']['bytes'], max(int(r.replace(',', '')) for r in rows), 'peak by ms_print')
    last = printed.rsplit('(heap allocation functions)', 1)[1]
    for name in ('leak_here', 'leak_caller'):
        found = re.search(r'\(([\d,]+)B\) 0x[0-9A-F]+: %s \(' % name, last)
        check_equal(report.values(name).inuse_bytes, int(found.group(1).replace(',', '')), 'last tree: %s' % name)
        check_between(report.values(name).inuse_bytes, 90000, 100000, 'bytes under ' + name)


def leftover(text, pattern):
    m = re.search(pattern, text)
    check(m, 'no', pattern, 'in', text[-2000:])
    return int(m.group(1).replace(',', '')), int(m.group(2).replace(',', ''))


@case
def seep_reads_memcheck(w):
    valgrind = need_program('valgrind')
    log, xml = w.file('memcheck.log'), w.file('memcheck.xml')
    full = ['--leak-check=full', '--show-leak-kinds=all']
    for more in (['--log-file=' + log], ['--xml=yes', '--xml-file=' + xml]):
        run = w.bare([valgrind, *full, *more, need_target('leak_simple')])
        check_equal(run.status, 0, 'status of memcheck %s' % run.describe())
    with open(log) as f:
        text = f.read()
    bytes_, blocks = leftover(text, r'in use at exit: ([\d,]+) bytes in ([\d,]+) blocks')
    lost_bytes, lost_blocks = leftover(text, r'definitely lost: ([\d,]+) bytes in ([\d,]+) blocks')
    for path in (log, xml):
        report = seep_report(w, path)
        totals = report.totals()
        check_equal((totals.inuse_bytes, totals.inuse), (bytes_, blocks), 'in use at exit, from ' + path)
        lost = seep_report(w, path, '--focus=definitely lost').totals()
        check_equal((lost.inuse_bytes, lost.inuse), (lost_bytes, lost_blocks), 'definitely lost, from ' + path)
        here = report.values('leak_here')
        check_equal((here.inuse_bytes, here.inuse), (100000, 100), 'under leak_here, from ' + path)


@case
def seep_reads_heaptrack(w):
    heaptrack, tool = need_program('heaptrack'), need_program('heaptrack_print')
    for mode in ([], ['--raw']):
        prefix = w.file('ht' + ''.join(mode))
        run = w.bare([heaptrack, *mode, '-o', prefix, need_target(SAMPLE)], cwd=w.path)
        files = glob.glob(prefix + '*.zst') + glob.glob(prefix + '*.gz')
        check(files, 'heaptrack wrote nothing', run.describe())
        report = seep_report(w, files[0])
        for name in SITES:
            truth = run.truth()['sites'][name]
            values = report.values(name)
            check_equal((values.allocs, values.alloc_bytes, values.frees, values.free_bytes),
                        (truth['allocs'], truth['alloc_bytes'], truth['frees'], truth['free_bytes']),
                        '%s, from heaptrack %s' % (name, mode))
        if mode:
            continue
        printed = w.bare([tool, '--disable-builtin-suppressions', '-f', files[0]])
        if printed.status:
            printed = w.bare([tool, '-f', files[0]])
        calls = int(re.search(r'calls to allocation functions: (\d+)', printed.stdout).group(1))
        check_equal(report.data['totals']['allocated']['blocks'], calls, 'calls to allocation functions, by heaptrack_print')
        leaked = re.search(r'total memory leaked: ([\d.]+)([KMG]?)B?', printed.stdout)
        scale = {'': 1, 'K': 1e3, 'M': 1e6, 'G': 1e9}[leaked.group(2)]
        check_between(report.data['totals']['in_use']['bytes'], (float(leaked.group(1)) - 0.01) * scale,
                      (float(leaked.group(1)) + 0.01) * scale, 'total memory leaked, by heaptrack_print')


@case
def seep_reads_leaksanitizer(w):
    gcc = need_program('gcc', 'clang')
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'targets', 'leak_simple.c')
    program = w.file('leak')
    made = w.bare([gcc, '-g', '-O1', '-fsanitize=leak', '-o', program, source])
    if made.status:
        raise Skip('%s cannot link with -fsanitize=leak' % gcc)
    run = w.bare([program])
    if 'detected memory leaks' not in run.stderr:
        raise Skip('LeakSanitizer does not work here: ' + run.stderr[-200:])
    path = w.file('lsan.txt')
    with open(path, 'w') as f:
        f.write(run.stderr)
    bytes_, blocks = leftover(run.stderr, r'SUMMARY: \w+Sanitizer: (\d+) byte\(s\) leaked in (\d+) allocation')
    totals = seep_report(w, path).totals()
    check_equal((totals.inuse_bytes, totals.inuse), (bytes_, blocks), 'the summary')
    here = seep_report(w, path).values('leak_here')
    check_equal(here.inuse_bytes, 100000, 'bytes under leak_here')


# ---- through several hands ------------------------------------------------------------------------------


@case
def formats_agree(w):
    """ledger → A → B: the numbers of every function stay."""
    ledger, sites = recorded(w)
    wanted = truths(sites)
    for first in ('a.pb.gz', 'a.heap', 'a.jeheap'):
        for second in ('b.pb.gz', 'b.heap', 'b.jeheap'):
            path = export(w, export(w, ledger, first), second)
            report = seep_report(w, path)
            for name in SITES:
                values = report.values(name)
                check_equal((values.inuse_bytes, values.inuse, values.alloc_bytes, values.allocs),
                            tuple(wanted[i][name] for i in ('inuse_space', 'inuse_objects', 'alloc_space',
                                                            'alloc_objects')),
                            '%s through %s and %s' % (name, first, second))


@case
def long_reads_show_a_bar(w):
    """On a terminal only, in one row of it that is empty again at the end."""
    path = w.file('a-rather-long-name-of-a-large-file-' * 3 + '.folded')
    with open(path, 'w') as f:
        for i in range(40):
            f.writelines('main;%s_%d;leaf_%d 8\n' % ('function_with_a_long_name' * 8, i, k) for k in range(2000))
    check(os.path.getsize(path) > 16 << 20, 'size of the file', os.path.getsize(path))
    for columns in (80, 40):
        pid, terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('4H', 24, columns, 0, 0))
            os.execv(SEEP, [SEEP, 'export', '--format=folded', '-o', w.file('out.folded'), path])
        seen = b''
        while True:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:  # nobody has it open any more
                break
            if not chunk:
                break
            seen += chunk
        os.close(terminal)
        check_equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, 'status %r' % seen[-500:])
        rows = seen.decode().split('\r\033[K')
        percents = [int(m.group(1)) for m in (re.search(r' (\d+) % of \d+ MiB$', row) for row in rows) if m]
        check(len(percents) > 5 and percents == sorted(set(percents)), 'what the bar says', percents)
        check(percents[0] < 50 and percents[-1] >= 90, 'from where to where', percents)
        check(max(len(row) for row in rows) <= columns, 'wider than the terminal', rows[1])
        check_equal((rows[0], rows[-1].strip()), ('', ''), 'before and after')
        check(('━' in rows[-2]) == (columns > 70), 'a bar where there is room', rows[-2])
    run = w.seep('export', '--format=folded', '-o', w.file('out.folded'), path)
    check_equal((run.status, run.stderr), (0, ''), 'into a pipe')


@case
def what_is_wrong_is_said(w):
    ledger, _ = recorded(w)
    run = w.seep('export', ledger, '-o', w.file('x.txt'))
    check_equal(run.status, 2, 'status with an unknown suffix')
    check('--format' in run.stderr, run.describe())
    run = w.seep('export', ledger, '--format=lsan')
    check_equal(run.status, 2, 'status with a format that is only read')
    path = export(w, ledger, 'whole.jeheap')
    with open(path) as f:
        text = f.read()
    with open(w.file('cut.jeheap'), 'w') as f:
        f.write(text[:len(text) // 2])
    run = w.seep('export', w.file('cut.jeheap'), '-o', w.file('cut.folded'))
    check_equal(run.status, 0, 'status with a truncated input %s' % run.describe())
    check(re.search(r'line \d+', run.stderr), 'no warning says where it breaks off', run.describe())
    folded = export(w, ledger, 'names.folded')
    run = w.seep('export', folded, '-o', w.file('x.heap'))
    check_equal(run.status, 2, 'status when addresses are missing')
    check('only names' in run.stderr, run.describe())


if __name__ == '__main__':
    main()
