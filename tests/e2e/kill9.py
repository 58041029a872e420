# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at a random instant of a multi-threaded storm: every ledger opens, and what it says lies
between what the threads had surely done and what they had at most begun (truth file of
threads_storm.c), which differ by the one operation each thread was in."""
import mmap
import os
import random
import signal
import struct

from harness import SOAK, case, check, check_between, check_equal, main, need_target, wait_for

THREADS = 4
KILLS = 200 if SOAK else 25
LINE = struct.Struct('8Q')  # struct progress


def read_truth(path):
    """Lower and upper bounds of (allocs, frees, in use, bytes in use)."""
    with open(path, 'rb') as f:
        data = f.read()
    sums = [0] * 8
    for i in range(THREADS):
        sums = [a + b for a, b in zip(sums, LINE.unpack_from(data, i * LINE.size))]
    begun, done, free_begun, free_done, bytes_begun, bytes_done, free_bytes_begun, free_bytes_done = sums
    return {
        'allocs': (done, begun),
        'frees': (free_done, free_begun),
        'inuse': (done - free_begun, begun - free_done),
        'inuse_bytes': (bytes_done - free_bytes_begun, bytes_begun - free_bytes_done),
    }


def progress(path):
    """Operations done so far; 0 before the file is there."""
    try:
        with open(path, 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return sum(LINE.unpack_from(m, i * LINE.size)[1] for i in range(THREADS))
    except (OSError, ValueError):
        return 0


def one_kill(w, number, rng):
    truth = w.file('truth.%d' % number)
    process = w.start([need_target('threads_storm'), str(THREADS), '0', truth],
                      env=w.tracked_environment())
    # The instant: after a random number of operations, wherever the threads are then.
    target = int(10 ** rng.uniform(0, 5.3))
    wait_for(lambda: progress(truth) >= target or process.poll() is not None, 'the storm')
    os.kill(process.pid, signal.SIGKILL)
    run = w.finish(process)
    check_equal(run.status, -signal.SIGKILL, 'status %s' % run.describe())
    path = w.ledger(run.pid)
    report = w.report(path)
    values = report.values('storm_alloc', 'heap')
    for name, (low, high) in read_truth(truth).items():
        # Inside a realloc the old block may be recorded as freed while the new one is not born yet.
        check(high - low <= THREADS * 2 * (2000 if name == 'inuse_bytes' else 1), 'truth', name, low, high)
        check_between(getattr(values, name), low, high, 'kill %d after %d operations, losses %s: %s' % (
            number, target, report.losses, name))
    check(report.killed and not report.live, 'the report knows that it was killed')
    os.unlink(path)
    os.unlink(truth)


@case
def killed_at_random_instants(w):
    rng = random.Random(20260101)
    for number in range(KILLS):
        one_kill(w, number, rng)


@case
def a_live_ledger_is_readable_while_written(w):
    truth = w.file('truth')
    process = w.start([need_target('threads_storm'), str(THREADS), '0', truth],
                      env=w.tracked_environment())
    wait_for(lambda: progress(truth) > 10000, 'the storm')
    last = 0
    for _ in range(10):
        report = w.report(w.ledger(process.pid))
        check(report.live, 'it runs')
        allocs = report.values('storm_alloc', 'heap').allocs
        check(allocs >= last, 'allocations only grow:', last, allocs)
        last = allocs
    process.kill()
    w.finish(process)


main()
