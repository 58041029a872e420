# SPDX-License-Identifier: Apache-2.0
"""seep check --watch: only what stays lost from one check to the next is a leak, and after that only what is new."""
import re
import signal
import subprocess
import threading

from harness import SEEP, case, check, check_equal, main, need_target, wait_for


class Watched:
    """leak_commands, and a seep that watches it; both are told what to do in turns."""

    def __init__(self, w, *options):
        self.target = w.start([need_target('leak_commands')], stdin=subprocess.PIPE)
        self.w, self.options, self.text, self.ready = w, options, '', threading.Condition()

    def tell(self, letters):
        for letter in letters:
            self.target.stdin.write(letter)
            self.target.stdin.flush()
            check_equal(self.target.stdout.read(1), letter, 'the answer')

    def watch(self):
        self.seep = self.w.start([SEEP, 'check', '--watch=700ms', *self.options, str(self.target.pid)])
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.seep.stdout:
            with self.ready:
                self.text += line

    def wait(self, pattern):
        def found():
            with self.ready:
                return re.search(pattern, self.text)
        return wait_for(found, '%r in %r' % (pattern, self.text))

    def end(self):
        self.reader.join(60)
        check(not self.reader.is_alive(), 'seep has ended', self.text)
        status = self.seep.wait(60)
        stderr = self.seep.stderr.read()
        return status, stderr


@case
def only_what_persists(w):
    watched = Watched(w, '--count=4', '--fail-on=definite')
    watched.tell('lllllh')  # five lost for good; one pointer on its way elsewhere
    watched.watch()
    watched.wait('check 1: 6 blocks are not reachable')
    watched.tell('s')
    watched.wait(r'definitely lost +\S+ \S+ in 5 blocks')
    watched.tell('ll')      # seen lost by check 3 for the first time, and confirmed by the next
    watched.wait(r'definitely lost +\S+ \S+ in 7 blocks')
    status, stderr = watched.end()
    check_equal((status, stderr), (1, ''), 'status %r' % watched.text)
    watched.tell('l')
    check_equal(watched.target.poll(), None, 'the target runs on')


@case
def a_program_that_loses_nothing(w):
    watched = Watched(w, '--count=3', '--fail-on=definite')
    watched.tell('h')
    watched.watch()
    watched.wait('check 1: 1 block')
    watched.tell('s')
    status, stderr = watched.end()
    check_equal((status, stderr), (0, ''), 'status %r' % watched.text)
    check(not re.search(r'definitely lost +[1-9]', watched.text), watched.text)


@case
def the_target_ends(w):
    watched = Watched(w)
    watched.tell('l')
    watched.watch()
    watched.wait('check 1')
    watched.target.stdin.close()
    watched.target.wait(60)
    status, stderr = watched.end()
    check_equal(status, 0, 'status %r' % stderr)
    check('ended' in stderr, 'it says so', stderr)


@case
def interrupted(w):
    watched = Watched(w)
    watched.watch()
    watched.wait('check 1')
    watched.seep.send_signal(signal.SIGINT)
    status, stderr = watched.end()
    check_equal((status, stderr), (0, ''), 'status')
    check_equal(watched.target.poll(), None, 'the target runs on')


main()
