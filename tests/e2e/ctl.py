# SPDX-License-Identifier: Apache-2.0
"""`seep ctl`: every change takes effect at a thread's next allocation, nothing is weighed by settings it was not chosen
under, frees are seen whatever is in force, and only the right ledgers are written to."""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from commands import Commanded  # noqa: E402
from harness import check, check_between, check_equal, case, main, need_root  # noqa: E402

MB = 1 << 20


def ctl(w, c, *settings, status=0):
    run = w.seep('ctl', '--json', '--wait=0', c if isinstance(c, str) else c.ledger(), *settings)
    check_equal(run.status, status, 'status of seep ctl %r %s' % (settings, run.describe()))
    return json.loads(run.stdout) if not status else run.stderr


def blocks(w, c, phase):
    return w.report(c.ledger()).values('phase_%d' % phase)


@case
def shows_the_state(w):
    c = Commanded(w, preload='')
    notes = w.report(c.ledger()).data['notes']
    check('attached' not in [n['code'] for n in notes], 'nothing is missing', notes)
    state = ctl(w, c)
    check_equal((state['pid'], state['state'], state['active'], state['sample']), (c.pid, 'active', True, None), 'state')
    check_equal((state['threads'], state['threads_taken'], state['taken']), (1, 1, True), 'threads')
    run = w.seep('ctl', c.ledger())
    check_equal(run.stdout, 'process %d: active; records every block\n' % c.pid, 'text')
    c.end()
    state = ctl(w, w.ledger(c.pid))
    check_equal(state['state'], 'ended', 'state')


@case
def off_and_on_again(w):
    c = Commanded(w, preload='')
    c.do('alloc 1 100 50')
    ctl(w, c, 'active=off')
    c.do('alloc 2 100 50')
    check_equal(blocks(w, c, 1).inuse, 100, 'recorded before')
    check_equal(blocks(w, c, 2).allocs, 0, 'allocated while it was off')
    c.do('free 1')
    v = blocks(w, c, 1)
    check_equal((v.inuse, v.frees), (0, 100), 'frees are seen')
    state = ctl(w, c, 'active=on')
    check_equal(state['taken'], False, 'nothing was allocated since')
    c.do('alloc 3 1 50')    # the very first one
    check_equal(blocks(w, c, 3).allocs, 1, 'the next allocation')
    check_equal(ctl(w, c)['taken'], True, 'taken')
    c.do('free 2')
    c.do('alloc 3 99 50')
    check_equal(blocks(w, c, 3).inuse, 100, 'all since')
    report = w.report(c.ledger())
    check(not report.losses.get('unmatched_free'), 'frees of what was not recorded are no loss', report.losses)
    check('attached' in [n['code'] for n in report.data['notes']], 'the report says what is not in it', report.data['notes'])
    c.end()


@case
def started_inactive(w):
    c = Commanded(w, '--inactive')
    c.do('alloc 1 1000 1000')
    check_equal(w.report(c.ledger()).totals().allocs, 0, 'nothing is recorded')
    state = ctl(w, c)
    check_equal((state['state'], state['active']), ('inactive', False), 'state')
    listed = w.seep('ps', '--ledger-dir', w.ledgers).stdout.splitlines()
    check('off' in listed[1].split(), 'seep ps', listed)
    ctl(w, c, 'active=on')
    c.do('alloc 2 10 10')
    c.do('free 1')
    check_equal(blocks(w, c, 2).inuse, 10, 'recorded')
    # A child goes on as its parent was told to.
    c.do('fork')
    c.do('alloc 3 7 7')
    c.end()
    check_equal(w.report(w.file('a.seep')).values('phase_3').inuse, 7, 'in the child')


@case
def from_full_to_samples(w):
    c = Commanded(w, preload='')
    c.do('alloc 1 1000 16')
    state = ctl(w, c, 'sample=1G')
    check_equal(state['sample'], 1 << 30, 'period')
    # One of these recorded with the weight of a sample would count for a gigabyte.
    c.do('alloc 2 100 16')
    check_equal(blocks(w, c, 2).alloc_bytes, 0, 'small blocks after the switch')
    c.do('grow 1 32')    # realloc is a free and an allocation
    v = blocks(w, c, 1)
    check_equal((v.inuse, v.frees), (0, 1000), 'reallocated')
    ctl(w, c, 'sample=full')
    c.do('alloc 0 1 1')
    c.do('alloc 3 100 16')
    check_equal(blocks(w, c, 3).inuse, 100, 'all again')
    c.do('free 3')
    check_equal(blocks(w, c, 3).inuse, 0, 'freed')
    c.end()


