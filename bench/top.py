#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/top.py: what `seep top` costs, itself and the process it looks at.

itself      over a process with 50,000 sites and a million live blocks, 100,000 of them turned over each second:
            CPU time of the first reading (names included) and of each one after it (a long run less a short one),
            as text and on a screen of 160 by 50; the share of a core at one refresh each second; peak memory
the target  tests/targets/heartbeat, one thread that allocates and frees without a pause: its beats for each second
            of its own CPU time, in turns with and without a `seep top -i 1s` that reads it; the ratio's median
            over the rounds
"""
import argparse
import fcntl
import os
import pty
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time


def tracked(build, ledgers):
    return {**os.environ, 'LD_PRELOAD': os.path.join(build, 'src/track/libseep.so'), 'SEEP_OPTIONS': 'dir=' + ledgers}


def cpu(command, **more):
    """CPU seconds, wall seconds and peak kilobytes of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, **more)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f'{command} ended with {process.returncode}')
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss


def on_screen(command, seconds):
    """The same of a full screen that is quit after a time."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 160, 0, 0))
    written = [0]

    def drain():
        try:
            while data := os.read(master, 65536):
                written[0] += len(data)
        except OSError:
            pass

    reader = threading.Thread(target=drain, daemon=True)
    timer = threading.Timer(seconds, lambda: os.write(master, b'q'))
    reader.start()
    timer.start()
    result = cpu(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                 env={**os.environ, 'TERM': 'xterm-256color', 'LC_ALL': 'C.UTF-8'})
    os.close(slave)
    return *result, written[0]


def itself(o, seep, ledgers):
    target = subprocess.Popen([os.path.join(o.build, 'tests/targets/million_sites'), str(o.sites), str(o.blocks), 'hold'],
                              env=tracked(o.build, ledgers), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    target.stdout.readline()
    top = [seep, 'top', '--ledger-dir', ledgers, str(target.pid)]
    with open(os.devnull, 'w', encoding='ascii') as null:
        firsts, refreshes, walls = [], [], []
        for _ in range(o.rounds):
            first, first_wall, _ = cpu([*top, '--combined', '-c', '1'], stdout=null)
            many, many_wall, peak = cpu([*top, '--combined', '-c', '21', '-i', '10ms'], stdout=null)
            firsts.append(first)
            refreshes.append((many - first) / 20)
            walls.append((many_wall - first_wall) / 20)
    print(f'{o.sites} sites, {o.blocks} blocks; medians of {o.rounds} rounds')
    print(f'  first reading, with names   {statistics.median(firsts) * 1e3:6.0f} ms of CPU')
    print(f'  each refresh, as text       {statistics.median(refreshes) * 1e3:6.0f} ms of CPU, '
          f'{statistics.median(walls) * 1e3:.0f} ms in all')
    print(f'  peak memory of seep         {peak / 1024:6.0f} MiB')
    seconds = 5 * o.rounds
    used, wall, peak, written = on_screen([*top, '-i', '1s'], seconds)
    print(f'  screen, 1 s, {seconds} s           {(used - statistics.median(firsts)) / wall * 100:6.1f} % of a core, '
          f'{peak / 1024:.0f} MiB, {written / wall / 1024:.1f} KiB/s to the terminal')
    target.stdin.close()
    target.wait()


def of_target(o, seep, ledgers):
    with tempfile.NamedTemporaryFile() as beats:
        target = subprocess.Popen([os.path.join(o.build, 'tests/targets/heartbeat'), beats.name, '1', '200000'],
                                  env=tracked(o.build, ledgers), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        target.stdout.readline()

        def count():
            return struct.unpack('Q', os.pread(beats.fileno(), 8, 0))[0]

        def on_cpu():
            tasks, ns = f'/proc/{target.pid}/task', 0
            for task in os.listdir(tasks):
                with open(f'{tasks}/{task}/schedstat', encoding='ascii') as stat:
                    ns += int(stat.read().split()[0])
            return ns / 1e9

        def rate():
            start, before = on_cpu(), count()
            time.sleep(o.seconds)
            return (count() - before) / (on_cpu() - start)

        ratios = []
        for _ in range(o.rounds * 2 + 1):
            without = rate()
            top = subprocess.Popen([seep, 'top', '--combined', '-i', '1s', '--ledger-dir', ledgers, str(target.pid)],
                                   stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            ratios.append(rate() / without)
            top.terminate()
            top.wait()
        print(f'target\'s speed while it is looked at, by its speed alone: {statistics.median(ratios):.3f} '
              f'(median of {len(ratios)} rounds, {min(ratios):.3f} to {max(ratios):.3f})')
        target.stdin.close()
        target.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default='build')
    parser.add_argument('--sites', type=int, default=50000)
    parser.add_argument('--blocks', type=int, default=1000000)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3, help='of each measurement of the target')
    o = parser.parse_args()
    o.build = os.path.abspath(o.build)
    seep = os.path.join(o.build, 'src/cli/seep')
    with tempfile.TemporaryDirectory(prefix='seep-bench-', dir='/dev/shm') as ledgers:
        itself(o, seep, ledgers)
    with tempfile.TemporaryDirectory(prefix='seep-bench-', dir='/dev/shm') as ledgers:
        of_target(o, seep, ledgers)
    return 0


if __name__ == '__main__':
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
