# SPDX-License-Identifier: Apache-2.0
"""`seep run`: passes the target's status through, forwards signals, follows children, writes what -o
says, and refuses clearly what it cannot do."""
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import termios

from harness import (SEEP, case, check, check_equal, main, need_program, need_root, need_target,
                     wait_for)


@case
def status_passes_through(w):
    for status in (0, 1, 2, 7, 42, 127, 255):
        run = w.seep('run', '-o', w.file('a.seep'), '--', '/bin/sh', '-c', 'exit %d' % status)
        check_equal(run.status, status, 'status %s' % run.describe())


@case
def death_by_signal_passes_through(w):
    for name in ('KILL', 'SEGV', 'TERM', 'ABRT'):
        run = w.seep('run', '-o', w.file('a.seep'), '--', '/bin/sh', '-c', 'kill -%s $$' % name)
        check_equal(run.status, 128 + getattr(signal, 'SIG' + name), 'status %s' % run.describe())


@case
def output_of_the_target_is_untouched(w):
    script = 'printf "out\\0put"; printf err >&2; cat'
    bare = w.finish(w.start(['/bin/sh', '-c', script], stdin=-1), stdin='in put')
    tracked = w.finish(w.start([SEEP, 'run', '-o', w.file('a.seep'), '--', '/bin/sh', '-c', script],
                               stdin=-1), stdin='in put')
    check_equal(tracked.stdout, bare.stdout, 'stdout')
    check(tracked.stderr.startswith('err') or 'err' in tracked.stderr, 'stderr', tracked.stderr)


@case
def signals_are_forwarded(w):
    script = 'trap "echo got TERM; exit 33" TERM; echo ready; while :; do read x; done'
    process = w.start([SEEP, 'run', '-o', w.file('a.seep'), '--', '/bin/sh', '-c', script], stdin=-1)
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    process.send_signal(signal.SIGTERM)
    process.stdin.write('\n')
    process.stdin.flush()
    run = w.finish(process)
    check_equal((run.status, run.stdout), (33, 'got TERM\n'), 'status and output %s' % run.describe())


