# SPDX-License-Identifier: Apache-2.0
"""Free memory that is in swap: the doctor says how much, and trimming it empties the swap.

A swap file is made for it, and goes with it; while it is there, other programs may be swapped out, so this runs alone."""
import os
import subprocess
import tempfile

from doctor_look import Target, classes, doctor, near
from harness import Skip, case, check, check_equal, main, need_program, need_root

SIZE = 160 << 20


def swap(w):
    """Swap of SIZE, until the workspace is closed."""
    need_root()
    mkswap, swapon, swapoff = (need_program(p) for p in ('mkswap', 'swapon', 'swapoff'))
    # Not in the workspace: that is in shared memory, which cannot be swapped to.
    fd, path = tempfile.mkstemp(prefix='seep-e2e-swap-', dir='/var/tmp')
    w.undo.append(lambda: os.unlink(path))
    try:
        os.posix_fallocate(fd, 0, SIZE)
    except OSError as e:
        raise Skip('there is no room for a swap file in /var/tmp: %s' % e) from None
    finally:
        os.close(fd)
    for command in ([mkswap, path], [swapon, path]):
        run = w.bare(command)
        if run.status:
            raise Skip('no swap can be made here: %s: %s' % (' '.join(command), run.stderr.strip()))
    w.undo.append(lambda: subprocess.run([swapoff, path], check=True))


@case
def free_memory_in_swap(w):
    swap(w)
    t = Target(w, 'swapped')
    truth = t.truth['classes']
    if truth['swap_free'] < 64 << 20:
        raise Skip('the kernel paged out %d bytes only, with swap at hand' % truth['swap_free'])
    d = doctor(w, t.truth['pid'])
    names = [v['cause'] for v in d['verdicts']]
    check(names and names[0] == 'free-swapped', 'verdicts', names)
    near(d['facts']['swap_free'], truth['swap_free'], d['facts']['rss'], 'free memory in swap')
    near(d['facts']['swap'], truth['swap_free'], d['facts']['rss'], 'VmSwap')
    near(classes(d)['free_bins'], truth['free_bins'], d['facts']['rss'], 'what is still resident')
    check_equal(sum(classes(d).values()), d['facts']['rss'], 'sum of the classes')
    # Looking has not brought it back: what it has read, its clone has read.
    again = doctor(w, t.truth['pid'])
    near(again['facts']['swap_free'], truth['swap_free'], d['facts']['rss'], 'free memory in swap, looked at again')
    run = w.seep('trim', str(t.truth['pid']))
    check_equal(run.status, 0, run.describe())
    after = doctor(w, t.truth['pid'])
    check(after['facts']['swap'] < truth['swap_free'] * 0.02, 'trimmed, but VmSwap is', after['facts']['swap'])
    check('free-swapped' not in [v['cause'] for v in after['verdicts']], after['verdicts'])
    t.end(w)


if __name__ == '__main__':
    main()
