# SPDX-License-Identifier: Apache-2.0
"""The heap walkers beside the malloc of every C library at hand.

A program that knows its heap (tests/unit/heap/targets/truth.c) runs in all its modes, dynamic and static; the walker's
blocks must be the program's, to the byte, and its mallinfo2() the libc's own answer field by field.  Where `seep check`
is there, it must find exactly the planted leaks.

Normally that is done with what is installed here; SEEP_SOAK=1 fetches the C libraries of all Debian releases in the
archive (glibc_packages.py) and prints a table.
"""
import json
import os
import subprocess

import glibc_packages
from harness import SEEP, TARGETS, Failure, Skip, case, check, check_equal, main

PROGRAMS = os.environ.get('SEEP_HEAP_TARGETS') or os.path.join(os.path.dirname(TARGETS), 'unit', 'heap')
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'unit', 'heap', 'targets', 'truth.c')
MODES = ['mix', 'foreign', 'blocked', 'mapped', 'trimmed', 'threads', 'small']
INTERNAL = 4


class Truth:
    """The program, running and waiting."""

    def __init__(self, w, command, mode):
        self.process = subprocess.Popen([*command, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        w.undo.append(self.end)
        self.info, self.blocks, self.lost, ready = None, {}, set(), False
        for line in self.process.stdout:
            words = line.split()
            if words[0] == 'ready':
                ready = True
                break
            if words[0] == 'mallinfo':
                self.info = words[1:]
            elif words[0] == 'block':
                self.blocks[int(words[1], 16)] = (int(words[2]), int(words[3]))
            elif words[0] == 'lost':
                self.lost.add(int(words[1], 16))
        check(ready, 'the program said nothing:', command, mode)

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def walk(pid):
    tool = os.path.join(PROGRAMS, 'walk_heap')
    if not os.path.exists(tool):
        raise Skip('walk_heap was not built')
    r = subprocess.run([tool, '--blocks', str(pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode == 2:
        raise Skip('one may not look into a child here: ' + r.stderr.strip())
    lines = [line.split() for line in r.stdout.splitlines()]
    info = [line[1:] for line in lines if line[0] == 'mallinfo'][0]
    blocks = {int(line[1], 16): (int(line[2]), int(line[3], 16)) for line in lines if line[0] == 'block'}
    notes = [' '.join(line[1:]) for line in lines if line[0] == 'note']
    return info, blocks, notes


def can_check():
    if not SEEP:
        return False
    r = subprocess.run([SEEP, 'check', '--help'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.returncode == 0 and '--json' in r.stdout


def check_leaks(w, truth, what):
    out = w.file('check.json')
    r = subprocess.run([SEEP, 'check', '--json', '-o', out, '--show-kinds=definite', str(truth.process.pid)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    check(os.path.exists(out) and r.returncode in (0, 1), what, r.stdout)
    with open(out) as f:
        found = json.load(f)['checks'][0]
    definite = found['classes']['definite']['blocks']
    if definite != len(truth.lost):  # what holds those that were not found?
        whys = [w.seep('check', str(truth.process.pid), '--why=%#x' % a).stdout for a in sorted(truth.lost)]
        check(False, what, 'definite leaks:', definite, 'of', len(truth.lost),
              ' '.join(' | '.join(t.split('\n')) for t in whys if 'is lost: nothing' not in t))
    shown = {int(a, 16) for record in found['records'] if record['class'] == 'definite' for a in record['addresses']}
    check(shown <= truth.lost, what, 'what is said to be lost and is not:', [hex(a) for a in shown - truth.lost])


def compare(w, name, command, exact):
    """All modes of one program; returns how many blocks were compared."""
    # What a libc allocates for itself before main is what a program without a block has.
    none = Truth(w, command, 'none')
    own = sum(1 for _, flags in walk(none.process.pid)[1].values() if not flags & INTERNAL)
    none.end()
    total, leaks = 0, can_check()
    for mode in MODES:
        what = '%s, %s' % (name, mode)
        truth = Truth(w, command, mode)
        info, blocks, notes = walk(truth.process.pid)
        if truth.info:
            check_equal(info, truth.info, what + ': mallinfo2')
        wanted = {a: requested if exact else usable for a, (usable, requested) in truth.blocks.items()}
        check_equal({a: blocks[a][0] for a in wanted if a in blocks}, wanted, what + ': blocks')
        more = [a for a, (_, flags) in blocks.items() if a not in wanted and not flags & INTERNAL]
        check_equal(len(more), own, what + ': blocks that the program does not know')
        check_equal(notes, [], what + ': notes')
        if leaks:
            check_leaks(w, truth, what)
        total += len(wanted)
        truth.end()
    return total, leaks


def installed(w, *programs):
    found = False
    for program in programs:
        path = os.path.join(PROGRAMS, program)
        if os.path.exists(path):
            compare(w, program, [path], 'musl' in program)
            found = True
    if not found:
        raise Skip('%s was not built: its libc is not installed' % programs[0])


@case
def installed_glibc(w):
    installed(w, 'truth')


@case
def installed_glibc_static(w):
    installed(w, 'truth_static', 'truth_stripped')


@case
def installed_glibc_under_an_explicit_loader(w):
    path = os.path.join(PROGRAMS, 'truth')
    loader = '/lib64/ld-linux-x86-64.so.2'
    if not os.path.exists(path) or not os.path.exists(loader):
        raise Skip('there is no %s here' % loader)
    compare(w, 'truth under its loader', [loader, path], False)


@case
def installed_musl(w):
    installed(w, 'truth_musl', 'truth_musl_static')


@case
def every_libc_of_the_archive(w):
    table, failed = [], []
    apt = glibc_packages.archive_of(w)
    for libc, packages, programs in (('glibc', ['libc6', 'libc6-dev'], glibc_packages.glibc_programs),
                                     ('musl', ['musl', 'musl-dev'], glibc_packages.musl_programs)):
        for version in apt.versions(packages[0]):
            root = w.file('%s-%s' % (libc, version))
            folder = w.file('programs-%s-%s' % (libc, version))
            os.makedirs(root)
            os.makedirs(folder)
            try:
                apt.unpack(packages, version, root)
                built = programs(root, SOURCE, folder)
            except glibc_packages.Unavailable as e:
                table.append((libc, version, '-', str(e)))
                failed.append(version)
                continue
            for kind, command in built:
                try:
                    # In a static program the heap may lie where numbers look like its addresses: it moves when run anew.
                    for again in (True, False):
                        try:
                            blocks, leaks = compare(w, '%s %s %s' % (libc, version, kind), command, libc == 'musl')
                            break
                        except Failure:
                            if not again or 'static' not in kind and 'stripped' not in kind:
                                raise
                    says = '%d blocks exact%s%s' % (blocks, ', mallinfo2 equal' if libc == 'glibc' else '',
                                                    ', leaks exact' if leaks else '')
                except Skip:
                    raise
                except Exception as e:
                    failed.append('%s %s' % (version, kind))
                    says = 'FAILED: %s' % str(e)[:300]
                table.append((libc, version, kind, says))
    for row in table:
        print('# %-6s %-22s %-9s %s' % row, flush=True)
    check(len(table) >= 8, 'only', len(table), 'programs could be compared')
    check_equal(failed, [], 'C libraries whose heap was not read right')


main()
