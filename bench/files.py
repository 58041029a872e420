#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/files.py: what reading, comparing and converting large profiles costs.

Makes the files first (a fixed sequence, so every run has the same): two profiles of SITES sites, a jemalloc and a heaptrack
file of MEGABYTES, the latter also interpreted and raw, and packed with gzip.  Then every command runs --repeat times; shown are the
median of the wall and of the processor's time, megabytes of the (expanded) file per second of the latter, which other people's
load disturbs less, and the most memory that the command ever held.
--json writes every single number.
"""
import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FUNCTIONS = 3000


def stacks(numbers, n):
    """Parents of a tree that grew at random, and the function at each node."""
    parents = [0] + [numbers.randrange(i) if i > 1 else 0 for i in range(1, n)]
    return parents, [numbers.randrange(FUNCTIONS) for _ in range(n)]


def path_of(parents, node):
    while node:
        yield node
        node = parents[node]


def write_folded(path, sites, grown):
    """Folded stacks; `grown` makes every tenth hold more and adds new ones."""
    numbers = random.Random(1)
    parents, functions = stacks(numbers, sites + sites // 10)
    with open(path, 'w', encoding='ascii') as f:
        for i in range(1, sites + (sites // 10 if grown else 0)):
            names = ';'.join('function_%d' % functions[k] for k in reversed(list(path_of(parents, i))))
            f.write('%s;leaf_%d %d\n' % (names, i, 100 + i % 4096 + (5000 if grown and i % 10 == 0 else 0)))


def write_jemalloc(path, size, maps):
    numbers = random.Random(2)
    parents, functions = stacks(numbers, size // 200)
    with open(path, 'w', encoding='ascii') as f:
        f.write('heap_v2/524288\n  t*: 1: 1 [0: 0]\n  t1: 1: 1 [0: 0]\n')
        for i in range(1, len(parents)):
            frames = ' '.join('0x%x' % (0x555500000000 + functions[k] * 1024 + k % 64 * 16) for k in path_of(parents, i))
            blocks = 1 + numbers.randrange(100)
            f.write('@ %s\n  t*: %d: %d [0: 0]\n  t1: %d: %d [0: 0]\n' % (frames, blocks, blocks * 300, blocks, blocks * 300))
            if f.tell() >= size:
                break
        f.write('\nMAPPED_LIBRARIES:\n' + maps)


def write_heaptrack(path, size, raw):
    """20,000 stacks, then blocks that come and go at random, a million alive at a time when raw."""
    numbers, alive, lines = random.Random(3), [], []
    parents, _ = stacks(numbers, 20000)
    with open(path, 'w', encoding='ascii') as f:
        f.write('v 10400 3\nX ./program\n')
        if raw:
            f.write('x 9 /bin/none\nm 9 /bin/none 400000 0 100000\n')
            f.writelines('t %x %x\n' % (0x400000 + i * 16, parents[i]) for i in range(1, 20000))
        else:
            f.write('s 9 /bin/none\n' + ''.join('s c function%04d\n' % i for i in range(FUNCTIONS)))
            f.writelines('i %x 1 %x\n' % (0x400000 + i * 16, 2 + i) for i in range(FUNCTIONS))
            f.writelines('t %x %x\n' % (1 + i % FUNCTIONS, parents[i]) for i in range(1, 20000))
            f.writelines('a %x %x\n' % (16 + i % 4096, i) for i in range(1, 20000))
        while f.tell() < size:
            lines.clear()
            for _ in range(100000):
                n = numbers.randrange(1, 19999)
                if not raw:
                    lines.append('+ %x\n' % n)
                    lines.append('- %x\n' % n if n % 3 else '')
                elif len(alive) < 1000000:
                    alive.append(0x10000000 + (len(alive) << 6))
                    lines.append('+ %x %x %x\n' % (16 + n % 4096, n, alive[-1]))
                else:
                    k = numbers.randrange(len(alive))
                    lines.append('- %x\n+ %x %x %x\n' % (alive[k], 16 + n % 4096, n, alive[k]))
            f.write('c %x\n' % (f.tell() >> 10))
            f.writelines(lines)


def measure(command):
    """Seconds of wall time and of the processor's, and the most memory, in bytes."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit('%s: %s' % (' '.join(command), message.decode(errors='replace')))
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--build', default='build')
    options.add_argument('--sites', type=int, default=50000)
    options.add_argument('--megabytes', type=int, default=100)
    options.add_argument('--repeat', type=int, default=5)
    options.add_argument('--json', metavar='FILE')
    o = options.parse_args()
    seep = os.path.join(o.build, 'src', 'cli', 'seep')
    folder = tempfile.mkdtemp(prefix='seep-bench-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)
    try:
        run_all(o, seep, lambda name: os.path.join(folder, name))
    finally:
        shutil.rmtree(folder)


def run_all(o, seep, file):
    size = o.megabytes << 20
    for name, grown in (('before', False), ('after', True)):
        write_folded(file(name + '.folded'), o.sites, grown)
        measure([seep, 'export', file(name + '.folded'), '-o', file(name + '.pb.gz')])
    write_jemalloc(file('a.jeheap'), size, '555500000000-555500400000 r-xp 00000000 00:00 1 /bin/none\n')
    write_heaptrack(file('a.heaptrack'), size, False)
    write_heaptrack(file('a.heaptrack-raw'), size, True)
    with open(file('a.heaptrack'), 'rb') as plain, gzip.open(file('a.heaptrack.gz'), 'wb', 6) as packed:
        shutil.copyfileobj(plain, packed)
    both = [file('before.pb.gz'), file('after.pb.gz')]
    steps = [('diff', ['diff', *both], None), ('diff --json', ['diff', '--json', *both], None),
             ('diff --by function', ['diff', '--by', 'function', *both], None),
             ('diff --dot', ['diff', '--dot', file('out.dot'), *both], None),
             ('diff --flame', ['diff', '--flame', file('out.html'), *both], None)]
    steps += [('export to ' + f, ['export', both[0], '--format=' + f, '-o', file('out.' + f)], None)
              for f in ('pprof', 'folded', 'speedscope', 'massif', 'dhat')]
    steps += [('read ' + name, ['report', '--no-symbols', '-o', file('out.txt'), file(name)],
               file(name.removesuffix('.gz')))  # megabytes as they are read, expanded
              for name in ('a.jeheap', 'a.heaptrack', 'a.heaptrack-raw', 'a.heaptrack.gz')]
    results = {}
    print('%-24s %9s %9s %9s %11s' % ('', 'seconds', 'cpu', 'MB/s', 'memory'))
    for name, arguments, path in steps:
        runs = [measure([seep, *arguments]) for _ in range(o.repeat)]
        seconds, cpu = (statistics.median(r[i] for r in runs) for i in (0, 1))
        memory = max(r[2] for r in runs)
        results[name] = {'runs': runs, 'bytes': path and os.path.getsize(path)}
        rate = '%.0f' % (os.path.getsize(path) / 1e6 / cpu) if path else ''
        print('%-24s %9.2f %9.2f %9s %7.0f MiB' % (name, seconds, cpu, rate, memory / 1048576), flush=True)
    if o.json:
        with open(o.json, 'w', encoding='utf-8') as f:
            json.dump(results, f, indent=1)


if __name__ == '__main__':
    sys.exit(main())
