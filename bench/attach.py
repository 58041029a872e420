#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/attach.py: what being attached to costs, and attaching itself.

the targets bench/workloads/steady.c, the churn on request: CPU time of a pair of malloc() and free(), from 256 stacks of 8
            to 24 frames; in turns bare and tracked, in one process that is attached to and detached from, so that
            each ratio compares neighbours.  Preloaded: two processes in turns.  bpftrace, where it is installed and works:
            a script that keeps what memleak keeps (in use by stack).  And a real one, redis-server under redis-benchmark: its
            own CPU time for a request (set, get, hset, spop; 20 connections)
attaching   seep attach --json's own figures, over many attaches: how long the target stood still in all, how long it took
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BPFTRACE = '''
uprobe:%(libc)s:malloc { @size[tid] = arg0; }
uretprobe:%(libc)s:malloc /@size[tid]/ {
  @bytes[retval] = @size[tid]; @stack[retval] = ustack; @inuse[@stack[retval]] = sum(@size[tid]); delete(@size[tid]); }
uprobe:%(libc)s:free /@bytes[arg0]/ { delete(@bytes[arg0]); delete(@stack[arg0]); }
interval:ms:100 { printf("on\\n"); }  // not before all probes are set
'''


class Steady:
    def __init__(self, build, env=None):
        self.process = subprocess.Popen([os.path.join(build, 'bench/steady')], env=dict(os.environ, **(env or {})),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        assert self.process.stdout.readline() == 'ready\n'

    def pair(self, pairs):
        """Nanoseconds for a pair."""
        self.process.stdin.write('%d\n' % pairs)
        self.process.stdin.flush()
        return int(self.process.stdout.readline()) / pairs

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Redis:
    def __init__(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = str(s.getsockname()[1])
        self.process = subprocess.Popen(['redis-server', '--port', self.port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
                                        stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        while subprocess.run(['redis-cli', '-p', self.port, 'ping'], capture_output=True).stdout != b'PONG\n':
            if self.process.poll() is not None:
                raise SystemExit('redis-server ended with %d before it answered' % self.process.returncode)
            time.sleep(0.05)

    def cpu(self):
        used = 0
        for task in os.listdir('/proc/%d/task' % self.pid):
            with open('/proc/%d/task/%s/schedstat' % (self.pid, task)) as f:
                used += int(f.read().split()[0])
        return used

    def pair(self, requests):
        """Nanoseconds for a request."""
        before = self.cpu()
        subprocess.run(['redis-benchmark', '-p', self.port, '-n', str(requests // 4), '-c', '20', '-q', '-t', 'set,get,hset,spop',
                        '-r', '1000', '-d', '200'], check=True, stdout=subprocess.DEVNULL)
        return (self.cpu() - before) / (requests // 4 * 4)

    def end(self):
        self.process.terminate()
        self.process.wait()


def attached(args, seep, ledgers, options):
    """A thing to switch on and off: seep attach and detach."""
    def on(pid):
        run = subprocess.run([seep, 'attach', '--json', '--ledger-dir=' + ledgers, *options, str(pid)],
                             capture_output=True, text=True)
        if run.returncode:
            raise SystemExit('seep attach %s: %s' % (' '.join(options), run.stderr))
        return json.loads(run.stdout)

    def off(pid, said):
        subprocess.run([seep, 'detach', '-q', str(pid)], check=True)
        os.unlink(said['ledger'])
    return on, off


def by_bpftrace():
    libc = next(line.split()[2] for line in subprocess.run(['ldd', sys.executable], capture_output=True, text=True)
                .stdout.splitlines() if 'libc.so' in line)

    def on(pid):
        process = subprocess.Popen(['bpftrace', '-p', str(pid), '-e', BPFTRACE % {'libc': libc}],
                                   env=dict(os.environ, BPFTRACE_MAP_KEYS_MAX='100000'),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        for line in process.stdout:  # first what it could not set, which may do no harm
            said.append(line.strip())
            if line == 'on\n':
                break
        else:
            raise OSError(' '.join(said))
        return process

    def off(pid, process):
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return on, off


def compare_attached(args, target, switch, pairs):
    """(bare ns, tracked ns, ratio): medians over the rounds, each of a bare piece, a tracked one, a bare one."""
    on, off = switch
    bare, tracked, ratios = [], [], []
    target.pair(pairs)
    for _ in range(args.repeat):
        before = target.pair(pairs)
        token = on(target.pid)
        target.pair(pairs // 4)  # stacks that come for the first time
        during = target.pair(pairs)
        off(target.pid, token)
        after = target.pair(pairs)
        bare += [before, after]
        tracked.append(during)
        ratios.append(2 * during / (before + after))
    target.end()
    return statistics.median(bare), statistics.median(tracked), statistics.median(ratios)


def compare_preloaded(args, build, ledgers, options):
    env = {'LD_PRELOAD': os.path.join(build, 'src/track/libseep.so'), 'SEEP_OPTIONS': 'dir=%s,%s' % (ledgers, options)}
    one, other = Steady(build), Steady(build, env)
    pieces = []
    for target in (one, other):
        target.pair(args.pairs)
    for _ in range(args.repeat):
        before = one.pair(args.pairs)
        during = other.pair(args.pairs)
        pieces.append((before, during, 2 * during / (before + one.pair(args.pairs))))
    one.end()
    other.end()
    return [statistics.median(p[i] for p in pieces) for i in range(3)]


def attaching(args, build, seep, ledgers):
    """Milliseconds of standing still and in all, by option."""
    target, found = Steady(build), {}
    for options in (('--sample=512K',), ('--full',)):
        said = []
        on, off = attached(args, seep, ledgers, options)
        for _ in range(args.attaches):
            one = on(target.pid)
            off(target.pid, one)
            said.append((one['stopped_ns'] / 1e6, one['total_ns'] / 1e6))
        found[options[0]] = {'stopped_ms': sorted(s for s, _ in said), 'total_ms': sorted(t for _, t in said)}
    target.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--build', default='build', help='build directory')
    parser.add_argument('--repeat', type=int, default=5, help='rounds (5)')
    parser.add_argument('--pairs', type=int, default=300000, help='pairs of malloc and free in a piece (300,000)')
    parser.add_argument('--slow-pairs', type=int, default=20000, help='the same where each is a trap (20,000)')
    parser.add_argument('--requests', type=int, default=400000, help='to redis in a piece (400,000)')
    parser.add_argument('--attaches', type=int, default=20, help='times to attach (20)')
    parser.add_argument('--no-bpf', action='store_true', help='leave out what needs BPF')
    parser.add_argument('--json', metavar='FILE', help='write all numbers there')
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    seep = os.path.join(build, 'src/cli/seep')
    shm = '/dev/shm' if os.path.isdir('/dev/shm') else None
    rows, real = [], []
    with tempfile.TemporaryDirectory(prefix='seep-bench-', dir=shm) as work:
        for name, options in (('preload sampled', 'sample=524288'), ('preload full', 'mode=full')):
            rows.append((name, *compare_preloaded(args, build, work, options)))
        for way in ('inject', 'bpf'):
            if way == 'bpf' and args.no_bpf:
                continue
            for mode, options in (('sampled', ('--sample=512K',)), ('full', ('--full',))):
                switch = attached(args, seep, work, ('--' + way, *options))
                rows.append(('%s %s' % (way, mode), *compare_attached(
                    args, Steady(build), switch, args.pairs if way == 'inject' else args.slow_pairs)))
                if way == 'inject' and shutil.which('redis-benchmark') and shutil.which('redis-server'):
                    real.append(('%s %s' % (way, mode), *compare_attached(args, Redis(), switch, args.requests)))
        if shutil.which('bpftrace') and not args.no_bpf:
            try:
                rows.append(('bpftrace', *compare_attached(args, Steady(build), by_bpftrace(), args.slow_pairs)))
            except OSError as e:
                print('bpftrace: %s' % e, file=sys.stderr)
        how = attaching(args, build, seep, work)
    print('| | bare, ns a pair | tracked, ns a pair | ratio | added, ns an event |\n| --- | ---: | ---: | ---: | ---: |')
    for name, bare, tracked, ratio in rows:
        print('| %s | %.0f | %.0f | %.2f | %.0f |' % (name, bare, tracked, ratio, (tracked - bare) / 2))
    if real:
        print('\n| redis-server | bare, ns a request | tracked | ratio |\n| --- | ---: | ---: | ---: |')
    for name, bare, tracked, ratio in real:
        print('| %s | %.0f | %.0f | %.3f |' % (name, bare, tracked, ratio))
    for option, times in how.items():
        print('- attach %s, %d times: stood still for %.1f ms (median; at most %.1f), took %.0f ms (at most %.0f)' % (
            option, args.attaches, statistics.median(times['stopped_ms']), times['stopped_ms'][-1],
            statistics.median(times['total_ms']), times['total_ms'][-1]))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'machine': ' '.join(os.uname()), 'rows': rows, 'redis': real, 'attaching': how}, f, indent=1)


if __name__ == '__main__':
    main()
