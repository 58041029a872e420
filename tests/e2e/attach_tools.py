# SPDX-License-Identifier: Apache-2.0
"""What the tests of seep attach share: programs that are spoken to line by line, attaching, detaching."""
import json
import subprocess

from harness import Failure, check_equal, need_target, wait_for

CHURN = ('churn_small', 'churn_large')
# Each call that allocates, in a function of its own: tests/targets/attach_calls.c.
CALLS = ('make_plain', 'make_zeroed', 'make_grown', 'make_kept', 'make_aligned', 'make_posix', 'make_c11',
         'make_deep', 'make_mapping', 'make_moved', 'make_threaded', 'make_freed')


class Spoken:
    """A target that answers lines; pid may be that of a child, when a command stands around it."""

    def __init__(self, w, command, child=False, **more):
        self.w = w
        self.process = w.start(command, stdin=subprocess.PIPE, **more)
        self.expect('ready')
        self.pid = self.process.pid
        while child and len(self.children()) == 1:
            self.pid = self.children()[0]

    def children(self):
        with open('/proc/%d/task/%d/children' % (self.pid, self.pid)) as f:
            return [int(n) for n in f.read().split()]

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the target ended: status %r' % self.process.wait())
        return line.strip()

    def expect(self, wanted):
        check_equal(self.line(), wanted, 'answer of the target')

    def say(self, words):
        self.process.stdin.write('%s\n' % words)
        self.process.stdin.flush()

    def end(self):
        """It goes on to its end as if nothing had been."""
        run = self.w.finish(self.process)
        check_equal(run.status, 0, 'status of the target %s' % run.describe())
        return run


class Talker(Spoken):
    """attach_truth: threads that allocate and free all the time."""

    def __init__(self, w, *args, path=None, command=None, **more):
        super().__init__(w, command or [path or need_target('attach_truth'), *args], **more)

    def mark(self):
        """Threads stand afterwards, with nothing allocated, until going()."""
        self.say('m')
        self.expect('marked')

    def free_old(self):
        self.say('o')
        self.expect('freed')

    def load(self):
        self.say('l')
        self.expect('loaded')

    def unload(self):
        self.say('u')
        self.expect('unloaded')

    def truth(self):
        """Threads stand afterwards, until going()."""
        self.say('t')
        return json.loads(self.line())['sites']

    def going(self):
        self.say('g')
        self.expect('going')

    def end(self):
        self.say('q')
        super().end()


class Calls(Spoken):
    """attach_calls: rounds of every call there is."""

    def __init__(self, w, path=None, command=None, **more):
        super().__init__(w, command or [path or need_target('attach_calls')], **more)

    def tell(self, what):
        """What it did in all: counts by function."""
        self.say(what)
        return json.loads(self.line())['sites']


def attach(w, pid, *options, status=0, path=None, **more):
    """What seep attach says it did; with another status its Result."""
    run = w.seep('attach', '--json', '--ledger-dir=' + w.ledgers, *options, str(pid), **more)
    check_equal(run.status, status, 'status of seep attach %s' % run.describe())
    if status:
        return run
    said = json.loads(run.stdout)
    if path:
        check_equal(said['path'], path, 'the way taken, %s' % said)
    return said


def detach(w, pid, status=0):
    run = w.seep('detach', str(pid))
    check_equal(run.status, status, 'status of seep detach %s' % run.describe())
    return run


def less(after, before):
    """Counts of what was done in between, by function."""
    return {name: {k: v - before.get(name, {}).get(k, 0) for k, v in counts.items()}
            for name, counts in after.items()}


def counts_agree(report, truth, names, what=''):
    for name in names:
        check_equal(report.values(name).as_truth(), truth[name], '%s %s' % (what, name))


def reports_until(w, ledger, agree, what):
    """The report of a ledger that is written from outside: what the target did reaches it a moment later."""
    return wait_for(lambda: next((r for r in [w.report(ledger)] if agree(r)), None), what)


def churned(report):
    return all(report.values(name).allocs for name in CHURN)


def emptied(report):
    return all((v.inuse, v.inuse_bytes) == (0, 0) for v in map(report.values, CHURN))


def tracked_exactly(w, t, ledger, meanwhile=lambda: None, outside=False):
    """Between a mark and a look, the ledger counts what the program counts: to the block."""
    if outside:
        reports_until(w, ledger, churned, 'something to be counted of each')
    t.mark()
    # Each thread holds blocks from its first on until it lets go of all, which is the last it does: who has seen that has seen everything.
    before = reports_until(w, ledger, emptied, 'nothing to be in use when all was freed') if outside else w.report(ledger)

    def values(report):
        return {name: report.values(name).as_truth() for name in CHURN}

    def counted(report):
        return less(values(report), values(before))

    t.going()
    meanwhile()
    reports_until(w, ledger, lambda r: all(c['allocs'] > 100 for c in counted(r).values()), 'the target to do something')
    truth = t.truth()
    wanted = {name: truth[name] for name in CHURN}
    left = {name: (c['allocs'] - c['frees'], c['alloc_bytes'] - c['free_bytes']) for name, c in wanted.items()}

    def inuse(report):
        return {name: (report.values(name).inuse, report.values(name).inuse_bytes) for name in CHURN}

    # Blocks are read before counts: who writes may have come between.
    after = reports_until(w, ledger, lambda r: (counted(r), inuse(r)) == (wanted, left),
                          'the counts to be %s, and in use %s' % (wanted, left)) if outside else w.report(ledger)
    t.going()
    check_equal(inuse(before), dict.fromkeys(CHURN, (0, 0)), 'in use when all were freed')
    check_equal(counted(after), wanted, 'counts')
    check_equal(inuse(after), left, 'in use')
