# SPDX-License-Identifier: Apache-2.0
"""Attaching to what lives elsewhere: namespaces, another root, another user, another C library; the way that is taken."""
import json
import os
import shutil

from attach_tools import CALLS, Calls, Talker, attach, counts_agree, detach, less, tracked_exactly
from harness import (LIBRARY, Skip, case, check, check_equal, main, need_program, need_root, need_target)

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../targets')


def need_bpf(w, t):
    """The way from outside, or a Skip with what seep has against it here."""
    run = w.seep('attach', '--bpf', '--ledger-dir=' + w.ledgers, str(t.pid))
    if run.status:
        raise Skip(' '.join(run.stderr.split())[:200])
    detach(w, t.pid)


def no_tracker_in_stacks(report):
    """A thread that began under the tracker has it in its stack, by whatever name the loader knows it: nobody wants to see it."""
    stacks = report.stacks('make_threaded')
    check(stacks, 'blocks of a thread')
    for site in report.chosen('make_threaded', None):
        for frame in site['stack']:
            name = os.path.basename(frame['module'] or '?')
            check('seep' not in name and not name.isdigit() and name != '?', 'module', frame)
            check(frame['function'] not in ('child_main', 'pthread_create_event'), 'function', frame)


def seen_from_outside(w, t, a):
    """Counts, names and lines, a screenful of top: all from outside."""
    tracked_exactly(w, t, a['ledger'], t.free_old, outside=a['path'] == 'bpf')
    report = w.report(a['ledger'])
    stacks = report.stacks('churn_small')
    check(any('churn' in s for s in stacks), 'callers of churn_small', stacks)
    site = next(s for s in report.sites if any(f['function'] == 'churn_small' for f in s['stack']))
    frame = next(f for f in site['stack'] if f['function'] == 'churn_small')
    check((frame['file'] or '').endswith('attach_truth.c') and frame['line'], 'no line', frame)
    top = w.seep('top', '--once', '--json', str(t.pid))
    check_equal(top.status, 0, top.describe())
    rows = json.loads(top.stdout)['rows']
    check(any('churn_small' == r['name'] for r in rows), 'rows of top', rows)


def roundtrip(w, t, *options, path='inject'):
    for _ in range(2):
        a = attach(w, t.pid, '--full', *options, path=path)
        check_equal(a['pid'], t.pid, 'pid')
        seen_from_outside(w, t, a)
        detach(w, t.pid)
    t.end()


def unshared(w, *options, program=None):
    need_root()
    command = [need_program('unshare'), *options, '--fork', '--kill-child', program or need_target('attach_truth'), '2']
    return Talker(w, child=True, command=command)


@case
def namespaces_of_its_own(w):
    roundtrip(w, unshared(w, '--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup'))


@case
def a_user_namespace(w):
    roundtrip(w, unshared(w, '--user', '--map-root-user', '--mount', '--pid'))


def another_root(w, *more):
    """A folder with the program and the libraries it needs, and nothing else: no /proc, no /dev."""
    need_root()
    place, program = w.file('root'), need_target('attach_truth')
    os.makedirs(place + '/bin')
    shutil.copy(program, place + '/bin')
    listed = w.bare([need_program('ldd'), program]).stdout
    for word in listed.split():
        if word.startswith('/') and os.path.exists(word):
            os.makedirs(place + os.path.dirname(word), exist_ok=True)
            shutil.copy(word, place + word)
    for folder in more:
        os.makedirs(place + folder)
    return place


@case
def a_read_only_root_without_the_library(w):
    """As in a container: /proc is there, but nothing of seep's, and nothing can be written."""
    place = another_root(w, '/proc')
    script = ('mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t proc proc "$0/proc" && '
              'exec chroot "$0" /bin/attach_truth 2')
    t = Talker(w, child=True, command=[need_program('unshare'), '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c',
                                       script, place])
    roundtrip(w, t)


