# SPDX-License-Identifier: Apache-2.0
"""The tracker's side of leak checks, without a checker: a small server stands in for seep run --check and says what it
was asked (src/wire/check.h); programs end in all ways, and call include/seep.h."""
import os
import re
import signal
import socket
import struct
import subprocess
import threading

from harness import DEADLINE, LIBRARY, TARGETS, case, check, check_equal, main, need_target, wait_for

MAGIC = 0x4b484353
REQUEST = struct.Struct('<IIIiiiQII16Q128s')
REPLY = struct.Struct('<IIQQQii')
EXIT, END, NOW, BEGIN, LOCAL_END = 1, 2, 3, 4, 5
GO, STRING = 1, 2

# struct ledger_header (src/wire/ledger.h)
SECTION_SITES, SECTIONS, MARKS, LOSSES, NSITES, NMARKS, STATE = 4, 640, 2256, 4160, 4448, 4560, 24
UNCHECKED = 15
SITE_IGNORED = 4
IGNORE, UNIGNORE, ROOT, UNROOT, TRACKER = 1, 2, 3, 4, 5
LIVE, EXITED = 1, 2


class Asked:
    """One request, and what the world looked like while the target stood still."""

    def __init__(self, data):
        (self.magic, self.protocol, self.kind, self.pid, self.tid, self.status, self.sp, self.nwords, self.flags,
         *rest) = REQUEST.unpack(data)
        self.words, self.name = rest[:16], rest[16].split(b'\0')[0].decode()
        self.text = None
        self.state = None


class Checker:
    """Listens on DIR/check.sock; answers each request as `answer` says: (blocks, bytes, status)."""

    def __init__(self, w, answer=(0, 0, -1), look=None, string=None, drop=False):
        self.requests, self.answer, self.look, self.string, self.drop = [], answer, look, string, drop
        self.w, self.failure = w, None
        self.path = os.path.join(w.ledgers, 'check.sock')
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        w.undo.append(self.close)
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()

    def close(self):
        """The server must be out of accept() before the descriptor may mean another socket."""
        if self.server.is_alive():
            self.socket.shutdown(socket.SHUT_RDWR)
            self.server.join()
            self.socket.close()
            os.unlink(self.path)

    def exactly(self, connection, n):
        data = b''
        while len(data) < n:
            more = connection.recv(n - len(data))
            if not more:
                raise EOFError('connection ended after %d of %d bytes' % (len(data), n))
            data += more
        return data

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(connection,), daemon=True).start()

    def converse(self, connection):
        try:
            with connection:
                connection.settimeout(DEADLINE)
                asked = Asked(self.exactly(connection, REQUEST.size))
                cred = struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                check_equal((asked.magic, asked.protocol), (MAGIC, 1), 'magic and protocol')
                check_equal(asked.pid, cred[0], 'pid of the request, and of the socket')
                with open('/proc/%d/maps' % asked.pid) as f:
                    for line in f:
                        low, high = (int(x, 16) for x in line.split()[0].split('-'))
                        if low <= asked.sp < high:
                            asked.mapping = line.split()
                asked.ledger = Ledger(self.w.ledger_paths(asked.pid)[-1])
                if self.string:
                    connection.sendall(REPLY.pack(MAGIC, STRING, self.string(), 0, 0, 0, 0))
                    magic, length = struct.unpack('<II', self.exactly(connection, 8))
                    check_equal(magic, MAGIC, 'magic of a string')
                    asked.text = self.exactly(connection, length)
                if self.look:
                    self.look(asked)
                self.requests.append(asked)
                if not self.drop:
                    blocks, size, status = self.answer
                    connection.sendall(REPLY.pack(MAGIC, GO, 0, size, blocks, status, 0))
        except Exception as e:  # reported by the case
            self.failure = e

    def kinds(self, pid=None):
        if self.failure:
            raise self.failure
        return [a.kind for a in self.requests if pid is None or a.pid == pid]


