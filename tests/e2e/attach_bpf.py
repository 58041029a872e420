# SPDX-License-Identifier: Apache-2.0
"""Tracking a running process from outside, by uprobes: src/capture/bpf."""
import json
import os
import signal
import subprocess

from harness import (SOAK, Skip, case, check, check_equal, check_between, main, need_program, need_target,
                     process_state, wait_for)

TOOL = os.environ.get('SEEP_BPF_ATTACH', '')
SITES = ('make_plain', 'make_zeroed', 'make_grown', 'make_kept', 'make_aligned', 'make_posix', 'make_c11',
         'make_deep', 'make_mapping', 'make_moved', 'make_threaded', 'make_freed')


def tool(w, *args, status=0):
    run = w.bare([TOOL, *[str(a) for a in args], 'dir=' + w.ledgers])
    if status is not None:
        check_equal(run.status, status, 'status of %r %s' % (args, run.describe()))
    return run


def need_bpf():
    if not TOOL:
        raise Skip('seep was built without BPF')
    if os.geteuid() != 0:
        raise Skip('only root can do this')
    why = subprocess.run([TOOL, 'obstacle', '1'], capture_output=True, text=True)
    if why.returncode:
        raise Skip(why.stdout.strip())


class Target:
    """attach_calls: does rounds of calls when told, and says what it did."""

    def __init__(self, w, path=None, env=None, command=None):
        self.w = w
        self.process = w.start(command or [path or need_target('attach_calls')], env=env, stdin=subprocess.PIPE)
        self.pid = self.process.pid
        check_equal(self.process.stdout.readline(), 'ready\n', 'first line of the target')

    def tell(self, what):
        self.process.stdin.write('%s\n' % what)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())['sites']

    def attach(self, *how):
        run = tool(self.w, 'attach', self.pid, *how)
        self.ledger = run.stdout.split()[0]
        return self.ledger

    def detach(self):
        tool(self.w, 'detach', self.pid)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def counts_agree(report, truth, what='', kinds=SITES):
    found = {name: report.values(name).as_truth() for name in kinds}
    wanted = {name: truth[name] for name in kinds}
    for name in kinds:
        check_equal(found[name], wanted[name], '%s %s' % (what, name))


@case
def every_call_is_counted(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    t.tell('free')  # blocks from before: nothing happens
    truth = t.tell(200)
    t.detach()
    report = w.report(t.ledger)
    counts_agree(report, truth)
    check_equal(report.losses, {}, 'losses')
    check_equal(report.unknown_values().allocs, 0, 'blocks without a stack')
    stacks = report.stacks('make_deep')
    check_equal(len(stacks), 1, 'stacks of make_deep')
    check_equal(stacks[0].count('make_deep'), 41, 'frames of the recursion in %r' % (stacks,))
    check(stacks[0][-1] in ('_start', '__libc_start_main', 'main'), stacks)
    t.end()


if __name__ == '__main__':
    main()