@case
def a_snapshot_is_written(w):
    output = w.file('a.seep')
    run = w.seep('run', '-o', output, '--', need_target('leak_simple'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    truth = run.truth()['sites']['leak_here']
    check_equal(w.report(output).values('leak_here').as_truth(), truth, 'what the snapshot says')


@case
def the_default_output_is_beside_you(w):
    run = w.seep('run', '--', need_target('leak_simple'), cwd=w.path)
    check_equal(run.status, 0, 'status %s' % run.describe())
    files = [f for f in os.listdir(w.path) if f.endswith('.seep')]
    check_equal(len(files), 1, 'snapshots in the working directory: %r' % os.listdir(w.path))
    check(files[0] in run.stderr, 'the summary names the file', run.stderr)


@case
def no_ledger_is_left_behind(w):
    standard = '/dev/shm/seep-%d' % os.getuid()

    def ledgers():
        return {os.path.join(d, f) for d, _, files in os.walk(standard) for f in files}

    before = ledgers()
    run = w.seep('run', '-o', w.file('a.seep'), '--', need_target('fork_exec'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    mine = {p for p in ledgers() - before
            if any('/%d.' % t['pid'] in p for ts in run.truths.values() for t in ts)}
    check_equal(mine, set(), 'ledgers left behind')


@case
def children_are_followed(w):
    run = w.seep('run', '-o', w.file('a.seep'), '--', need_target('fork_exec'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.file('a.seep'))
    found = {site: report.values(site).allocs for site in ('in_parent', 'in_program')}
    check_equal(found, {'in_parent': 23, 'in_program': 15}, 'allocations over all processes')


@case
def each_process_in_a_file_of_its_own(w):
    folder = w.file('snapshots/')
    run = w.seep('run', '-o', folder, '--', need_target('fork_exec'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    files = [f for f in os.listdir(folder) if f.endswith('.seep')]
    check(len(files) >= 4, 'one for the parent and each program', files)
    found = sorted((report.values('in_parent').allocs, report.values('in_program').allocs)
                   for report in (w.report(os.path.join(folder, f)) for f in files))
    check_equal([f for f in found if f != (0, 0)], [(0, 5), (0, 5), (0, 5), (23, 0)], 'allocations in each')


@case
def children_are_left_alone_when_asked(w):
    run = w.seep('run', '--no-follow', '-o', w.file('a.seep'), '--', need_target('fork_exec'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.file('a.seep'))
    found = {site: report.values(site).allocs for site in ('in_parent', 'in_program')}
    check_equal(found, {'in_parent': 23, 'in_program': 0}, 'allocations')


@case
def an_existing_preload_is_kept(w):
    library = need_program('gcc')
    source = w.file('mark.c')
    with open(source, 'w') as f:
        f.write('#include <unistd.h>\n__attribute__((constructor)) static void mark(void)\n'
                '{ if (write(1, "marked\\n", 7)) return; }\n')
    library = w.file('mark.so')
    built = w.bare(['gcc', '-shared', '-fPIC', '-o', library, source])
    check_equal(built.status, 0, built.stderr)
    env = dict(os.environ, LD_PRELOAD=library)
    run = w.seep('run', '-o', w.file('a.seep'), '--', need_target('leak_simple'), env=env)
    check('marked' in run.stdout, 'the user\'s own library was loaded', run.describe())
    check_equal(w.report(w.file('a.seep')).values('leak_here').allocs, 100, 'and ours too')


def refused(run, status, *words):
    """126 and 127 are what a shell, env and timeout say of a command that cannot be run."""
    check_equal(run.status, status, 'status %s' % run.describe())
    check(run.stderr.startswith('seep run:') or 'seep run:' in run.stderr, 'who says it', run.stderr)
    for word in words:
        check(word in run.stderr, 'the message says', repr(word), 'in', repr(run.stderr))


@case
def a_missing_command(w):
    refused(w.seep('run', '--', '/no/such/program'), 127, '/no/such/program', 'No such file')
    refused(w.seep('run', '--', 'no-such-program-anywhere'), 127, 'no-such-program-anywhere')


@case
def no_command_at_all(w):
    run = w.seep('run')
    check_equal(run.status, 2, 'status %s' % run.describe())
    check(run.stderr, 'and it says why')


@case
def a_file_that_is_no_program(w):
    path = w.file('notes.txt')
    with open(path, 'w') as f:
        f.write('just text\n')
    refused(w.seep('run', '--', path), 126, path, 'Permission denied')


@case
def a_folder(w):
    refused(w.seep('run', '--', w.path), 126, w.path)


@case
def a_static_program(w):
    run = w.seep('run', '-o', w.file('a.seep'), '--', need_target('static_program'))
    check('static' in run.stderr, 'it says that a preload cannot see it', run.describe())
    check(run.status in (0, 2), 'status', run.describe())
    if run.status == 0:
        check_equal(run.truth()['sites']['unseen']['allocs'], 1, 'the program ran as ever')


@case
def a_setuid_program(w):
    need_root()
    # Where setuid bits count: /dev/shm is often mounted nosuid, and then the kernel ignores them.
    path = os.path.join('/var/tmp', 'seep-setuid-%d' % os.getpid())
    shutil.copy(need_target('leak_simple'), path)
    w.undo.append(lambda: os.unlink(path))
    os.chown(path, 1, 1)
    os.chmod(path, 0o6755)
    run = w.seep('run', '-o', w.file('a.seep'), '--', path)
    check(run.status in (0, 2), 'status', run.describe())
    if run.status == 0:
        check_equal(run.truth()['sites']['leak_here']['allocs'], 100, 'the program ran as ever')
    check('set' in run.stderr.lower() and 'uid' in run.stderr.lower(), 'it says why nothing was seen',
          run.describe())


@case
def an_output_that_cannot_be_written(w):
    run = w.seep('run', '-o', '/no/such/folder/a.seep', '--', '/bin/sh', '-c', 'exit 5')
    check('/no/such/folder' in run.stderr, 'it says so', run.describe())
    check(run.status in (2, 5), 'status', run.describe())


@case
def sampled_says_so(w):
    run = w.seep('run', '--sample', '64K', '-o', w.file('a.seep'), '--', need_target('sample_sites'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.file('a.seep'))
    check(report.sampled, 'the report says that it is an estimate')
    check_equal(report.period, 65536, 'period')


@case
def a_live_target_is_listed_and_copied(w):
    truth = w.file('truth')
    process = w.start([SEEP, 'run', '-o', w.file('a.seep'), '--', need_target('threads_storm'), '2', '0',
                       truth])

    def pid():
        run = w.seep('ps', '--json')
        check_equal(run.status, 0, 'seep ps %s' % run.describe())
        for entry in json.loads(run.stdout)['ledgers']:
            if truth in entry['command']:
                return entry['pid']
        return None

    target = wait_for(pid, 'the target in seep ps')

    def end_target():
        # Should anything below fail: seep run is killed then, but its target would run on.
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            pass

    w.undo.append(end_target)

    def copied():
        run = w.seep('snap', str(target), '-o', w.file('copy.seep'))
        check_equal(run.status, 0, 'seep snap %s' % run.describe())
        return w.report(w.file('copy.seep')).values('storm_alloc').allocs > 0

    wait_for(copied, 'a copy with its blocks')  # it is listed before it has made the first
    check(process.poll() is None, 'the target went on')
    os.kill(target, signal.SIGKILL)
    check_equal(w.finish(process).status, 128 + signal.SIGKILL, 'status of seep run')


@case
def closed_standard_files_do_no_harm(w):
    """No file of seep's takes their numbers, and the program finds them closed, as it would without seep."""
    look = 'for f in 0 1 2; do [ -e /proc/$$/fd/$f ] && exit 9; done; exit 5'
    path = w.file('a.seep')
    run = w.bare(['/bin/sh', '-c', '"$@" <&- >&- 2>&-', 'sh', SEEP, 'run', '-o', path, '--', '/bin/sh', '-c', look])
    check_equal((run.status, run.stdout, run.stderr), (5, '', ''), 'status %s' % run.describe())
    check(w.report(path).totals().allocs > 0, 'the snapshot is read')
    run = w.bare(['/bin/sh', '-c', '"$@" >&-', 'sh', SEEP, 'report', path])
    check_equal(run.status, 2, 'status %s' % run.describe())
    check('cannot write' in run.stderr, run.describe())


class Terminal:
    """`seep run` of a shell that waits for a line, in a terminal of 24 rows; what it writes is kept.  With
    words of a shell in front, that is the session's leader."""

    def __init__(self, w, *leader):
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ['TERM'] = 'xterm'
            command = [*leader, SEEP, 'run', '-o', w.file('a.seep'), '--', '/bin/sh', '-c', 'read x; exit 7']
            os.execv(command[0], command)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0))
        self.seen = b''

    def read(self):
        """Whether nobody has it open any more."""
        if select.select([self.file], [], [], 0)[0]:
            try:
                self.seen += os.read(self.file, 4096)
            except OSError:
                return True
        return False

    def shown(self):
        check(not self.read(), 'seep run ended early', self.seen)
        return b'\033[1;23r' in self.seen and b'\033[24;1H' in self.seen and b' in use in ' in self.seen


@case
def progress_has_a_row_of_its_own(w):
    """On a terminal: the last row leaves the scrolling region while the target runs, and comes back."""
    t = Terminal(w)
    try:
        wait_for(t.shown, 'progress')
        os.write(t.file, b'go on\n')
        wait_for(t.read, 'the end')
    finally:
        os.close(t.file)
        status = os.waitpid(t.pid, 0)[1]
    check_equal(os.waitstatus_to_exitcode(status), 7, 'status')
    check(t.seen.rindex(b'\033[r') > t.seen.rindex(b'\033[1;23r'), 'the region is whole again', t.seen)
    check(t.seen.rindex(b'in use at the end') > t.seen.rindex(b'\033[r'), 'before the summary', t.seen)


@case
def a_killed_seep_gives_the_terminal_back(w):
    t = Terminal(w, '/bin/sh', '-c', '"$@"; echo status $?; read y', 'sh')
    try:
        wait_for(t.shown, 'progress')
        with open('/proc/%d/task/%d/children' % (t.pid, t.pid)) as f:
            seep = int(f.read().split()[0])
        before = len(t.seen)
        os.kill(seep, signal.SIGKILL)
        wait_for(lambda: t.read() or (b'\033[r' in t.seen[before:] and b'status' in t.seen), 'the region to be whole again')
        check(b'\033[r\033[24;1H\033[2K' in t.seen[before:], 'the row is empty', t.seen[before:])
        check(b'status 137' in t.seen, 'what the shell saw', t.seen[before:])
    finally:
        os.close(t.file)  # hangs up on all of them
        os.waitpid(t.pid, 0)


main()