@case
def samples_are_freed_whatever_is_in_force(w):
    c = Commanded(w, preload='sample=4096,seed=7')
    c.do('alloc 1 4000 1000')
    c.do('alloc 2 4000 1000')
    before = blocks(w, c, 1)
    check_between(before.inuse_bytes, 3.4e6, 4.6e6, 'estimate of 4 MB')
    ctl(w, c, 'sample=full')
    c.do('alloc 0 1 1')
    c.do('free 1')
    v = blocks(w, c, 1)
    check_equal((v.inuse_bytes, v.free_bytes), (0, before.alloc_bytes), 'freed while every block is recorded')
    ctl(w, c, 'active=off')
    c.do('alloc 0 1 1')
    c.do('free 2')
    check_equal(blocks(w, c, 2).inuse_bytes, 0, 'freed while it is off')
    c.end()


@case
def unbiased_over_changes(w):
    """Two hundred changes, each in the middle of a stretch of small blocks: the sum is what was allocated."""
    c = Commanded(w, preload='seed=11')
    settings = ['sample=16K', 'sample=256K', 'active=off', 'active=on', 'sample=full', 'sample=4K', 'sample=64K']
    truth, active = 0, True
    for i in range(210):
        change = settings[i % len(settings)]
        ctl(w, c, change)
        active = {'active=off': False, 'active=on': True}.get(change, active)
        phase = 1 if active else 2
        before = c.do('alloc %d 300 1000' % phase)
        truth += 300 * 1000 * active
        if before > 3000:
            c.do('free %d' % phase)
    v = blocks(w, c, 1)
    width = v.squares ** 0.5 / 1.96    # one standard deviation
    check_between(v.alloc_bytes, truth - 4 * width, truth + 4 * width, 'estimate of %d, sd %d' % (truth, width))
    check(width < truth * 0.05, 'the estimate says something', width, truth)
    check_equal(blocks(w, c, 2).alloc_bytes, 0, 'while it was off')
    c.do('free 1')
    check_equal(blocks(w, c, 1).inuse_bytes, 0, 'all of it freed')
    c.end()


@case
def each_thread_by_itself(w):
    c = Commanded(w, preload='')
    c.do('@ alloc 1 10 10')
    state = ctl(w, c, 'active=off')
    check_equal((state['threads'], state['threads_taken']), (2, 0), 'two that sleep')
    c.do('alloc 2 10 10')
    state = ctl(w, c)
    check_equal((state['threads_taken'], state['taken']), (1, True), 'one has allocated')
    run = w.seep('ctl', c.ledger(), 'active=on')
    check('active; records every block' in run.stdout and 'next allocation' in run.stdout, 'text', run.stdout)
    # The other never saw that it was off.
    c.do('@ alloc 3 10 10')
    check_equal((blocks(w, c, 2).inuse, blocks(w, c, 3).inuse), (0, 10), 'recorded')
    c.end()


@case
def more_periods_than_there_is_room_for(w):
    c = Commanded(w, preload='sample=1000')
    for i in range(80):
        ctl(w, c, 'sample=%d' % (100000 + 1000 * i))
        c.do('alloc 1 1 100')
        c.do('alloc 0 1 1')
    # Not one of them in full, although the list of periods is.
    report = w.report(c.ledger())
    check(report.sampled, 'still sampling')
    check(report.values('phase_1').inuse < 80000, 'estimate', report.values('phase_1').inuse)
    ctl(w, c, 'sample=full')
    c.do('alloc 0 1 1')
    c.do('alloc 2 10 10')
    check_equal(blocks(w, c, 2).inuse, 10, 'every block')
    c.end()


@case
def by_seep_run_and_by_pid(w):
    c = Commanded(w, '--sample=64M')
    run = w.seep('ctl', str(c.pid), 'sample=full')
    check_equal(run.status, 0, 'status %s' % run.describe())
    c.do('alloc 0 1 1')
    c.do('alloc 1 10 10')
    check_equal(blocks(w, c, 1).inuse, 10, 'recorded')
    c.end()


@case
def mappings_too(w):
    c = Commanded(w, preload='active=0')
    before = w.report(c.ledger()).totals('mmap').alloc_bytes
    c.do('map 1000000')
    check_equal(w.report(c.ledger()).totals('mmap').alloc_bytes, before, 'while it is off')
    ctl(w, c, 'active=on')
    c.do('map 1000000')    # nothing else was allocated in between
    check_between(w.report(c.ledger()).totals('mmap').alloc_bytes - before, 1000000, 1003520, 'the next one')
    c.end()