@case
def a_root_without_proc(w):
    """There the library has no name it could be loaded by: seen from outside, and the reason is said."""
    place = another_root(w)
    t = Talker(w, child=True, command=[need_program('unshare'), '--mount', '--fork', '--kill-child', 'chroot', place,
                                       '/bin/attach_truth', '2'])
    run = attach(w, t.pid, '--inject', status=2)
    check('could not load the tracker' in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    need_bpf(w, t)
    a = attach(w, t.pid, '--full', path='bpf')
    check('could not load the tracker' in a['reason'], 'reason', a)
    seen_from_outside(w, t, a)
    detach(w, t.pid)
    t.end()


@case
def another_user(w):
    """Who may read neither the library nor the place where the ledgers are."""
    need_root()
    program, hidden = w.file('attach_truth'), w.file('hidden')
    os.chmod(w.path, 0o711)
    shutil.copy(need_target('attach_truth'), program)
    os.mkdir(hidden, 0o700)
    shutil.copy(LIBRARY, hidden + '/libseep.so')
    os.chmod(hidden + '/libseep.so', 0o600)
    t = Talker(w, command=[need_program('setpriv'), '--reuid=65534', '--regid=65534', '--clear-groups', program, '2'])
    a = attach(w, t.pid, '--full', env=dict(os.environ, SEEP_LIBRARY=hidden + '/libseep.so'), path='inject')
    seen_from_outside(w, t, a)
    check_equal(os.stat(a['ledger']).st_uid, 65534, 'whose ledger it is')
    detach(w, t.pid)
    t.end()
    # and one that the user may read, by way of an open file
    os.chmod(hidden, 0o755)
    os.chmod(hidden + '/libseep.so', 0o644)
    calls = w.file('attach_calls')
    shutil.copy(need_target('attach_calls'), calls)
    for mode in (0o644, 0o600):
        os.chmod(hidden + '/libseep.so', mode)
        t = Calls(w, command=[need_program('setpriv'), '--reuid=65534', '--regid=65534', '--clear-groups', calls])
        t.tell(1)
        a = attach(w, t.pid, '--full', env=dict(os.environ, SEEP_LIBRARY=hidden + '/libseep.so'), path='inject')
        t.tell(3)
        no_tracker_in_stacks(w.report(a['ledger']))
        detach(w, t.pid)
        t.end()


@case
def the_users_own_place(w):
    """Without --ledger-dir the ledger lies where its user looks for it."""
    need_root()
    program = w.file('attach_truth')
    os.chmod(w.path, 0o711)
    shutil.copy(need_target('attach_truth'), program)
    t = Talker(w, command=[need_program('setpriv'), '--reuid=65534', '--regid=65534', '--clear-groups', program, '1'])
    run = w.seep('attach', '--json', str(t.pid))
    check_equal(run.status, 0, run.describe())
    ledger = json.loads(run.stdout)['ledger']
    check(ledger.startswith('/dev/shm/seep-65534/'), 'ledger', ledger)
    w.undo.append(lambda: os.path.exists(ledger) and os.unlink(ledger))
    report = w.report(t.pid)
    check(report.live and report.data['tracking']['attached'], report.data['tracking'])
    detach(w, t.pid)
    t.end()


@case
def a_program_over_musl(w):
    compiler = need_program('musl-gcc')
    if not os.path.exists(os.path.join(os.path.dirname(LIBRARY), 'libseep-musl.so')):
        raise Skip('the tracker for musl was not built')
    for name in ('attach_truth', 'attach_calls'):
        # as musl's distributions link: with a table of the unwind information
        built = w.bare([compiler, '-O2', '-g', '-fomit-frame-pointer', '-D_GNU_SOURCE', '-Wl,--eh-frame-hdr', '-o', w.file(name),
                        os.path.join(SOURCES, name + '.c')])
        check_equal(built.status, 0, built.describe())
    for threads in ('0', '3'):
        t = Talker(w, threads, path=w.file('attach_truth'))
        for _ in range(3):
            a = attach(w, t.pid, '--full', path='inject')
            if threads != '0':
                tracked_exactly(w, t, a['ledger'], t.free_old)
            detach(w, t.pid)
        t.end()
    t = Calls(w, path=w.file('attach_calls'))
    before = t.tell(2)
    a = attach(w, t.pid, '--full', path='inject')
    t.tell('free')
    truth, report = less(t.tell(20), before), w.report(a['ledger'])
    counts_agree(report, truth, CALLS)
    check('musl' in report.allocator, 'allocator', report.allocator)
    stacks = report.stacks('make_deep')
    check_equal([s.count('make_deep') for s in stacks], [41], 'frames of the recursion')
    check('main' in stacks[0], 'stack', stacks)
    no_tracker_in_stacks(report)
    detach(w, t.pid)
    t.end()


FILTERED = '''
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
# all calls are allowed but socketpair(), for which it is killed
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 53), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000)]
raw = b''.join(struct.pack('HBBI', *c) for c in code)
buf = ctypes.create_string_buffer(raw, len(raw))
class Prog(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
prog = Prog(len(code), ctypes.addressof(buf))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
'''


@case
def under_a_seccomp_filter(w):
    """A call made in its name might be its last: it is seen from outside."""
    t = Talker(w, command=[need_program('/usr/bin/python3', 'python3'), '-c', FILTERED, need_target('attach_truth'), '2'])
    run = attach(w, t.pid, '--inject', status=2)
    check('seccomp' in run.stderr and '--bpf' in run.stderr, run.describe())
    need_bpf(w, t)
    a = attach(w, t.pid, '--full', path='bpf')
    check('seccomp' in a['reason'], 'reason', a)
    seen_from_outside(w, t, a)
    detach(w, t.pid)
    t.end()


@case
def no_bpf_here(w):
    """A kernel, or a container, that does not let BPF in: injected as ever; where that cannot be, the first reason is said."""
    need_root()
    drop = [need_program('setpriv'), '--bounding-set=-bpf,-sys_admin,-perfmon', '--inh-caps=-bpf,-sys_admin,-perfmon']
    t = Talker(w, '1')
    seep = [os.environ['SEEP'], 'attach', '--json', '--ledger-dir=' + w.ledgers]
    run = w.bare([*drop, *seep, '--bpf', str(t.pid)])
    check_equal(run.status, 2, run.describe())
    check('CAP_BPF' in run.stderr, run.describe())
    run = w.bare([*drop, *seep, str(t.pid)])
    check_equal((run.status, json.loads(run.stdout)['path']), (0, 'inject'), run.describe())
    detach(w, t.pid)
    t.end()
    t = Calls(w, path=need_target('attach_calls_static'))
    run = w.bare([*drop, *seep, str(t.pid)])
    check_equal(run.status, 2, run.describe())
    check('statically linked' in run.stderr, run.describe())
    t.end()


if __name__ == '__main__':
    main()