class Ledger:
    """What a reader of the file sees; the parts leak checks are about."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            header = f.read(8192)
            word = lambda at: struct.unpack_from('<Q', header, at)[0]
            self.state = struct.unpack_from('<I', header, STATE)[0]
            self.losses = [word(LOSSES + 8 * i) for i in range(32)]
            f.seek(word(MARKS))
            data = f.read(24 * word(NMARKS))
            self.marks = [struct.unpack_from('<QQI', data, at) for at in range(0, len(data), 24)]
            f.seek(word(SECTIONS + 16 * SECTION_SITES))
            data = f.read(16 * word(NSITES))
            self.site_flags = [struct.unpack_from('<H', data, at + 6)[0] for at in range(0, len(data), 16)]

    def of_kind(self, kind):
        return [(address, size) for address, size, k in self.marks if k == kind]


def frames(run):
    """role → (pid, address) of the lines "frame ROLE PID ADDRESS"."""
    found = {}
    for role, pid, address in re.findall(r'^frame (\S+) (\d+) 0x([0-9a-f]+)$', run.stdout, re.M):
        found[role] = (int(pid), int(address, 16))
    return found


def park(w, way, options='check=exit+end', **how):
    checker = Checker(w, **how)
    run = w.preload('exit_park_ways', way, options=options)
    if checker.failure:
        raise checker.failure
    return checker, run


def check_alive(asked, frame, what):
    """The frame is just above where the stack is said to be dead."""
    check(asked.sp <= frame + 16 and frame - asked.sp < 4096, what, 'sp', hex(asked.sp), 'frame', hex(frame))


def check_ways(w, way, status, kinds, role):
    checker, run = park(w, way)
    check_equal(run.status, status, run.describe())
    check_equal(checker.kinds(), kinds, 'moments of %s, unchecked %d' % (
        way, Ledger(w.ledger(run.pid)).losses[UNCHECKED]))
    pid, frame = frames(run)[role]
    for asked in checker.requests:
        check_equal(asked.pid, run.pid, 'process')
        check_equal(asked.nwords, 6, 'registers')
        check('rw-p' in asked.mapping, 'sp lies in', asked.mapping)
        if role == 'outer':
            # The frame of main is dead, what called it is not.
            check(frame < asked.sp < frame + 512, 'sp', hex(asked.sp), 'main', hex(frame))
        else:
            check_alive(asked, frame, way)
        check_equal(asked.ledger.state, LIVE, 'ledger while parked')
    return checker, run


@case
def main_returns(w):
    checker, run = check_ways(w, 'return', 20, [EXIT, END], 'outer')
    check_equal({a.status for a in checker.requests}, {20}, 'status')
    check_equal({a.tid for a in checker.requests}, {run.pid}, 'thread')
    check('[stack]' in checker.requests[0].mapping, checker.requests[0].mapping)
    check_equal(checker.requests[0].sp, checker.requests[1].sp, 'sp of both')
    check_equal(Ledger(w.ledger(run.pid)).state, EXITED, 'ledger afterwards')


@case
def exit_in_a_nested_function(w):
    checker, _ = check_ways(w, 'exit', 21, [EXIT, END], 'main')
    check_equal({a.status for a in checker.requests}, {21}, 'status')


@case
def only_the_moments_that_were_asked_for(w):
    for options, kinds in (('check=exit', [EXIT]), ('check=end', [END]), ('check=local', []), ('check=', []), ('', [])):
        for way, status in (('return', 20), ('exit', 21)):
            checker, run = park(w, way, options)
            check_equal((checker.kinds(), run.status), (kinds, status), '%s %s' % (options, way))
            for asked in checker.requests:
                if way == 'return':
                    frame = frames(run)['outer'][1]
                    check(frame < asked.sp < frame + 512, 'sp', hex(asked.sp), 'main', hex(frame))
                else:
                    check_alive(asked, frames(run)['main'][1], options)
            checker.close()


@case
def a_thread_exits(w):
    checker, run = check_ways(w, 'thread', 21, [EXIT, END], 'main')
    check(all(a.tid != run.pid and '[stack]' not in a.mapping for a in checker.requests), 'thread')


@case
def underscore_exit_is_the_end(w):
    for way in ('_exit', '_Exit'):
        checker, run = park(w, way)
        check_equal((checker.kinds(), run.status), ([END], 21), way)
        check_alive(checker.requests[0], frames(run)['main'][1], way)
        checker.close()


@case
def quick_exit_runs_its_handlers_first(w):
    seen = []
    _, run = park(w, 'quick_exit', look=lambda a: seen.append(a.kind))
    check_equal((seen, run.status), ([EXIT, END], 21), 'moments')
    check('handler' in run.stdout, run.describe())


@case
def registers_of_the_caller(w):
    checker, run = park(w, 'register')
    check_equal((checker.kinds(), run.status), ([EXIT, END], 24), 'moments')
    for asked in checker.requests:
        check_equal(asked.words[2], 0x5eeb00005eeb, 'r12')
        check_equal(asked.words[6:], [0] * 10, 'no further registers')


@case
def the_c_library_exits(w):
    """err() calls exit() where nobody sees it: main is still there, and its frame is alive."""
    checker, run = park(w, 'err')
    check_equal((checker.kinds(), run.status), ([EXIT, END], 25), 'moments')
    for asked in checker.requests:
        check(asked.sp < frames(run)['main'][1], 'sp', hex(asked.sp))
        check_equal(asked.status, 25, 'status')


@case
def the_last_thread_ends(w):
    checker, run = park(w, 'pthread_exit')
    check_equal(run.status, 0, run.describe())
    check_equal(checker.kinds(), [EXIT, END], 'moments')


@case
def other_threads_run(w):
    checker, run = park(w, 'threads')
    check_equal((checker.kinds(), run.status), ([EXIT, END], 20), 'moments')


@case
def a_handler_allocates(w):
    seen = []
    _, run = park(w, 'handler', look=lambda a: seen.append(a.kind))
    check_equal((seen, run.status), ([EXIT, END], 20), 'moments')
    check('handler' in run.stdout, run.describe())


@case
def a_handler_ends_the_process(w):
    checker, run = park(w, 'handler_ends')
    check_equal((checker.kinds(), run.status), ([EXIT, END], 27), 'moments')
    check_alive(checker.requests[1], frames(run)['handler'][1], 'the frame that called _exit')


@case
def abort_is_not_checked(w):
    checker, run = park(w, 'abort')
    check_equal((checker.kinds(), run.status), ([], -signal.SIGABRT), 'moments')


@case
def forked_children_are_checked_too(w):
    for way, kinds in (('fork', [EXIT, END]), ('fork_exit', [END])):
        checker, run = park(w, way)
        check('child ended 22' in run.stdout, run.describe())
        child, frame = frames(run)['child']
        check_equal((checker.kinds(child), checker.kinds(run.pid), run.status), (kinds, [EXIT, END], 26), way)
        for asked in checker.requests:
            if asked.pid == child:
                check_alive(asked, frame, 'child')
        checker.close()


@case
def children_of_vfork_are_not(w):
    checker, run = park(w, 'vfork')
    check('child ended 23' in run.stdout, run.describe())
    check_equal((checker.kinds(), run.status), ([EXIT, END], 26), 'moments')
    check_equal({a.pid for a in checker.requests}, {run.pid}, 'processes')


@case
def programs_started_by_exec_are_checked_too(w):
    checker = Checker(w)
    run = w.preload('fork_exec', options='check=end')
    check_equal(run.status, 0, run.describe())
    kinds = {pid: checker.kinds(pid) for pid in {a.pid for a in checker.requests}}
    check(run.pid in kinds and len(kinds) > 1, 'processes that were checked', kinds)
    check_equal(set(map(tuple, kinds.values())), {(END,)}, 'moments')
    for asked in checker.requests:
        if asked.pid != run.pid:
            check('[stack]' in asked.mapping, 'sp lies in', asked.mapping)


@case
def destructors_come_between(w):
    trace = w.file('trace')
    seen = []

    def look(asked):
        with open(trace) as f:
            seen.append((asked.kind, f.read().split()))

    for options in ('check=exit+end', 'check=end'):
        checker = Checker(w, look=look)
        run = w.finish(w.start([need_target('exit_park_order')], env=w.tracked_environment(options, TRACE=trace)))
        check_equal(checker.kinds(), [EXIT, END] if 'exit' in options else [END], 'moments')
        check_equal((run.status, run.stdout), (31, 'buffered'), 'status and output')
        if 'exit' in options:
            check_equal(seen[0], (EXIT, ['main']), 'at exit')
        check_equal((seen[-1][0], seen[-1][1][0], sorted(seen[-1][1])),
                    (END, 'main', ['handler', 'library', 'main', 'program']), 'at the end')
        checker.close()
        os.unlink(trace)


@case
def nobody_is_there(w):
    run = w.preload('exit_park_ways', 'exit', options='check=exit+end')
    check_equal((run.status, run.stderr), (21, ''), run.describe())
    check_equal(Ledger(w.ledger(run.pid)).losses[UNCHECKED], 2, 'counted')
    run = w.preload('exit_park_ways', 'exit')
    check_equal(run.status, 21, run.describe())
    check_equal(Ledger(w.ledger(run.pid)).losses[UNCHECKED], 0, 'nothing was wanted')


@case
def seep_goes_away(w):
    """The connection breaks while the target stands still: it goes on and ends as it would have."""
    checker, run = park(w, 'exit', drop=True)
    check_equal((checker.kinds(), run.status), ([EXIT, END], 21), 'moments')
    check_equal(Ledger(w.ledger(run.pid)).losses[UNCHECKED], 2, 'counted')


@case
def seep_is_killed(w):
    """The same with a process that is killed."""
    path = os.path.join(w.ledgers, 'check.sock')
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(4)
    ready, ready_in = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            connection, _ = server.accept()
            connection.recv(REQUEST.size, socket.MSG_WAITALL)
            os.write(ready_in, b'x')
            signal.pause()
        finally:
            os._exit(1)
    server.close()
    try:
        target = w.start([need_target('exit_park_ways'), 'exit'], env=w.tracked_environment('check=exit+end'))
        check_equal(os.read(ready, 1), b'x', 'the target has asked')
        check_equal(target.poll(), None, 'it stands still')
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(ready_in)
    run = w.finish(target)
    check_equal(run.status, 21, run.describe())
    check_equal(Ledger(w.ledger(run.pid)).losses[UNCHECKED], 2, 'counted')


@case
def a_parked_target_takes_signals(w):
    """A signal interrupts the wait, and its default action ends the process."""
    go = threading.Event()
    w.undo.append(go.set)
    checker = Checker(w, look=lambda asked: go.wait(DEADLINE))
    target = w.start([need_target('exit_park_ways'), 'exit'], env=w.tracked_environment('check=exit'))
    wait_for(lambda: state_of(target.pid) == 'S' and 'recv' in wchan_or(target.pid, 'recv'), 'a parked target')
    for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH):
        target.send_signal(number)
    go.set()
    run = w.finish(target)
    check_equal((checker.kinds(), run.status), ([EXIT], 21), 'moments')


def state_of(pid):
    with open('/proc/%d/stat' % pid) as f:
        return f.read().rsplit(')', 1)[1].split()[0]


def wchan_or(pid, otherwise):
    """The system call that a process waits in, where the kernel says so."""
    try:
        with open('/proc/%d/syscall' % pid) as f:
            return 'recv' if f.read().split()[0] == '45' else ''
    except (OSError, IndexError):
        return otherwise


# ---- the program API -------------------------------------------------------------------------------------

# The last two are missing where there is no C++ compiler.
VARIANTS = [name for name in ('api_calls', 'api_calls_nopie', 'api_calls_cxx', 'api_calls_cxx_nopie')
            if os.path.exists(os.path.join(TARGETS, name)) or 'cxx' not in name]


def lines(run):
    return dict(line.split(' ', 1) for line in run.stdout.splitlines() if ' ' in line)


@case
def without_the_library_calls_do_nothing(w):
    for name in VARIANTS + ['api_calls_static']:
        run = w.bare([need_target(name)])
        said = lines(run)
        check_equal((run.status, run.stderr), (0, ''), name + run.describe())
        check_equal((said['present'], said['version'], said['begin'], said['errno']), ('0', 'none', '-1', '99'), name)
        check_equal(re.findall(r'^(?:check|end|check-without-result|begin-without-name) (-?\d+)$', run.stdout, re.M),
                    ['-1'] * 4, name)
        check_equal(re.findall(r'^result (.*)$', run.stdout, re.M), ['77 78', '79 79'], name)
        check_equal(said['child'].split()[1], '40', name)


@case
def a_static_program_under_the_library_is_left_alone(w):
    run = w.preload('api_calls_static')
    check_equal((run.status, lines(run)['present']), (0, '0'), run.describe())


@case
def with_the_library_calls_arrive(w):
    for name in VARIANTS:
        checker = Checker(w, answer=(3, 120, -1))
        run = w.preload(name, options='check=local')
        said = lines(run)
        check_equal((run.status, run.stderr), (0, ''), name + run.describe())
        check_equal((said['present'], said['errno']), ('1', '99'), name)
        check(re.match(r'\d+\.\d+', said['version']), said['version'])
        check_equal((checker.kinds(), [a.name for a in checker.requests]),
                    ([NOW, NOW, BEGIN, LOCAL_END, BEGIN], ['', '', 'request', 'request', '']), name)
        check_equal((said['check'], said['begin'], said['end']), ('3', '0', '3'), name)
        check_equal(re.findall(r'^result (.*)$', run.stdout, re.M), ['3 120'] * 2, name)
        for asked in checker.requests:
            check('[stack]' in asked.mapping, 'sp lies in', asked.mapping)
        ledger = Ledger(w.ledger(run.pid))
        ignored, region = int(said['ignored'], 16), int(said['region'], 16)
        check_equal(ledger.of_kind(IGNORE)[0], (ignored, 0), name)
        check_equal(len(ledger.of_kind(IGNORE)), 2, name)
        check_equal(ledger.of_kind(UNIGNORE), ledger.of_kind(IGNORE)[1:], name)
        check_equal(ledger.of_kind(ROOT), [(region, 64), (region + 128, 128)], name)
        check_equal(ledger.of_kind(UNROOT), [(region + 128, 128)], name)
        check(len(ledger.of_kind(TRACKER)) > 3, 'marks of the tracker', ledger.of_kind(TRACKER))
        # guarded() twice, or once and the class; and the scope in main.
        check_equal(sum(1 for f in ledger.site_flags if f & SITE_IGNORED), 3, name + ': ignored sites')
        check_equal(ledger.losses[UNCHECKED], 0, name)
        # The child holds what its parent said, and adds its own.
        child, status = (int(x) for x in said['child'].split())
        check_equal(status, 41, name)
        ledger = Ledger(w.ledger(child))
        check_equal(ledger.of_kind(ROOT), [(region, 64), (region + 128, 128)], name)
        check_equal([a for a, _ in ledger.of_kind(IGNORE)][-1], region + 1, name)
        check_equal(len(ledger.of_kind(IGNORE)), 3, name)
        checker.close()


@case
def without_check_nothing_is_asked(w):
    checker = Checker(w)
    run = w.preload('api_calls')
    check_equal((checker.kinds(), lines(run)['check'], run.status), ([], '-1', 0), run.describe())
    check_equal(lines(run)['present'], '1', 'marks arrive all the same')


@case
def the_interface_of_leaksanitizer(w):
    run = w.bare([need_target('api_lsan')])
    check_equal((run.status, run.stdout), (50, 'not there\n'), run.describe())
    run = w.preload('api_lsan')
    check_equal(run.status, 51, run.describe())
    ledger, said = Ledger(w.ledger(run.pid)), lines(run)
    region = int(said['region'], 16)
    check_equal(ledger.of_kind(IGNORE), [(int(said['ignored'], 16), 0)], 'ignored')
    check_equal(ledger.of_kind(ROOT), [(region - 32, 16), (region, 16)], 'regions')
    check_equal(ledger.of_kind(UNROOT), [(region - 32, 16)], 'regions taken back')
    check_equal(sum(1 for f in ledger.site_flags if f & SITE_IGNORED), 1, 'ignored sites')


@case
def leaksanitizers_checks(w):
    for how, answer, status, kinds, text in (
            ('leak', (2, 64, 23), 23, [NOW], ''), ('leak', (2, 64, -1), 51, [NOW], 'still there'),
            ('leak', (0, 0, -1), 51, [NOW], 'still there'), ('recoverable', (2, 64, 23), 51, [NOW, END], 'recoverable 1'),
            ('recoverable', (0, 0, -1), 51, [NOW, END], 'recoverable 0'), ('off', (2, 64, 23), 51, [], '')):
        checker = Checker(w, answer=answer)
        run = w.preload('api_lsan', how, options='check=end')
        check_equal((checker.kinds(), run.status), (kinds, status), '%s %r' % (how, answer))
        check(text in run.stdout, text, 'in', run.stdout)
        checker.close()


@case
def a_program_is_asked_for_its_suppressions(w):
    # The address is in the program's own output, which comes before the check.
    output = w.file('output')

    def address():
        with open(output) as f:
            return int(re.search(r'^suppressions 0x([0-9a-f]+)$', f.read(), re.M).group(1), 16)

    checker = Checker(w, string=address)
    with open(output, 'w') as f:
        status = subprocess.run([need_target('api_lsan')], env=w.tracked_environment('check=end'), stdout=f,
                                timeout=DEADLINE, check=False).returncode
    check_equal((checker.kinds(), status), ([END], 51), 'moments')
    check_equal(checker.requests[0].text, b'leak:known_to_the_program\n', 'text')
    checker.close()
    # No code there: nothing is called, and the answer is empty.
    checker = Checker(w, string=lambda: 0x1000)
    run = w.preload('api_lsan', options='check=end')
    check_equal((checker.kinds(), run.status, checker.requests[0].text), ([END], 51, b''), 'no address')


@case
def minimal_begins_at_main(w):
    """What a constructor allocates has no record; what main allocates has."""
    env = {'TRACE': w.file('trace')}
    target = need_target('exit_park_order')
    all_run = w.finish(w.start([target], env=w.tracked_environment('', **env)))
    run = w.finish(w.start([target], env=w.tracked_environment('minimal=1', **env)))
    check_equal((all_run.status, run.status, run.stdout), (31, 31, 'buffered'), 'status')
    full, minimal = (Ledger(w.ledger(r.pid)) for r in (all_run, run))
    check(1 < len(minimal.site_flags) < len(full.site_flags), 'sites', len(minimal.site_flags), 'of',
          len(full.site_flags))


check(LIBRARY or not os.environ.get('SEEP_TARGETS'), 'SEEP_LIBRARY is not set')
main()
