# SPDX-License-Identifier: Apache-2.0
"""Where the ledger's folder has no room or is no folder: the target runs as if nothing were, and what
was not recorded is counted."""
import os
import subprocess

from harness import Skip, case, check, check_equal, main, need_root, need_target


def tiny_tmpfs(w, size):
    need_root()
    path = w.file('tiny')
    os.mkdir(path, 0o700)
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%s,mode=700' % size, 'none', path],
                             stderr=subprocess.PIPE, text=True)
    if mounted.returncode:
        raise Skip('cannot mount a tmpfs here: ' + mounted.stderr.strip())
    w.undo.append(lambda: subprocess.run(['umount', path], check=True))
    return path


def run_there(w, folder, target='malloc_free_exact', *args):
    run = w.preload(target, *args, options='dir=' + folder)
    check_equal(run.status, 0, 'the target runs unharmed %s' % run.describe())
    check(run.truth()['sites'], 'and does what it does')
    return run


@case
def a_full_file_system(w):
    for size in ('4k', '16k', '64k', '256k', '1m'):
        folder = tiny_tmpfs(w, size)
        run_there(w, folder)
        run = run_there(w, folder, 'threads_storm', '4', '5000')
        if os.listdir(folder):
            newest = max((os.path.join(folder, f) for f in os.listdir(folder)), key=os.path.getmtime)
            found = w.seep('report', '--json', newest)
            check(found.status in (0, 2), 'seep report', found.describe())
            if found.status == 0:
                report = w.report(newest)
                got = report.values('storm_alloc').allocs
                wanted = run.truth()['sites']['storm_alloc']['allocs']
                if got != wanted:
                    check(sum(report.losses.values()) > 0, size, 'lost', wanted - got,
                          'allocations and says of no loss')
        w.undo.pop()()
        os.rmdir(folder)


@case
def a_file_system_that_fills_up_while_running(w):
    folder = tiny_tmpfs(w, '3m')
    run = w.preload('million_sites', '20000', '200000', options='dir=' + folder)
    check_equal(run.status, 0, 'the target runs unharmed %s' % run.describe())
    files = os.listdir(folder)
    check(files, 'a ledger was begun')
    report = w.report(os.path.join(folder, files[0]))
    check(sum(report.losses.values()) > 0, 'losses are reported', report.losses)


@case
def limits_of_the_shell(w):
    """ulimit -f (beyond it, growing a file is a deadly signal) and ulimit -v (the ledger is mapped whole)."""
    folder = w.file('limited')
    for kind, kilobytes, recorded in (('f', 100, False), ('f', 4 << 20, True), ('v', 4 << 20, True),
                                      ('v', 100 << 10, False)):
        os.mkdir(folder, 0o700)
        run = w.preload('/bin/sh', '-c', 'ulimit -%s %d && exec "$0"' % (kind, kilobytes),
                        need_target('malloc_free_exact'), options='dir=' + folder)
        check_equal(run.status, 0, 'under ulimit -%s %d %s' % (kind, kilobytes, run.describe()))
        check(run.truth()['sites'], 'the target does what it does')
        names = sorted(os.listdir(folder))
        ours = [n for n in names if n.startswith('%d.' % run.pid)]
        # The shell's own ledger is the first; under a limit it set itself, its program's is the second.
        check_equal(len(ours), 2 if recorded else 1, 'ledgers under ulimit -%s %d' % (kind, kilobytes))
        for name in names:
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


@case
def a_folder_that_cannot_be_made(w):
    run_there(w, '/proc/no/such/folder')


@case
def a_folder_that_is_a_file(w):
    path = w.file('file')
    with open(path, 'w'):
        pass
    run_there(w, path)


@case
def nonsense_options(w):
    for options in ('mode=', 'mode=sideways', 'sample=0', 'sample=-1', 'sample=99999999999999999999',
                    'only=x', ',,,', '=', 'dir', 'x' * 5000, 'seed=18446744073709551616'):
        run = w.preload('malloc_free_exact', options=options)
        check_equal(run.status, 0, 'with %r the target runs unharmed %s' % (options[:40], run.describe()))
        check(run.truth()['sites'], 'and does what it does')


main()
