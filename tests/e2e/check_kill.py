# SPDX-License-Identifier: Apache-2.0
"""kill -9 of seep at any moment of a check: the target lives, runs on, is traced by nobody, and nothing is left."""
import os
import random
import signal
import struct
import subprocess
import time

from harness import SEEP, SOAK, case, check, check_equal, main, need_target, process_state, wait_for

ROUNDS = 100 if SOAK else 20
THREADS = 4


class Heart:
    """A target with a heartbeat, and a mark in the environment of everything that has to do with it."""

    def __init__(self, w, blocks):
        self.w, self.path = w, w.file('beats')
        self.mark = 'SEEP_TEST_MARK=%s' % w.path
        self.env = dict(os.environ, SEEP_TEST_MARK=w.path)
        self.process = w.start([need_target('heartbeat'), self.path, str(THREADS), str(blocks)], env=self.env,
                               stdin=subprocess.PIPE)
        check(self.process.stdout.readline().startswith('{"target": "heartbeat"'), 'the target started')
        self.pid = self.process.pid

    def beats(self):
        with open(self.path, 'rb') as f:
            return struct.unpack('%dQ' % THREADS, f.read(8 * THREADS))

    def runs_on(self, what):
        """Every thread of it advances; none is stopped or traced."""
        check_equal(self.process.poll(), None, what + ': the target is alive')
        before = self.beats()
        wait_for(lambda: all(b > a for a, b in zip(before, self.beats())), what + ': every thread to run on', 20)
        wait_for(lambda: self.tracer() == 0, what + ': nobody to trace it', 20)
        for tid in os.listdir('/proc/%d/task' % self.pid):
            with open('/proc/%d/task/%s/stat' % (self.pid, tid)) as f:
                state = f.read().rsplit(')', 1)[1].split()[0]
            check(state in 'RSD', what, 'thread', tid, 'is in state', state)
        check_equal(len(os.listdir('/proc/%d/task' % self.pid)), THREADS + 1, what + ': threads')

    def tracer(self):
        with open('/proc/%d/status' % self.pid) as f:
            return int([line for line in f if line.startswith('TracerPid:')][0].split()[1])

    def others(self):
        """Processes of this test besides the target: seep's, and copies of the target."""
        found = []
        for name in os.listdir('/proc'):
            if not name.isdigit() or int(name) == self.pid:
                continue
            try:
                with open('/proc/%s/environ' % name, 'rb') as f:
                    marked = self.mark.encode() in f.read().split(b'\0')
                with open('/proc/%s/stat' % name) as f:
                    stat = f.read().rsplit(')', 1)
                # A zombie has no environment any more; it is the target's when that is its parent.
                if marked or stat[1].split()[1] == str(self.pid):
                    found.append((int(name), stat[0].split('(')[1], stat[1].split()[0]))
            except OSError:
                continue
        return found

    def nothing_left(self, what):
        wait_for(lambda: not self.others(), what + ': nothing to be left behind', 20)


def seep_at(heart, *options):
    return subprocess.Popen([SEEP, 'check', '--json', *options, str(heart.pid)], env=heart.env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_rounds(heart, rounds, signum, rng):
    longest = {}
    for option in ('--clone', '--no-clone'):
        start = time.monotonic()
        check_equal(seep_at(heart, option).wait(), 0, 'a check that is left alone')
        longest[option] = time.monotonic() - start
        heart.runs_on('after a check')
        heart.nothing_left('after a check')
    died = 0
    for number in range(rounds):
        option = ('--clone', '--no-clone')[number % 2]
        moment = rng.random() * longest[option]
        process = seep_at(heart, option)
        time.sleep(moment)  # a random moment is what is asked for
        process.send_signal(signum)
        died += process.wait() == -signum
        what = 'round %d, %s, killed after %.1f ms' % (number, option, moment * 1000)
        heart.runs_on(what)
        heart.nothing_left(what)
    check(died >= rounds // 3, 'checks that were hit', died, 'of', rounds)


@case
def killed_at_random_moments(w):
    heart = Heart(w, 200000)
    kill_rounds(heart, ROUNDS, signal.SIGKILL, random.Random(5))
    heart.process.stdin.close()
    check_equal(heart.process.wait(60), 0, 'status of the target')


@case
def interrupted_at_random_moments(w):
    heart = Heart(w, 200000)
    kill_rounds(heart, ROUNDS // 2, signal.SIGTERM, random.Random(6))
    heart.process.stdin.close()
    check_equal(heart.process.wait(60), 0, 'status of the target')


@case
def everything_of_seep_killed_together(w):
    """As a container's end, or the OOM killer with its cgroup, would: the guardian goes as well."""
    heart, rng = Heart(w, 200000), random.Random(7)
    for number in range(ROUNDS):
        process = seep_at(heart, '--clone' if number % 2 else '--no-clone')
        time.sleep(rng.random() * 0.3)
        for pid, name, _ in heart.others():
            if name.startswith('seep'):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        process.wait()
        what = 'round %d' % number
        check(process_state(heart.pid) not in (None, 'Z'), what, 'the target is alive')
        heart.runs_on(what)
    heart.process.stdin.close()
    check_equal(heart.process.wait(60), 0, 'status of the target')


@case
def never_a_leak_where_nothing_is_lost(w):
    """But for blocks that a thread stood in the middle of allocating or freeing: those are others each time."""
    heart, last = Heart(w, 50000), set()
    for number in range(40 if SOAK else 10):
        found = w.check(heart.pid, '--clone' if number % 2 else '--no-clone', env=heart.env)
        check(found.total('definite')[0] <= 2 * THREADS, 'check %d: definite; %r' % (number, found.lost()[:5]))
        check_equal(found.lost_addresses() & last, set(), 'check %d: lost as before; %r' % (number, found.lost()[:5]))
        last = found.lost_addresses()
    heart.runs_on('afterwards')
    heart.nothing_left('afterwards')


main()
