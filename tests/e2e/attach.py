# SPDX-License-Identifier: Apache-2.0
"""seep attach and seep detach: a tracker for programs that already run, and away again."""
import json
import os
import subprocess

from harness import SOAK, Failure, case, check, check_equal, main, need_target


class Talker:
    """attach_truth, spoken to line by line."""

    def __init__(self, w, *args, target='attach_truth', **more):
        self.w = w
        self.process = w.start([need_target(target), *args], stdin=subprocess.PIPE, **more)
        self.expect('ready')

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the target ended: status %r' % self.process.wait())
        return line.strip()

    def expect(self, wanted):
        check_equal(self.line(), wanted, 'answer of the target')

    def say(self, letter):
        self.process.stdin.write(letter + '\n')
        self.process.stdin.flush()

    def mark(self):
        """Threads stand afterwards, with nothing allocated, until going()."""
        self.say('m')
        self.expect('marked')

    def free_old(self):
        self.say('o')
        self.expect('freed')

    def truth(self):
        """Threads stand afterwards, until going()."""
        self.say('t')
        return json.loads(self.line())['sites']

    def going(self):
        self.say('g')
        self.expect('going')

    def quit(self):
        self.say('q')
        run = self.w.finish(self.process)
        check_equal(run.status, 0, 'status of the target %s' % run.describe())


def attach(w, pid, *options, status=0):
    run = w.seep('attach', '--json', '--ledger-dir=' + w.ledgers, *options, str(pid))
    check_equal(run.status, status, 'status of seep attach %s' % run.describe())
    return json.loads(run.stdout) if status == 0 else run


def detach(w, pid, status=0):
    run = w.seep('detach', str(pid))
    check_equal(run.status, status, 'status of seep detach %s' % run.describe())
    return run


CHURN = ('churn_small', 'churn_large')


def tracked_exactly(w, t, ledger, meanwhile=lambda: None):
    """Between a mark and a look, the ledger counts what the program counts: to the block."""
    t.mark()
    before = w.report(ledger)
    t.going()
    meanwhile()
    truth = t.truth()
    after = w.report(ledger)
    t.going()
    for name in CHURN:
        old, new = before.values(name), after.values(name)
        check_equal((old.inuse, old.inuse_bytes), (0, 0), 'in use of %s when all were freed' % name)
        wanted = truth[name]
        check(wanted['allocs'] > 100, 'the target was idle:', truth)
        found = {k: v - old.as_truth()[k] for k, v in new.as_truth().items()}
        check_equal(found, wanted, 'counts of %s' % name)
        check_equal((new.inuse, new.inuse_bytes), (wanted['allocs'] - wanted['frees'], wanted['alloc_bytes'] -
                                                   wanted['free_bytes']), 'in use of %s' % name)


@case
def counts_since_attaching_are_exact(w):
    t = Talker(w, '3')
    a = attach(w, t.pid, '--full')
    tracked_exactly(w, t, a['ledger'], t.free_old)
    detach(w, t.pid)
    t.quit()


@case
def a_single_thread_stays_single(w):
    t = Talker(w, '0')
    attach(w, t.pid, '--full')
    check_equal(len(os.listdir('/proc/%d/task' % t.pid)), 1, 'threads')
    t.free_old()
    detach(w, t.pid)
    check_equal(len(os.listdir('/proc/%d/task' % t.pid)), 1, 'threads')
    t.quit()


@case
def frees_of_older_blocks_are_no_losses(w):
    t = Talker(w, '1')
    a = attach(w, t.pid, '--full')
    t.free_old()
    losses = w.report(a['ledger']).losses
    check(not losses.get('unmatched_free'), 'losses', losses)
    t.quit()


@case
def attaching_again_after_detaching_works(w):
    t = Talker(w, '3')
    for _ in range(1000 if SOAK else 20):
        a = attach(w, t.pid, '--full')
        tracked_exactly(w, t, a['ledger'])
        detach(w, t.pid)
        os.unlink(a['ledger'])
    t.quit()


if __name__ == '__main__':
    main()
