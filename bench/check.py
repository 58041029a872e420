#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/check.py: what a leak check costs, beside LeakSanitizer's of the same program.

For each shape (array, shuffled, list, randlist, tree; see check_bench.c) the program runs twice, as it is and built
with -fsanitize=leak, both wait, and checks alternate: seep with the process stopped, seep on a clone,
LeakSanitizer.  Medians of the rounds.  `marking` is reach_run() (index, roots, marking, the lost ones); `check`
is everything from stopping the process to the classes.  LeakSanitizer is told not to symbolize, so that what
is timed is its check alone.  A ratio is LeakSanitizer's time by seep's, the median over the rounds of both.

Exits with 1 when a goal of docs/LEAKS.md is missed.  --json writes every single number.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = ('array', 'shuffled', 'list', 'randlist', 'tree')
LOST = 1000
BYTES_PER_BLOCK = 24
STOP_NS, STOP_NS_PER_GB = 10e6, 100e6


class Program:
    def __init__(self, path, shape, blocks, **env):
        self.process = subprocess.Popen([path, shape, str(blocks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env={**os.environ, **env})
        if self.process.stdout.readline() != 'ready\n':
            raise SystemExit(f'{path} {shape} did not come up')

    def check(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def wait_for_quiet(seconds):
    """Until all processors were idle for a tenth of a second, or the time is over."""
    def idle():
        with open('/proc/stat', encoding='ascii') as stat:
            ticks = [int(n) for n in stat.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = idle()
        time.sleep(0.1)
        after = idle()
        if after[0] - before[0] >= 0.9 * (after[1] - before[1]):
            return


def phases(build, pid, how, threads):
    args = [os.path.join(build, 'bench', 'check_phases'), str(pid), how] + ([str(threads)] if threads else [])
    return json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)


def measure(args, shape):
    plain = Program(os.path.join(args.build, 'bench', 'check_bench'), shape, args.blocks)
    lsan_path = os.path.join(args.build, 'bench', 'check_bench_lsan')
    lsan = None
    if os.path.exists(lsan_path) and not args.no_lsan:
        lsan = Program(lsan_path, shape, args.blocks, LSAN_OPTIONS='symbolize=0:detect_leaks=1:exitcode=0')
    rounds = []
    for _ in range(args.repeat):
        one = {}
        for how in ('stop', 'clone'):
            wait_for_quiet(args.quiet)
            one[how] = phases(args.build, plain.process.pid, how, args.threads)
        wait_for_quiet(args.quiet)
        one['lsan_ns'] = lsan.check() if lsan else None
        rounds.append(one)
        for how in ('stop', 'clone'):
            lost = one[how]['definite'] + one[how]['indirect'] + one[how]['possible']
            if abs(lost - LOST) > 3:  # a pointer may be left in a register or below the program's frames
                raise SystemExit(f'{shape}: {lost} lost blocks, not {LOST}')
    plain.end()
    if lsan:
        lsan.end()
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build')
    parser.add_argument('--blocks', type=int, default=8000000)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--threads', type=int, default=0, help='of seep; 0: as it chooses')
    parser.add_argument('--quiet', type=float, default=0, metavar='SECONDS',
                        help='before each check wait until the machine is idle, at most so long')
    parser.add_argument('--only', help='shapes, with commas')
    parser.add_argument('--no-lsan', action='store_true')
    parser.add_argument('--json', metavar='FILE')
    args = parser.parse_args()
    everything, missed = {}, []

    print(f'{args.blocks} blocks of 72 bytes, {LOST} lost; medians of {args.repeat}, milliseconds\n')
    print('| shape | image | marking | whole check | LeakSanitizer | marking, times | check, times '
          '| bytes a block | stopped |')
    print('| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    for shape in args.only.split(',') if args.only else SHAPES:
        rounds = everything[shape] = measure(args, shape)
        for how in ('stop', 'clone'):
            def median(key):
                return statistics.median(key(r) for r in rounds)
            peak = max(r[how]['peak_bytes'] for r in rounds) / args.blocks
            stopped = median(lambda r: r[how]['stopped_ns'])
            allowed = STOP_NS + STOP_NS_PER_GB * rounds[0][how]['resident_bytes'] / 1e9
            mark, check = median(lambda r: r[how]['mark_ns']), median(lambda r: r[how]['all_ns'])
            row = [shape, how, f'{mark / 1e6:.0f}', f'{check / 1e6:.0f}']
            if rounds[0]['lsan_ns'] is None:
                row += ['', '', '']
            else:
                times = median(lambda r: r['lsan_ns'] / r[how]['mark_ns'])
                row += [f'{median(lambda r: r["lsan_ns"]) / 1e6:.0f}', f'{times:.2f}',
                        f'{median(lambda r: r["lsan_ns"] / r[how]["all_ns"]):.2f}']
                if times < 2:
                    missed.append(f'{shape}, {how}: marking is {times:.2f} times as fast, not 2')
            row += [f'{peak:.1f}', f'{stopped / 1e6:.0f}']
            if peak > BYTES_PER_BLOCK:
                missed.append(f'{shape}, {how}: {peak:.1f} bytes a block')
            if how == 'clone' and stopped > allowed:
                missed.append(f'{shape}: stopped for {stopped / 1e6:.0f} ms, {allowed / 1e6:.0f} allowed')
            print('| ' + ' | '.join(row) + ' |', flush=True)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as out:
            json.dump({'blocks': args.blocks, 'shapes': everything}, out)
    for line in missed:
        print('missed: ' + line)
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
