# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching again and again, under load, and being killed at it: the target must not feel it.

The figures are printed as TAP comments; docs/ATTACH.md has those of the long version (SEEP_SOAK=1: 1,000 rounds with
each program, 200 kills).
"""
import json
import os
import random
import statistics
import subprocess
import time

from attach_victims import VICTIMS, Java, Nginx, Python, Redis, Storm, kill_family
from harness import SEEP, SOAK, check, check_equal, main, case, wait_for

ROUNDS = int(os.environ.get('SEEP_ATTACH_ROUNDS', 1000 if SOAK else 10))
KILLS = int(os.environ.get('SEEP_ATTACH_KILLS', 40 if SOAK else 2))  # of each of the five
FIRST = 400 if SOAK else 20
MEASURED = 5 if SOAK else 1  # pieces of load before and after
PATIENCE = 4  # so many times as many, when the machine is busy
SLOWER = 1.15  # what a request may cost more afterwards: pieces of load differ by as much


def say(*what):
    print('#', *what, flush=True)


def spread(values):
    ordered = sorted(values)
    return 'median %.1f, 99 %% %.1f, most %.1f' % (
        statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1])


def compared(victim, control):
    """What a request costs and how many are done in a second, as shares of one that is left alone: the best of some."""
    ours, others = [], []
    for _ in range(MEASURED):
        ours.append(victim.measure())
        others.append(control.measure())
    return (min(c for c, _ in ours) / min(c for c, _ in others),
            max(r for _, r in ours) / max(r for _, r in others))


def may_refuse(text):
    """It found no good moment, or the target got no processor for ten seconds; either way nothing was changed."""
    return 'safe point' in text or 'did not finish in time' in text


class Attacher:
    """seep attach and detach of one victim, with what came of it."""

    def __init__(self, w, victim):
        self.w, self.victim = w, victim
        self.stopped, self.total, self.refused = [], [], []

    def attach(self, *options):
        run = self.w.seep('attach', '--inject', '--json', '--ledger-dir=' + self.w.ledgers, *options, str(self.victim.pid))
        check(not self.victim.alive(), self.victim.name, self.victim.alive(), run.describe())
        if run.status:
            check(may_refuse(run.stderr), 'seep attach', run.describe())
            self.refused.append(run.stderr)
            return None
        said = json.loads(run.stdout)
        check_equal(said['path'], 'inject', 'path')
        self.stopped.append(said['stopped_ns'] / 1e6)
        self.total.append(said['total_ns'] / 1e6)
        return said['ledger']

    def detach(self):
        for _ in range(20):
            run = self.w.seep('detach', str(self.victim.pid))
            check(not self.victim.alive(), self.victim.name, self.victim.alive(), run.describe())
            if not run.status:
                return
            check(may_refuse(run.stderr), 'seep detach', run.describe())
            self.refused.append(run.stderr)
        check(False, 'seep detach found no safe point in 20 times', run.describe())


def cycles(w, kind):
    victim, control = kind(w), kind(w)
    cost, rate = compared(victim, control)
    attacher = Attacher(w, victim)
    begin, seen, first, done = time.monotonic(), 0, None, 0
    for i in range(ROUNDS):
        if i == 2:  # tables of the C library's and ours that grow once have grown
            victim.end_load()
            first = victim.leftovers()
        if not victim.loading:
            victim.begin_load()
        ledger = attacher.attach('--full' if i % 2 else '--sample=64K')
        if not ledger:
            continue
        done += 1
        if i % 20 == 5:
            wait_for(lambda: w.report(ledger).totals().allocs > 0, 'an event in the ledger')
            seen += 1
        attacher.detach()
        os.unlink(ledger)
        check_equal(victim.failed, 0, 'failed requests of %s in round %d, %s' % (victim.name, i, victim.said))
    victim.end_load()
    seconds = time.monotonic() - begin
    check_equal(victim.failed, 0, 'failed requests of %s, %s' % (victim.name, victim.said))
    check(victim.served(), victim.name, 'does not answer')
    last = victim.leftovers()
    # What it cost before, or what one costs that nobody touched: a piece of load is short, and a JVM compiles meanwhile.
    allowed = max(cost, 1) * SLOWER
    for _ in range(PATIENCE if SOAK else 1):
        cost_after, rate_after = compared(victim, control)
        if cost_after < allowed:
            break
    say('%s: %d rounds in %.0f s, %d refused; %d requests meanwhile, none failed' % (
        victim.name, done, seconds, len(attacher.refused), victim.requests))
    say('%s: stopped for ms: %s; attach took ms: %s' % (victim.name, spread(attacher.stopped), spread(attacher.total)))
    say('%s: afterwards a request costs %.3f of the CPU time it cost before, %.3f as many are done in a second' % (
        victim.name, cost_after / cost, rate_after / rate))
    say('%s: left after two rounds %s, after all %s' % (victim.name, first, last))
    check(len(attacher.refused) <= ROUNDS // 50, 'refused too often:', attacher.refused[:3])
    check(seen or ROUNDS < 6, 'no ledger was looked at')
    check_equal(last['ours'], 0, 'ledgers still mapped')
    check(last['files'] <= first['files'] + 4, 'files', first, last)
    check(last['threads'] <= first['threads'] + 4, 'threads', first, last)
    check(last['mappings'] <= first['mappings'] * 1.2 + 40, 'mappings', first, last)
    # What takes how long is for a machine that does nothing else: elsewhere it is said above, and no more.
    if SOAK:
        busy = max(1.0, os.getloadavg()[0] / os.cpu_count())
        check(statistics.median(attacher.stopped) < 50 * busy, 'it stood still for ms:', spread(attacher.stopped))
        check(cost_after < allowed, 'a request costs', cost_after, 'after', cost)


@case
def redis_again_and_again(w):
    cycles(w, Redis)


@case
def nginx_again_and_again(w):
    cycles(w, Nginx)


@case
def python_again_and_again(w):
    cycles(w, Python)


@case
def exceptions_and_dlopen_again_and_again(w):
    cycles(w, Storm)


@case
def libraries_come_and_go_at_the_first_attach(w):
    """What a tracker finds out once for each process, it finds out here again and again: fresh ones, that load and unload."""
    for _ in range(FIRST):
        victim = Storm(w)
        attacher = Attacher(w, victim)
        check(victim.served(), 'all its threads are at it')
        if attacher.attach('--full'):
            attacher.detach()
        check(victim.served(), 'it goes on')
        victim.process.kill()
        w.finish(victim.process)
        check(len(attacher.refused) <= 1, attacher.refused)
    say('%d processes attached to for the first time' % FIRST)


@case
def java_again_and_again(w):
    cycles(w, Java)


def kills(w, kind):
    """seep dies of -9 somewhere between its first instruction and its last."""
    victim, chance = kind(w), random.Random(int(os.environ.get('SEEP_SEED', 1)))
    attacher = Attacher(w, victim)
    victim.begin_load()
    start = time.monotonic()
    ledger = wait_for(attacher.attach, 'a first attach')
    usual = time.monotonic() - start
    attacher.detach()
    os.unlink(ledger)
    came_through = 0
    for i in range(KILLS):
        seep = subprocess.Popen([SEEP, 'attach', '--ledger-dir=' + w.ledgers, '--full', str(victim.pid)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Anywhere, even a little after the end; half of the time the process that traces dies as well.
        time.sleep(chance.random() * usual * 1.1)
        if i % 2:
            kill_family(seep.pid)
        else:
            seep.kill()
        came_through += seep.wait() == 0
        wait_for(lambda: not victim.alive(), '%s to run: %s' % (victim.name, victim.alive()), 20)
        check(victim.served(), victim.name, 'does not answer after kill', i)
        check_equal(victim.failed, 0, 'failed requests of %s after kill %d, %s' % (victim.name, i, victim.said))
        # What seep had begun may be finished by the process that traces; then it can be taken back.
        settle(w, victim)
        for name in os.listdir(w.ledgers):
            os.unlink(os.path.join(w.ledgers, name))
    victim.end_load()
    check_equal(victim.failed, 0, 'failed requests of %s, %s' % (victim.name, victim.said))
    ledger = wait_for(lambda: attacher.attach('--full'), 'an attach at the end')
    wait_for(lambda: victim.served() and w.report(ledger).totals().allocs > 0, 'an event in the ledger')
    attacher.detach()
    check(victim.served(), victim.name, 'does not answer at the end')
    say('%s: killed %d times, %d of them too late; %d requests meanwhile, none failed' % (
        victim.name, KILLS, came_through, victim.requests))


def at_work(w):
    """Processes of a seep attach of this workspace, but for those that watch once it is done."""
    for name in os.listdir('/proc'):
        try:
            with open('/proc/%s/cmdline' % name, 'rb') as f, open('/proc/%s/comm' % name) as comm:
                if (name.isdigit() and ('--ledger-dir=' + w.ledgers).encode() in f.read().split(b'\0') and
                        comm.read() != 'seep-watch\n'):
                    yield int(name)
        except OSError:
            pass


def settle(w, victim):
    """Detached, whether it was attached or not."""
    wait_for(lambda: not list(at_work(w)), 'the process that traces to end')

    def attempt():
        run = w.seep('detach', str(victim.pid))
        check(not victim.alive() or 'stopped' in victim.alive(), victim.name, victim.alive(), run.describe())
        return run.status == 0 or 'is not attached to' in run.stderr
    wait_for(attempt, '%s to be detached' % victim.name, 60)


@case
def killed_while_attaching(w):
    for kind in (Redis, Nginx, Python, Storm):
        kills(w, kind)


@case
def killed_while_attaching_to_java(w):
    kills(w, Java)


if __name__ == '__main__':
    assert len(VICTIMS) == 5
    main()
