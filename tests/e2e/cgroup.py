# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup's limit kills the target: the report shows the site that ate the memory."""
import json
import os
import signal
import subprocess

from harness import Skip, case, check, check_equal, main, need_root, need_target

LIMIT = 96 << 20


def cgroup(w):
    """A cgroup of our own with a memory limit; v2 where the memory controller is there, else v1."""
    need_root()
    name = 'seep-e2e-%d' % os.getpid()
    v2, v1 = '/sys/fs/cgroup', '/sys/fs/cgroup/memory'
    if os.path.exists(v2 + '/cgroup.controllers'):
        with open(v2 + '/cgroup.controllers') as f:
            if 'memory' not in f.read().split():
                raise Skip('the memory controller is not delegated to this cgroup')
        base, limits = v2, {'memory.max': LIMIT, 'memory.swap.max': 0}
        try:
            with open(v2 + '/cgroup.subtree_control', 'w') as f:
                f.write('+memory')
        except OSError as e:
            raise Skip('the memory controller cannot be handed down: %s' % e)
    elif os.path.isdir(v1):
        base, limits = v1, {'memory.limit_in_bytes': LIMIT, 'memory.memsw.limit_in_bytes': LIMIT}
    else:
        raise Skip('no memory cgroups here')
    path = os.path.join(base, name)
    try:
        os.mkdir(path)
    except OSError as e:
        raise Skip('cannot make a cgroup: %s' % e)
    w.undo.append(lambda: os.rmdir(path))
    for file, value in limits.items():
        if os.path.exists(os.path.join(path, file)):
            try:
                with open(os.path.join(path, file), 'w') as f:
                    f.write(str(value))
            except OSError as e:
                if 'swap' not in file and 'memsw' not in file:
                    raise Skip('cannot set %s: %s' % (file, e))
    return path


def enter(path):
    def in_child():
        with open(os.path.join(path, 'cgroup.procs'), 'w') as f:
            f.write('0')
    return in_child


def check_eaten(w, run, path):
    report = w.report(path)
    check(report.killed, 'the report knows that the process was killed')
    top = report.top_site()
    check('hoard_memory' in top['functions'], 'the first site is', top)
    values = report.values('hoard_memory', 'heap')
    check(values.inuse_bytes > LIMIT // 2, 'the site holds', values.inuse_bytes, 'of', LIMIT)
    check_equal(values.inuse_bytes, values.inuse * 65536, 'bytes and blocks')


@case
def oom_kill_of_a_preloaded_program(w):
    group = cgroup(w)
    process = w.start([need_target('eat_memory')], env=w.tracked_environment(),
                      preexec_fn=enter(group))
    run = w.finish(process)
    if run.status == 98:
        raise Skip('the kernel here refuses memory instead of killing')
    check_equal(run.status, -signal.SIGKILL, 'status %s' % run.describe())
    check_eaten(w, run, w.ledger(run.pid))


@case
def oom_kill_under_seep_run(w):
    group = cgroup(w)
    # Only the target is in the cgroup: a shell moves itself there and becomes it.
    output = w.file('eaten.seep')
    run = w.seep('run', '-o', output, '--', '/bin/sh', '-c',
                 'echo $$ >%s/cgroup.procs && exec %s' % (group, need_target('eat_memory')))
    check_equal(run.status, 128 + signal.SIGKILL, 'status %s' % run.describe())
    check_eaten(w, run, output)


@case
def top_knows_the_limit(w):
    group = cgroup(w)
    inside, outside = (w.start([need_target('steps')], env=w.tracked_environment(), stdin=subprocess.PIPE, **more)
                       for more in ({'preexec_fn': enter(group)}, {}))
    for process in (inside, outside):
        check(process.stdout.readline(), 'the target did not start', process.poll())

    def top(*options):
        run = w.seep('top', '--once', '--json', '--ledger-dir', w.ledgers, *options)
        check_equal(run.status, 0, 'status %s' % run.describe())
        return json.loads(run.stdout)

    found = top(str(inside.pid))['process']
    check_equal(found['cgroup_limit_bytes'], LIMIT, 'limit')
    check(0 < found['cgroup_used_bytes'] <= LIMIT, 'used', found)
    check_equal(os.path.basename(found['cgroup']), os.path.basename(group), 'cgroup')
    for name in (group, found['cgroup']):
        check_equal([p['pid'] for p in top('--cgroup', name)['processes']], [inside.pid], 'processes of ' + name)
    for process in (inside, outside):
        check_equal(w.finish(process, stdin='').status, 0, 'status of the target')


main()
