#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/run.py: what seep costs, beside every other heap profiler that is installed.

Each workload runs bare and under each variant, alternating (bare, a, b, c, bare, a, b, c, ...), so that a
machine that slows down slows all of them.  A ratio is the median, over the rounds, of a variant's time divided by
its base's time in the same round; the base is the bare program, or, for profilers that need an allocator of their
own, the program over that allocator.  Times are wall times of the program itself: writing reports later is not in
them.  Variants that are slow by design (valgrind, jemalloc recording everything) run a smaller workload, against
a bare run of that size, and less often.

Prints a table in Markdown; --json writes everything, with each single time.  docs/BENCH.md tells how to read it.
"""
import argparse
import glob
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = ('/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib',
             '/usr/local/lib')
PERIOD = 512 * 1024


def library(name):
    for folder in LIBRARIES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    found = sorted(glob.glob('/usr/lib/gcc/*/*/' + name))
    return found[-1] if found else None


def preload(*paths):
    return {'LD_PRELOAD': ' '.join(paths)}


class Variant:
    """A way to run a program: words before it, environment around it."""

    def __init__(self, name, prefix=(), env=None, base='bare', slow=False, what=''):
        self.name, self.prefix, self.env = name, list(prefix), env or {}
        self.base, self.slow, self.what = base, slow, what


def variants(build, work):
    """All that can run here, bases first."""
    out = os.path.join(work, 'out')
    seep = os.path.join(build, 'src/cli/seep')
    libseep = os.path.join(build, 'src/track/libseep.so')
    ledgers = os.path.join(work, 'ledgers')
    found = [Variant('bare', what='the program as it is')]
    if os.path.exists(libseep):
        found += [
            Variant('seep full', env=dict(preload(libseep), SEEP_OPTIONS='dir=' + ledgers),
                    what='every block, every stack'),
            Variant('seep sampled', env=dict(preload(libseep), SEEP_OPTIONS='dir=%s,sample=%d' % (
                ledgers, PERIOD)), what='a sample each 512 KiB'),
        ]
    if os.path.exists(seep):
        found += [Variant('seep run', prefix=[seep, 'run', '-o', out + '.seep', '--'],
                          what='full, with the summary and the snapshot at the end')]
    if shutil.which('heaptrack'):
        found += [
            Variant('heaptrack raw', prefix=['heaptrack', '--raw', '-o', out],
                    what='1.4, --raw: recording alone, no interpreter'),
            Variant('heaptrack', prefix=['heaptrack', '-o', out], what='1.4, as it comes'),
        ]
    jemalloc = library('libjemalloc.so.2')
    if jemalloc:
        found += [
            Variant('jemalloc', env=preload(jemalloc), what='base: the program over jemalloc'),
            Variant('jemalloc prof', base='jemalloc', what='a sample each 512 KiB',
                    env=dict(preload(jemalloc), MALLOC_CONF='prof:true,lg_prof_sample:19')),
            Variant('jemalloc prof full', base='jemalloc', slow=True, what='every allocation',
                    env=dict(preload(jemalloc), MALLOC_CONF='prof:true,lg_prof_sample:0')),
        ]
    tcmalloc = library('libtcmalloc.so.4')
    if tcmalloc:
        found += [
            Variant('tcmalloc', env=preload(tcmalloc), what='base: the program over gperftools tcmalloc'),
            Variant('gperftools sampled', base='tcmalloc', what='a sample each 512 KiB',
                    env=dict(preload(tcmalloc), TCMALLOC_SAMPLE_PARAMETER=str(PERIOD))),
            Variant('gperftools heap profile', base='tcmalloc', slow=True, what='HEAPPROFILE',
                    env=dict(preload(tcmalloc), HEAPPROFILE=out + '.hprof')),
        ]
    lsan = library('liblsan.so.0') or library('liblsan.so')
    if lsan:
        options = 'detect_leaks=0:exitcode=0:'
        found += [
            Variant('lsan', what='preloaded, fast unwinder (frame pointers only)',
                    env=dict(preload(lsan), LSAN_OPTIONS=options + 'fast_unwind_on_malloc=1')),
            Variant('lsan slow unwinder', slow=True, what='preloaded, complete stacks',
                    env=dict(preload(lsan), LSAN_OPTIONS=options + 'fast_unwind_on_malloc=0')),
        ]
    if shutil.which('valgrind'):
        quiet = ['valgrind', '-q', '--trace-children=no']
        found += [
            Variant('memcheck', quiet + ['--leak-check=no'], slow=True, what='valgrind'),
            Variant('massif', quiet + ['--tool=massif', '--massif-out-file=' + out + '.massif'], slow=True,
                    what='valgrind'),
            Variant('dhat', quiet + ['--tool=dhat', '--dhat-out-file=' + out + '.dhat'], slow=True,
                    what='valgrind'),
        ]
    return found


class Measured:
    """One run: seconds by row of the table, and what else there is to say."""

    def __init__(self, rows, rss=0, cpu=0.0, extra=None):
        self.rows, self.rss, self.cpu, self.extra = rows, rss, cpu, extra or {}


class Broken(Exception):
    """The program did not get through under this variant."""


def run_timed(variant, command, env=None, stdin=None):
    """Runs to the end; wall seconds, peak RSS and CPU seconds of the whole tree."""
    full = dict(os.environ, **(env or {}))
    # A base's preload and the variant's go together; MALLOC settings of the workload stay.
    full.update(variant.env)
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        source = open(stdin) if stdin else subprocess.DEVNULL
        start = time.perf_counter()
        process = subprocess.Popen(variant.prefix + command, env=full, stdin=source, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if stdin:
            source.close()
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise Broken('status %d: %s' % (process.returncode, err.read()[-300:].strip()))
        return seconds, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, out.read()


def json_line(text):
    for line in reversed(text.splitlines()):
        if line.startswith('{"workload"'):
            return json.loads(line)
    raise Broken('the workload printed no result')


class Workload:
    def __init__(self, name, what, run, rows=None):
        self.name, self.what, self.run, self.rows = name, what, run, rows or [name]


def workloads(build, work):
    python = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable
    bench = os.path.join(build, 'bench')
    found = []

    def plain(name, what, command, small, env=None, stdin=None, needs=None):
        if needs and not shutil.which(needs):
            return

        def run(variant, is_small):
            seconds, rss, cpu, _ = run_timed(variant, small if is_small else command, env, stdin)
            return Measured({name: seconds}, rss, cpu)
        found.append(Workload(name, what, run))

    plain('churn', '2 M malloc/free pairs, 256 stacks of 8-24 frames, 100,000 blocks live',
          [bench + '/churn'], [bench + '/churn', '200000', '20000'])
    script = os.path.join(HERE, 'workloads/json_loop.py')
    plain('python', 'CPython, JSON there and back, PYTHONMALLOC=malloc, 5 M allocations',
          [python, script], [python, script, '1'], env={'PYTHONMALLOC': 'malloc'})
    plain('sqlite', 'sqlite3, an in-memory database, 1 M allocations',
          ['sqlite3', ':memory:'], ['sqlite3', ':memory:'],
          stdin=os.path.join(HERE, 'workloads/queries.sql'), needs='sqlite3')
    source, output = os.path.join(HERE, 'workloads/templates.cc'), os.path.join(work, 'templates.o')
    compile_it = ['clang++', '-std=c++17', '-O1', '-c', source, '-o', output]
    plain('clang', 'clang++ -O1 of a file full of standard headers', compile_it,
          compile_it[:2] + ['-fsyntax-only', source], needs='clang++')

    def storm(variant, is_small):
        ops = '100000' if is_small else '1000000'
        seconds, rss, cpu, text = run_timed(variant, [bench + '/storm', '2', ops])
        rate = json_line(text)['ops_per_second']
        # Seconds for a million operations of each thread; scaling: 2.0 is perfect.
        return Measured({'storm, 1 thread': 1e6 / rate['1'], 'storm, 2 threads': 2e6 / rate['2']}, rss, cpu,
                        {'scaling': rate['2'] / rate['1']})
    found.append(Workload('storm', 'two threads, each with its own churn, 1 block in 16 freed by the other', storm,
                          ['storm, 1 thread', 'storm, 2 threads']))

    if shutil.which('redis-server') and shutil.which('redis-benchmark'):
        found.append(Workload('redis', 'redis-server under redis-benchmark, pipelined', redis_under(work)))

    def start(variant, is_small):
        times = []
        for _ in range(3 if is_small else 20):
            seconds, rss, cpu, _ = run_timed(variant, ['/bin/true'])
            times.append(seconds)
        return Measured({'start-up': statistics.median(times)}, rss, cpu)
    found.append(Workload('start', '/bin/true: loading, and nothing else', start, ['start-up']))
    return found


def redis_under(work):
    def free_port():
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            return s.getsockname()[1]

    def run(variant, is_small):
        port = str(free_port())
        env = dict(os.environ, **variant.env)
        if 'LD_PRELOAD' not in env or 'seep' in env['LD_PRELOAD']:
            env.pop('MALLOC_CONF', None)
        with open(os.path.join(work, 'redis.log'), 'w') as log:
            server = subprocess.Popen(
                variant.prefix + ['redis-server', '--port', port, '--bind', '127.0.0.1', '--save', '',
                                  '--appendonly', 'no', '--dir', work],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(('127.0.0.1', int(port)), timeout=1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > end:
                        raise Broken('redis-server does not answer') from None
                    time.sleep(0.02)
            requests = '20000' if is_small else '400000'
            start = time.perf_counter()
            load = subprocess.run(['redis-benchmark', '-h', '127.0.0.1', '-p', port, '-n', requests, '-c', '20',
                                   '-P', '16', '-r', '50000', '-d', '100', '-q', '-t', 'set,lpush,sadd,hset'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            seconds = time.perf_counter() - start
            if load.returncode:
                raise Broken(load.stderr.decode()[-300:])
            subprocess.run(['redis-cli', '-h', '127.0.0.1', '-p', port, 'shutdown', 'nosave'],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, _, usage = os.wait4(server.pid, 0)
            server.returncode = 0
            return Measured({'redis': seconds}, usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
        finally:
            if server.returncode is None:
                server.kill()
                server.wait()
    return run


# struct ledger_header: where section[] begins, and the three that are the live table.
SECTIONS_AT, LIVE_SECTIONS = 640, (10, 11, 12)


def ledger_bytes(path):
    """(storage of the whole ledger, storage of its live table)."""
    with open(path, 'rb') as f:
        header = f.read(SECTIONS_AT + 13 * 16)
        size = os.fstat(f.fileno()).st_size

        def stored(start, end):
            total, pos = 0, start
            while pos < end:
                try:
                    begin = os.lseek(f.fileno(), pos, os.SEEK_DATA)
                except OSError:
                    break
                pos = min(os.lseek(f.fileno(), begin, os.SEEK_HOLE), end)
                total += max(0, pos - begin)
            return total
        live = 0
        for section in LIVE_SECTIONS:
            offset, length = struct.unpack_from('<QQ', header, SECTIONS_AT + section * 16)
            live += stored(offset, min(offset + length, size))
        return stored(0, size), live


def clean(work):
    for folder in (os.path.join(work, 'ledgers'),):
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder, 0o700)
    for path in glob.glob(os.path.join(work, 'out*')):
        os.unlink(path)


def after(variant, workload, measured, work):
    """What is left to read from a ledger before it goes."""
    ledgers = glob.glob(os.path.join(work, 'ledgers', '*.ledger'))
    if variant.name == 'seep full' and workload.name == 'churn' and ledgers:
        whole, live = ledger_bytes(ledgers[0])
        measured.extra['ledger_bytes'] = whole
        measured.extra['live_table_bytes_per_block'] = live / 100000
    clean(work)


def measure(args, chosen_workloads, chosen_variants, work):
    results = {}
    for workload in chosen_workloads:
        for is_small, rounds in ((False, args.repeat), (True, args.slow_repeat)):
            if is_small:
                group = [v for v in chosen_variants if v.slow]
                bases = {v.base for v in group}
                group = [v for v in chosen_variants if v.name in bases] + group if group else []
            else:
                group = [v for v in chosen_variants if not v.slow]
            broken = set()
            for number in range(rounds):
                for variant in group:
                    if variant.name in broken:
                        continue
                    print('%s: %s%s, round %d of %d ... ' % (workload.name, variant.name,
                          ' (small)' if is_small else '', number + 1, rounds), end='', file=sys.stderr, flush=True)
                    clean(work)
                    key = (workload.name, variant.name, is_small)
                    try:
                        measured = workload.run(variant, is_small)
                    except Broken as e:
                        broken.add(variant.name)
                        results.setdefault(key, []).append(str(e))
                        print('broken: %s' % e, file=sys.stderr)
                        continue
                    after(variant, workload, measured, work)
                    results.setdefault(key, []).append(measured)
                    print(' '.join('%.3f' % s for s in measured.rows.values()), file=sys.stderr)
    return results


def summarize(results, chosen_workloads, chosen_variants):
    """Rows: (row name, variant) → median seconds, ratio, its spread, memory."""
    table = []
    for workload in chosen_workloads:
        for variant in chosen_variants:
            runs = results.get((workload.name, variant.name, variant.slow))
            if not runs:
                continue
            good = [r for r in runs if isinstance(r, Measured)]
            if not good:
                for row in workload.rows:
                    table.append({'workload': workload.name, 'row': row, 'variant': variant.name,
                                  'broken': runs[-1]})
                continue
            base = [r for r in results.get((workload.name, variant.base, variant.slow), [])
                    if isinstance(r, Measured)]
            for row in good[0].rows:
                pairs = list(zip(good, base))
                ratios = [g.rows[row] / b.rows[row] for g, b in pairs]
                table.append({
                    'workload': workload.name, 'row': row, 'variant': variant.name, 'base': variant.base,
                    'small': variant.slow, 'seconds': statistics.median(g.rows[row] for g in good),
                    'all_seconds': [g.rows[row] for g in good],
                    'ratio': statistics.median(ratios) if ratios else None,
                    'ratio_low': min(ratios) if ratios else None, 'ratio_high': max(ratios) if ratios else None,
                    'added_seconds': statistics.median(g.rows[row] - b.rows[row] for g, b in pairs) if pairs else None,
                    'rss_kib': statistics.median(g.rss for g in good),
                    'cpu_seconds': statistics.median(g.cpu for g in good),
                    'cpu_ratio': statistics.median(g.cpu / b.cpu for g, b in pairs if b.cpu) if pairs else None,
                    **{k: statistics.median(g.extra[k] for g in good) for k in good[0].extra}})
    return table


def markdown(table, chosen_variants, metric):
    """metric "cpu" is for machines that are busy with other things; storm and redis measure rates: wall only."""
    rows = list(dict.fromkeys(e['row'] for e in table))
    cells = {(e['row'], e['variant']): e for e in table}
    if metric == 'cpu':
        rows = [r for r in rows if r in ('churn', 'python', 'sqlite', 'clang')]
    lines = ['| %s time, ratio to its base | ' % metric + ' | '.join(rows) + ' |', '| --- |' + ' ---: |' * len(rows)]
    for variant in chosen_variants:
        line = [variant.name + (' (small run)' if variant.slow else '')]
        for row in rows:
            entry = cells.get((row, variant.name))
            if entry is None:
                line.append('')
            elif 'broken' in entry:
                line.append('fails')
            elif variant.base == variant.name or entry['ratio'] is None or variant.name == 'bare':
                line.append('%.3f s' % entry['cpu_seconds' if metric == 'cpu' else 'seconds'])
            elif row == 'start-up':
                line.append('%+.1f ms' % (entry['added_seconds'] * 1000))
            else:
                line.append('%.2f' % entry['cpu_ratio' if metric == 'cpu' else 'ratio'])
        lines.append('| ' + ' | '.join(line) + ' |')
    extra = []
    for e in table:
        if 'scaling' in e and e['row'].endswith('2 threads'):
            extra.append('- storm, %s: two threads do %.2f times the work of one' % (e['variant'], e['scaling']))
        if 'live_table_bytes_per_block' in e:
            extra.append('- churn, %s: %.1f bytes of live table for each live block; the whole ledger stores %.1f MB' % (
                e['variant'], e['live_table_bytes_per_block'], e['ledger_bytes'] / 1e6))
    notes = ['- %s: %s%s' % (v.name, v.what, '' if v.base in ('bare', v.name) else '; ratio to ' + v.base)
             for v in chosen_variants if v.what]
    return '\n'.join(lines + ([''] + extra if extra else []) + [''] + notes)


def choose(everything, wanted, what):
    if not wanted:
        return everything
    names = [n.strip() for part in wanted for n in part.split(',')]
    unknown = [n for n in names if n not in [e.name for e in everything]]
    if unknown:
        sys.exit('bench: no %s named %s; there are: %s' % (
            what, ', '.join(unknown), ', '.join(e.name for e in everything)))
    return [e for e in everything if e.name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--build', default='build', help='build directory')
    parser.add_argument('--only', action='append', metavar='WORKLOAD', help='these workloads (comma separated)')
    parser.add_argument('--variants', action='append', metavar='VARIANT', help='these variants; bases are added')
    parser.add_argument('--repeat', type=int, default=5, help='rounds (5)')
    parser.add_argument('--slow-repeat', type=int, default=1, help='rounds of the slow variants (1)')
    parser.add_argument('--no-slow', action='store_true', help='leave the slow variants out')
    parser.add_argument('--metric', choices=['wall', 'cpu'], default='wall', help='what the table shows (wall)')
    parser.add_argument('--json', metavar='FILE', help='write all numbers there')
    parser.add_argument('--markdown', metavar='FILE', help='write the table there, too')
    parser.add_argument('--list', action='store_true', help='say what could run and stop')
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    # Ledgers in shared memory, as users have them.
    with tempfile.TemporaryDirectory(prefix='seep-bench-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None) as work:
        all_variants, all_workloads = variants(build, work), workloads(build, work)
        if args.list:
            for entry in all_workloads + all_variants:
                print('%-24s %s' % (entry.name, entry.what))
            return 0
        chosen = choose(all_variants, args.variants, 'variant')
        if args.no_slow:
            chosen = [v for v in chosen if not v.slow]
        bases = {v.base for v in chosen}
        chosen = [v for v in all_variants if v in chosen or v.name in bases]
        picked = choose(all_workloads, args.only, 'workload')
        results = measure(args, picked, chosen, work)
        table = summarize(results, picked, chosen)
        text = markdown(table, chosen, args.metric)
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'machine': ' '.join(os.uname()), 'cpus': os.cpu_count(), 'repeat': args.repeat,
                       'results': table}, f, indent=1)
    if args.markdown:
        with open(args.markdown, 'w') as f:
            f.write(text + '\n')
    print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
