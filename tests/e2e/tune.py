# SPDX-License-Identifier: Apache-2.0
"""seep tune: what parameters do is measured, what they were is put back; and trim and tune of other allocators.

Whether a threshold has an effect shows in the memory that stays after the same amount was taken and freed.
"""
import json
import os
import re
import subprocess

from harness import (SEEP, case, check, check_between, check_equal, main, need_root, need_target, wait_for,
                     waits_for_input)

MB = 1 << 20


def rss(pid):
    with open('/proc/%d/smaps_rollup' % pid) as f:
        return [int(line.split()[1]) * 1024 for line in f if line.startswith('Rss:')][0]


def tune(w, pid, *words, status=0):
    run = w.seep('tune', '--json', str(pid), *words)
    check_equal(run.status, status, 'status of seep tune %s' % run.describe())
    return json.loads(run.stdout) if status == 0 else run


def values(t, allocator='glibc'):
    return {p['name']: p['value'] for p in t['parameters'] if p['allocator'] == allocator}


def hold(w, target, *args):
    process = w.start([need_target(target), *args], stdin=subprocess.PIPE)
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    return process


def after_round(process):
    process.stdin.write('round\n')
    process.stdin.flush()
    check_equal(process.stdout.readline(), 'round\n', 'answer')
    return rss(process.pid)


def state_files(pid):
    folder = '/dev/shm/seep-%d' % os.geteuid()
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, n) for n in names if n.startswith('tune-%d-' % pid)]


def thresholds(w, target):
    """As in a server after its first large buffer: both thresholds have risen, and 32 MB stay in memory."""
    process = hold(w, target, 'rounds', '32')
    before = values(tune(w, process.pid))
    # A mapped block of 31 MB was freed: one page more than that, and twice as much.
    check_equal(before['mmap_threshold'], 31 * MB + 4096, 'mmap_threshold')
    check_equal(before['trim_threshold'], 62 * MB + 8192, 'trim_threshold')
    check_equal((before['dyn_threshold'], before['top_pad'], before['mmap_max']), (True, 131072, 65536), 'others')
    check(after_round(process) > 30 * MB, 'memory after a round', rss(process.pid))

    t = tune(w, process.pid, 'trim_threshold=128K')
    check_equal([(p['name'], p['before'], p['value']) for p in t['parameters'] if p['changed']],
                [('trim_threshold', 62 * MB + 8192, 131072), ('dyn_threshold', True, False)], 'changes')
    check_equal(t['environment'], ['GLIBC_TUNABLES=glibc.malloc.trim_threshold=131072'], 'environment')
    check(after_round(process) < 4 * MB, 'memory after a round', rss(process.pid))
    files = state_files(process.pid)
    check_equal(len(files), 1, 'files of what was before')
    check_equal(os.stat(files[0]).st_mode & 0o777, 0o600, 'its mode')

    # The second change does not make the first one's value the one to go back to.
    tune(w, process.pid, 'trim-threshold=1M', 'tcache-count=3')
    check_equal(values(tune(w, process.pid))['tcache_count'], 3, 'tcache_count')
    tune(w, process.pid, '--undo')
    check_equal(values(tune(w, process.pid)), before, 'after undoing')
    check_equal(state_files(process.pid), [], 'files of what was before')
    check(after_round(process) > 30 * MB, 'memory after a round', rss(process.pid))
    check('nothing' in tune(w, process.pid, '--undo', status=2).stderr, 'undoing twice')
    w.release(process)


@case
def thresholds_that_have_risen(w):
    thresholds(w, 'trim_hold')


@case
def thresholds_static_and_stripped(w):
    thresholds(w, 'trim_hold_stripped')


@case
def what_it_says_can_be_put_into_the_environment(w):
    process = hold(w, 'trim_hold', 'rounds', '32')
    line = tune(w, process.pid, 'trim_threshold=131072', 'mmap_threshold=131072')['environment'][0]
    w.release(process)
    name, value = line.split('=', 1)
    process = w.start([need_target('trim_hold'), 'rounds', '32'], stdin=subprocess.PIPE,
                      env=dict(os.environ, **{name: value}))
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    found = values(tune(w, process.pid))
    check_equal((found['trim_threshold'], found['mmap_threshold'], found['dyn_threshold']), (131072, 131072, False),
                'thresholds of a process started with ' + line)
    check(after_round(process) < 4 * MB, 'memory after a round', rss(process.pid))
    w.release(process)


@case
def arenas(w):
    """arena_max counts until the ninth arena: here there are five, and then there may be no sixth."""
    process = hold(w, 'trim_hold', 'tops', '1', '4')
    t = tune(w, process.pid, 'arena_max=5')
    check_equal((t['arenas'], values(t)['arena_max']), (5, 5), 'arenas')
    check(not [p['note'] for p in t['parameters'] if p['name'] == 'arena_max' and p['note']], 'a note')
    w.release(process)
    process = hold(w, 'trim_hold', 'tops', '1', '12')
    t = tune(w, process.pid, 'arena_max=2')
    if t['arenas'] > 8:
        note = [p['note'] for p in t['parameters'] if p['name'] == 'arena_max'][0]
        check(note and 'no effect' in note, note)
    w.release(process)


