# SPDX-License-Identifier: Apache-2.0
"""The target on_command, which does as it is told, and series of snapshots: for triggers.py and ctl.py."""
import os
import re

from harness import SEEP, check, check_equal, need_target, wait_for

NAME = re.compile(r'^(?P<name>.+)\.(?P<pid>\d+)\.(?P<seq>\d{6,})\.(?P<time>\d{8}T\d{6}-\d{6}Z)\.(?P<inuse>\d+)'
                  r'\.(?P<reason>[\w-]+)\.seep$')


class Entry:
    def __init__(self, folder, match):
        self.path = os.path.join(folder, match.group(0))
        self.name, self.time, self.reason = match.group('name'), match.group('time'), match.group('reason')
        self.pid, self.seq, self.inuse = (int(match.group(k)) for k in ('pid', 'seq', 'inuse'))

    def __repr__(self):
        return '%d/%d %s %d %s' % (self.pid, self.seq, self.time, self.inuse, self.reason)


def series(folder, strict=True):
    """The entries of a series by time; `strict`: nothing else may be there."""
    if not os.path.isdir(folder):
        return []
    found = []
    for name in os.listdir(folder):
        match = NAME.match(name)
        check(match or not strict, name, 'in', folder, 'is no name of an entry')
        if match:
            found.append(Entry(folder, match))
    return sorted(found, key=lambda e: (e.time, e.seq))


def reasons(folder):
    return [e.reason for e in series(folder, strict=False)]


class Commanded:
    """on_command under `seep run` (or, with preload, with the library alone)."""

    def __init__(self, w, *options, preload=None, **more):
        self.w = w
        target = [need_target('on_command')]
        if preload is not None:
            self.process = w.start(target, env=w.tracked_environment(preload), stdin=-1, **more)
        else:
            self.process = w.start([SEEP, 'run', '--no-summary', '--ledger-dir', w.ledgers, '-o', w.file('a.seep'),
                                    *options, '--', *target], stdin=-1, **more)
        self.do('alloc 0 1 1')
        self.pid = self.process.pid if preload is not None else self.child()

    def child(self):
        with open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)) as f:
            children = f.read().split()
        check_equal(len(children), 1, 'processes below seep run')
        return int(children[0])

    def do(self, command):
        """Sends one command, returns the number it answered with."""
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        check(answer[:1] == ['ok'], 'answer to', command, repr(answer))
        return int(answer[1])

    def ledger(self):
        found = []
        for folder, _, names in os.walk(self.w.ledgers):
            found += [os.path.join(folder, n) for n in names if n.startswith('%d.' % self.pid) and
                      n.endswith('.ledger')]
        check_equal(len(found), 1, 'ledgers of process %d' % self.pid)
        return found[0]

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None
        run = self.w.finish(self.process)
        check_equal(run.status, 0, 'status %s' % run.describe())
        return run


def wait_for_reason(folder, reason, times=1):
    wait_for(lambda: sum(r.startswith(reason) for r in reasons(folder)) >= times,
             '%d snapshots for %s in %s: %r' % (times, reason, folder, reasons(folder)), 20)
