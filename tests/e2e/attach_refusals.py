# SPDX-License-Identifier: Apache-2.0
"""What cannot be attached to: the error says why and what to do, and nothing is left behind."""
import ctypes
import os
import random
import signal
import subprocess
import time

from attach_tools import Calls, Talker, attach, detach
from harness import (SEEP, Skip, case, check, check_equal, main, need_program, need_root, need_target,
                     process_state, wait_for)

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


def refused(w, pid, *words, options=(), status=2):
    """Both ways, and the one that seep chooses."""
    for way in ((), ('--inject',), ('--bpf',)):
        run = w.seep('attach', '--ledger-dir=' + w.ledgers, *way, *options, str(pid))
        check_equal(run.status, status, 'status of seep attach %s %s' % (' '.join(way), run.describe()))
        for word in words:
            check(word in run.stderr, 'no', repr(word), 'with', way, 'in', run.describe())
    run = w.seep('detach', str(pid))
    check_equal(run.status, status, 'status of seep detach %s' % run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')


@case
def no_such_process(w):
    child = w.start(['true'])
    child.wait()
    refused(w, child.pid, 'there is no process %d' % child.pid)
    for name in ('no-such-program', '0', '-5', '99999999999'):
        run = w.seep('attach', '--', name)
        check(run.status == 2 and run.stderr, name, run.describe())


@case
def a_zombie(w):
    child = subprocess.Popen(['true'])  # nobody waits for it
    wait_for(lambda: process_state(child.pid) == 'Z', 'the child to have ended')
    refused(w, child.pid, str(child.pid), 'has ended')
    child.wait()


@case
def a_thread_of_the_kernel(w):
    refused(w, 2, 'kernel')


@case
def a_thread_is_no_process(w):
    t = Talker(w, '2')
    thread = next(int(n) for n in os.listdir('/proc/%d/task' % t.pid) if int(n) != t.pid)
    run = attach(w, thread, status=2)
    check('is a thread of process %d' % t.pid in run.stderr, run.describe())
    t.end()


@case
def seep_itself(w):
    run = w.bare(['sh', '-c', 'exec "$0" attach --inject $$', SEEP])
    check('seep itself' in run.stderr, run.describe())


@case
def stopped_by_a_signal(w):
    """Its threads cannot load anything; it stays stopped, and goes on when it is told to."""
    t = Talker(w, '1')
    os.kill(t.pid, signal.SIGSTOP)
    wait_for(lambda: process_state(t.pid) == 'T', 'the target to be stopped')
    run = attach(w, t.pid, '--inject', status=2)
    check('is stopped (SIGSTOP)' in run.stderr and 'kill -CONT %d' % t.pid in run.stderr, run.describe())
    check_equal(process_state(t.pid), 'T', 'state')
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    os.kill(t.pid, signal.SIGCONT)
    wait_for(lambda: process_state(t.pid) != 'T', 'the target to go on')
    detach(w, t.pid, status=2)
    attach(w, t.pid, path='inject')
    t.end()


@case
def stopped_while_attached(w):
    t = Talker(w, '1')
    attach(w, t.pid)
    os.kill(t.pid, signal.SIGSTOP)
    wait_for(lambda: process_state(t.pid) == 'T', 'the target to be stopped')
    run = detach(w, t.pid, status=2)
    check('SIGSTOP' in run.stderr, run.describe())
    check_equal(process_state(t.pid), 'T', 'state')
    os.kill(t.pid, signal.SIGCONT)
    detach(w, t.pid)
    t.end()


@case
def another_tracer(w):
    t = Talker(w, '1')
    check_equal(LIBC.ptrace(PTRACE_SEIZE, t.pid, None, None), 0, 'PTRACE_SEIZE')
    run = attach(w, t.pid, '--inject', status=2)
    check('is traced by process %d' % os.getpid() in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    os.kill(t.pid, signal.SIGSTOP)  # a tracee has to stand to be let go
    os.waitpid(t.pid, 0x40000000)
    check_equal(LIBC.ptrace(PTRACE_DETACH, t.pid, None, None), 0, 'PTRACE_DETACH')
    wait_for(lambda: process_state(t.pid) not in ('t', 'T'), 'the target to go on')
    attach(w, t.pid, path='inject')
    t.end()


def as_nobody(*capabilities):
    """Words before a command: another user, with these capabilities at most."""
    need_root()
    return [need_program('setpriv'), '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all',
            '--ambient-caps=-all', '--bounding-set=-all'] + list(capabilities)


@case
def another_users_process(w):
    os.chmod(w.path, 0o711)
    t = Talker(w, '1')
    if not os.access(SEEP, os.X_OK):
        raise Skip('seep cannot be run by others here')
    for command in ([SEEP, 'attach', str(t.pid)], [SEEP, 'attach', '--inject', str(t.pid)]):
        run = w.bare([*as_nobody(), *command])
        if run.status in (126, 127):
            raise Skip('seep cannot be run by others here')
        check_equal(run.status, 2, run.describe())
        check('belongs to user 0' in run.stderr and 'CAP_SYS_PTRACE' in run.stderr, run.describe())
    run = w.bare([*as_nobody(), SEEP, 'attach', '--bpf', str(t.pid)])
    check(run.status == 2 and 'CAP_' in run.stderr, run.describe())
    t.end()


@case
def yama_is_named_where_it_forbids(w):
    """Kernels without Yama have no such switch, so one is laid over /proc/sys/kernel in a mount namespace."""
    need_root()
    t = Talker(w, '1')
    for value, attach_says, check_says in (
            ('1', 'ptrace_scope is 1 and seep has no CAP_SYS_PTRACE', 'kernel.yama.ptrace_scope=0'),
            ('2', 'ptrace_scope is 2 and seep has no CAP_SYS_PTRACE', 'kernel.yama.ptrace_scope=0'),
            ('3', 'nobody may trace a process here: kernel.yama.ptrace_scope is 3', 'until a reboot')):
        for command in (['attach', '--inject', '--ledger-dir=' + w.ledgers], ['check', '--no-clone'], ['doctor']):
            run = w.bare([need_program('unshare'), '--mount', 'sh', '-ec',
                          'mount -t tmpfs none /proc/sys/kernel; mkdir /proc/sys/kernel/yama; '
                          'echo "$0" >/proc/sys/kernel/yama/ptrace_scope; exec "$@"', value,
                          need_program('setpriv'), '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace',
                          SEEP, *command, str(t.pid)])
            said = run.stderr + run.stdout
            check(attach_says in ' '.join(said.split()), value, command, run.describe())
            check(command[0] == 'doctor' or check_says in said, 'what to do', value, command, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    check(process_state(t.pid) in 'RS', 'state', process_state(t.pid))
    t.end()


@case
def lockdown_is_named_where_bpf_is_forbidden(w):
    need_root()
    t = Talker(w, '1')
    run = w.bare([need_program('setpriv'), '--bounding-set=-bpf,-perfmon,-sys_admin', '--inh-caps=-bpf,-perfmon,-sys_admin',
                  SEEP, 'attach', '--bpf', '--ledger-dir=' + w.ledgers, str(t.pid)])
    check_equal(run.status, 2, run.describe())
    check('CAP_BPF' in run.stderr and 'lockdown' in run.stderr, 'the reasons', run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    t.end()


@case
def root_without_the_capability(w):
    """In a container root may be anything but allowed to trace."""
    need_root()
    t = Talker(w, '1')
    drop = [need_program('setpriv'), '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace']
    # With fewer capabilities than the target has it may not be traced.
    run = w.bare([*drop, SEEP, 'attach', '--inject', '--ledger-dir=' + w.ledgers, str(t.pid)])
    check_equal(run.status, 2, run.describe())
    check('CAP_SYS_PTRACE' in run.stderr or 'ptrace_scope' in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    check(process_state(t.pid) in 'RS', 'state', process_state(t.pid))
    t.end()


@case
def one_that_ends_half_way(w):
    """It is killed at random moments of being attached to: an error, no ledger that looks alive, nobody left."""
    chance = random.Random(3)
    for i in range(12):
        t = Talker(w, '3')
        seep = w.start([SEEP, 'attach', '--full', '--ledger-dir=' + w.ledgers, str(t.pid)])
        time.sleep(chance.random() * 0.15)
        t.process.kill()
        run = w.finish(seep)
        if run.status:
            check(run.status == 2 and str(t.pid) in run.stderr, i, run.describe())
        t.process.wait()
        left = os.listdir(w.ledgers)
        check(run.status == 0 or not left, 'left behind by a failed attach', left)
        for name in left:
            check(not w.report(os.path.join(w.ledgers, name)).live, 'a ledger that looks alive')
            os.unlink(os.path.join(w.ledgers, name))


@case
def no_memory_and_no_files(w):
    """Limits of the target's own: refused or done another way, and it runs on."""
    for limit in ('ulimit -v 200000', 'ulimit -n 4'):
        t = Calls(w, command=['sh', '-c', limit + '; exec "$0"', need_target('attach_calls')])
        run = w.seep('attach', '--inject', '--ledger-dir=' + w.ledgers, str(t.pid))
        check_equal(run.status, 2, limit + ' ' + run.describe())
        check('memory' in run.stderr or 'file' in run.stderr or 'could not' in run.stderr, run.describe())
        check_equal(os.listdir(w.ledgers), [], 'what is left behind')
        before = t.tell(1)
        check_equal(t.tell(1)['make_plain']['allocs'], before['make_plain']['allocs'] + 1, 'it works')
        t.end()


@case
def no_place_for_the_ledger(w):
    t = Talker(w, '1')
    run = w.seep('attach', '--ledger-dir=' + w.file('missing'), str(t.pid))
    check(run.status == 2 and 'missing' in run.stderr and 'mkdir' in run.stderr, run.describe())
    t.end()


@case
def senseless_options(w):
    t = Talker(w, '0')
    for options, words in ((('--inject', '--bpf'), 'exclude each other'), (('--full', '--sample=1M'), 'exclude each other'),
                           (('--for=soon',), '--for'), (('--budget=-1',), '--budget'), (('--sample=0',), 'sample')):
        run = w.seep('attach', *options, str(t.pid))
        check(run.status == 2 and words in run.stderr, options, run.describe())
    check(w.seep('attach').status == 2 and w.seep('detach').status == 2, 'without a process')
    check('one process at a time' in w.seep('attach', '1', '2').stderr, 'with two')
    detach(w, t.pid, status=2)
    t.end()


if __name__ == '__main__':
    main()