@case
def mistakes_are_told(w):
    c = Commanded(w, preload='')
    for settings, words in ((['active=maybe'], 'on or off'), (['sample=0'], 'wanted a size'),
                            (['sample=x'], 'wanted a size'), (['colour=red'], 'active=on')):
        error = ctl(w, c, *settings, status=2)
        check(words in error, settings, error)
    check_equal(ctl(w, c)['generation'], 1, 'nothing was changed')
    c.end()
    check('has ended' in ctl(w, w.ledger(c.pid), 'active=on', status=2), 'a process that has ended')
    check('no process' in ctl(w, '2147483000', status=2), 'no such process')
    run = w.seep('ctl')
    check_equal(run.status, 2, 'no operand')


@case
def hostile_ledgers(w):
    c = Commanded(w, preload='')
    real = c.ledger()
    link, hard, fifo, short, wild = (w.file(n) for n in ('link.ledger', 'hard.ledger', 'fifo.ledger', 'short.ledger',
                                                         'wild.ledger'))
    os.symlink(real, link)
    ctl(w, link, 'active=off', status=2)
    with open(real, 'rb') as f:
        head = bytearray(f.read(8192))
    os.mkfifo(fifo)
    ctl(w, fifo, 'active=off', status=2)
    for size in (0, 100, 4096, 8191, 8192):
        with open(short, 'wb') as f:
            f.write(head[:size])
        ctl(w, short, 'active=off', status=2)
        check_equal(os.path.getsize(short), size, 'the file is as it was')
    with open(wild, 'wb') as f:
        f.write(b'root:x:0:0' * 1000)
    ctl(w, wild, 'active=off', status=2)
    check_equal(open(wild, 'rb').read(), b'root:x:0:0' * 1000, 'a file that is no ledger')
    os.link(real, hard)
    check('more than one name' in ctl(w, hard, 'active=off', status=2), 'a second name')
    os.unlink(hard)
    check_equal(ctl(w, c)['generation'], 1, 'nothing was changed')
    # A copy names a process that runs, but that one does not write it.
    copy = w.file('copy.ledger')
    w.bare(['cp', '--sparse=always', real, copy])
    ctl(w, copy, 'active=off', status=2)
    c.end()


@case
def whose_it_is(w):
    need_root()
    c = Commanded(w, preload='')
    os.chmod(w.path, 0o711)
    os.chmod(w.ledgers, 0o711)
    path = c.ledger()

    def other():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    run = w.seep('ctl', path, 'active=off', preexec_fn=other)
    check_equal(run.status, 2, 'status as another user %s' % run.describe())
    os.chmod(path, 0o666)    # even where the file system would let it
    run = w.seep('ctl', path, 'active=off', preexec_fn=other)
    check_equal(run.status, 2, 'status %s' % run.describe())
    check('does not belong to you' in run.stderr, 'why', run.stderr)
    # Root believes no ledger that says it is somebody else's than its file.
    os.chown(path, 65534, 65534)
    check('does not belong' in ctl(w, path, 'active=off', status=2), 'a file of another user')
    os.chown(path, 0, 0)
    check_equal(ctl(w, c)['generation'], 1, 'nothing was changed')
    c.end()


@case
def settings_that_nobody_would_make(w):
    """Whatever stands in the control word, the target goes on."""
    c = Commanded(w, preload='')
    generation = 1
    for active, mode, period in ((7, 9, 0), (1, 1, 1), (1, 1, 0), (1, 1, (1 << 64) - 1), (1, 1, 1 << 63), (0, 77, 5),
                                 (1 << 31, 1, 3), (1, 0, 1 << 40)):
        generation += 0x10000001
        with open(c.ledger(), 'r+b') as f:
            f.seek(4096)
            f.write(struct.pack('<IIQI', active, mode, period, generation % (1 << 32)))
        c.do('alloc 1 100 100')
        c.do('@ alloc 2 100 100')
        c.do('free 1')
        c.do('grow 2 200')
        w.report(c.ledger())
        ctl(w, c)
    ctl(w, c, 'active=on', 'sample=full')
    c.do('alloc 0 1 1')
    c.do('alloc 3 10 10')
    check_equal(blocks(w, c, 3).inuse, 10, 'and works again')
    check_equal(c.do('free 2') > 0, True, 'alive')
    c.end()


main()
