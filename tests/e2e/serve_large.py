# SPDX-License-Identifier: Apache-2.0
"""seep serve with snapshots of 50,003 sites and 340,000 frames: the memory it takes, and how soon a difference is on the page.

SEEP_SOAK=1: the time has its limit (300 ms from click to paint; on a machine at rest), and the memory is given back after a minute.
"""
import os
import re
import subprocess

from harness import SOAK, case, check, check_equal, main, need_program, need_target, wait_for
from serve_client import Server, embedded, packages, tracked_target

BASES = 6
MIB = 1 << 20


def resident(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int(next(line for line in f if line.startswith('VmRSS')).split()[1]) << 10


def recorded(w, snapshots):
    """A server that has just been started, a process in its store, and the numbers of so many snapshots."""
    target = tracked_target(w, need_target('million_sites'), '25000', '100000', 'hold')
    server = Server(w)
    process = server.find(target.pid, tracked=True)['id']
    numbers = [server.snapshot(process) for _ in range(snapshots)]
    server.stop()
    return Server(w), process, numbers


def difference(server, view, base):
    found = server.get('/api/v1/view/flame', view=view, base=base, lines=1, most=100000)
    check(found['about']['diff'] and found['about']['sites'] > 25000, found['about'])
    check_equal(len(found['nodes']['parent']), len(found['nodes']['base']), 'columns of the difference')


@case
def memory_is_used_again(w):
    server, process, shots = recorded(w, BASES + 1)
    view = shots.pop()
    before = resident(server)
    server.get('/api/v1/view/flame', view=view, lines=1, most=100000)
    # by itself: what the next question will take is there before it comes
    wait_for(lambda: resident(server) - before > 90 * MIB, 'memory for the next question')
    for base in shots:
        difference(server, view, base)
    # seven profiles of some 25 MB, two differences, answers, what one more takes, and holes; as tables that were never found room again it was 780
    most = resident(server)
    print('# %d MiB resident before, %d after %d differences' % (before / MIB, most / MIB, BASES))
    check(most < 450 * MIB, 'resident', most / MIB)
    if SOAK:
        wait_for(lambda: resident(server) < most - 32 * MIB, 'memory to be given back', deadline=90)
        difference(server, view, shots[0])
    server.stop()


@case
def a_difference_is_on_the_page_at_once(w):
    need_program('chromium', 'chromium-browser', 'google-chrome')
    node, folder = need_program('node'), packages()
    server, process, shots = recorded(w, BASES + 1)
    embedded(server)
    view = shots.pop()
    run = subprocess.run([node, os.path.join(folder, 'test', 'diff.mjs'), server.url, str(process), str(view), *map(str, shots)],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    print('\n'.join('# ' + line for line in run.stdout.splitlines()), flush=True)
    check(run.returncode == 0, run.stdout, run.stderr[-2000:])
    median = re.search(r'median (\d+) ms', run.stdout)
    check(median and run.stdout.count('to the paint') == BASES, run.stdout)
    if SOAK:
        check(int(median.group(1)) <= 300, 'click to paint', run.stdout)
    server.stop()


if __name__ == '__main__':
    main()
