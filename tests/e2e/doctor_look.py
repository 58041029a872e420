# SPDX-License-Identifier: Apache-2.0
"""The doctor's targets, and what it says of a process."""
import json
import subprocess

from harness import check, check_equal, need_target, wait_for, waits_for_input


class Target:
    def __init__(self, w, name, variant='', env=None):
        self.name = name
        command = [need_target('doctor_%s%s' % (name, variant))]
        self.process = w.start(command, stdin=subprocess.PIPE, env=env)
        self.truth = self.read()

    def read(self):
        line = self.process.stdout.readline()
        check(line, self.name, 'said nothing and ended:', self.process.poll())
        truth = json.loads(line)
        wait_for(lambda: waits_for_input(truth['pid']), '%s to wait for its input' % self.name)
        return truth

    def go_on(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        self.truth = self.read()

    def end(self, w):
        run = w.finish(self.process, stdin='')
        check_equal(run.status, 0, 'status of the target afterwards %s' % run.describe())


def doctor(w, *args, status=0):
    run = w.seep('doctor', '--json', *map(str, args))
    check_equal(run.status, status, run.describe())
    return json.loads(run.stdout) if status == 0 else run


def classes(d):
    return {c['class']: c['bytes'] for c in d['classes']}


def near(found, wanted, rss, what):
    """Within 2 % of the truth; what is less than a hundredth of all is not looked at so closely."""
    check(abs(found - wanted) <= max(0.02 * wanted, 0.005 * rss), what, 'found', found, 'but the target says', wanted)