@case
def wishes_that_make_no_sense(w):
    process = hold(w, 'trim_hold', 'rounds', '1')
    before = values(tune(w, process.pid))
    for words in (['trim_threshold'], ['trim_threshold='], ['=1'], ['trim_threshold=abc'], ['trim_threshold=-1'],
                  ['no_such=1'], ['mmap_threshold=33M'], ['mmap_threshold=never'], ['dyn_threshold=maybe'],
                  ['tcache_count=70000'], ['arena_max=5000000'],
                  # the first is fine, the second not: neither is done
                  ['trim_threshold=1M', 'arena_max=x'], ['--undo', 'trim_threshold=1M']):
        run = tune(w, process.pid, *words, status=2)
        check(run.stderr.startswith('seep tune: '), words, run.describe())
    check_equal(values(tune(w, process.pid)), before, 'parameters')
    check_equal(state_files(process.pid), [], 'files of what was before')
    w.release(process)
    check_equal(w.seep('tune').status, 2, 'status of seep tune')
    check_equal(w.seep('tune', 'no-such-program-anywhere').status, 2, 'status of no such process')


@case
def a_damaged_file_of_what_was_before(w):
    process = hold(w, 'trim_hold', 'rounds', '1')
    tune(w, process.pid, 'top_pad=64K')
    path = state_files(process.pid)[0]
    for text in ('', 'seep tune 2\n', 'seep tune 1\nglibc trim_threshold\n', 'seep tune 1\nglibc top_pad 1 0',
                 'x' * 100000):
        with open(path, 'w') as f:
            f.write(text)
        run = tune(w, process.pid, '--undo', status=2)
        check('tune-%d' % process.pid in run.stderr, run.describe())
        check_equal(values(tune(w, process.pid))['top_pad'], 65536, 'top_pad')
    os.unlink(path)
    os.symlink('/etc/passwd', path)
    tune(w, process.pid, '--undo', status=2)
    os.unlink(path)
    # One whose process has ended goes away by itself.
    left = re.sub(r'tune-\d+-\d+', 'tune-%d-1' % process.pid, path)
    with open(left, 'w') as f:
        f.write('seep tune 1\n')
    tune(w, process.pid)
    check(not os.path.exists(left), left, 'is still there')
    w.release(process)


@case
def without_permission(w):
    need_root()
    process = hold(w, 'trim_hold', 'rounds', '1')
    for words in ([], ['trim_threshold=1M']):
        run = w.bare([SEEP, 'tune', str(process.pid), *words], user=65534, group=65534)
        check_equal(run.status, 2, run.describe())
    w.release(process)


# ---- allocators with functions for it ----------------------------------------------------------


class Speaker:
    """A doctor_* target answers a letter with a line (tests/targets/doctor_allocator.h)."""

    def __init__(self, w, name, shape):
        self.process = w.start([need_target(name), shape, '40'], stdin=subprocess.PIPE)
        self.pid = self.process.pid
        while '"ready"' not in self.line():
            pass
        wait_for(lambda: waits_for_input(self.pid), name + ' to wait')

    def line(self):
        line = self.process.stdout.readline()
        check(line, 'the target ended', self.process.poll())
        return line

    def quit(self, w):
        self.process.stdin.write('q')
        self.process.stdin.flush()
        check_equal(w.finish(self.process).status, 0, 'status of the target')


def release_and_options(w, target, shape, allocator, name, value, number, returned, exact):
    speaker = Speaker(w, target, shape)
    before = rss(speaker.pid)
    run = w.seep('trim', '--json', '--wait', '60s', '--allocator', allocator, str(speaker.pid))
    check_equal(run.status, 0, run.describe())
    t = json.loads(run.stdout)
    part = t['allocators'][0]
    check_equal((part['allocator'], part['how'], part['problem']), (allocator, 'release', None), 'what was done')
    check_between(before - rss(speaker.pid), part['returned_bytes'] - 2 * MB, part['returned_bytes'] + 2 * MB, 'RSS')
    check(part['returned_bytes'] >= returned, 'returned', part['returned_bytes'])
    if exact:
        check_between(part['predicted_bytes'], 0.98 * part['returned_bytes'], 1.02 * part['returned_bytes'], 'predicted')
    old = values(tune(w, speaker.pid), allocator)
    t = tune(w, speaker.pid, '%s=%s' % (name, value))
    check_equal(values(t, allocator)[name], number, name)
    check(len(t['environment']) == 1, t['environment'])
    check_equal(values(tune(w, speaker.pid), allocator)[name], number, name)
    tune(w, speaker.pid, '--undo')
    check_equal(values(tune(w, speaker.pid), allocator), old, 'after undoing')
    speaker.quit(w)


@case
def jemalloc(w):
    release_and_options(w, 'doctor_jemalloc', 'dirty', 'jemalloc', 'dirty-decay-ms', '20s', 20000, 35 * MB, True)


@case
def gperftools(w):
    # What it calls free it need not have touched yet: the prediction is a little too high.
    release_and_options(w, 'doctor_tcmalloc', 'pageheap', 'gperftools', 'release-rate', '7', 7, 30 * MB, False)


@case
def mimalloc(w):
    # Other versions give back at their own time, asked or not.
    release_and_options(w, 'doctor_mimalloc', 'retention', 'mimalloc', 'purge-delay-ms', '50', 50, 0, False)


main()
