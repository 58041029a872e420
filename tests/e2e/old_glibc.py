# SPDX-License-Identifier: Apache-2.0
"""The tracker where threads and dlclose() are in libraries of their own: before glibc 2.34.

A program without threads loads a plug-in that makes some.  Here that is done with the C library that is installed;
SEEP_SOAK=1 does it with those of all Debian releases in the archive (glibc_packages.py), old ones among them, as in a
container of another release.  And where dlopen() looks at who calls it, so that nobody says when it is done.
"""
import os

import glibc_packages
from attach_tools import Spoken, attach, detach
from harness import case, check, check_equal, main, need_target

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'targets')


class Late(Spoken):
    """late_threads, which does a round for each line."""

    def round(self):
        self.say('go')
        self.expect('50')


def values(w, ledger):
    found = w.report(ledger).values('late_block', 'heap')
    return found.inuse, found.inuse_bytes


def from_the_beginning(w, path, **env):
    p = Late(w, [path], env=dict(w.tracked_environment(), **env))
    p.round()
    p.round()
    truth = p.end().truth()['sites']['late_block']
    ledger = w.ledger(p.pid)
    check_equal(values(w, ledger), (truth['allocs'], truth['alloc_bytes']), 'blocks of late threads')
    found = w.report(ledger).totals('stack')
    check_equal((found.allocs, found.inuse), (4, 0), 'stacks of threads that were joined or detached')


def attached_to(w, path, **env):
    p = Late(w, [path], env=dict(os.environ, **env))
    ledger = attach(w, p.pid, '--full', path='inject')['ledger']
    p.round()  # loads it
    check_equal(values(w, ledger), (50, 2000), 'blocks of late threads')
    p.round()
    check_equal(values(w, ledger), (100, 4000), 'blocks of late threads')
    detach(w, p.pid)
    p.round()
    check_equal(values(w, ledger), (100, 4000), 'after detaching')
    again = attach(w, p.pid, '--full', path='inject')['ledger']
    p.round()
    check_equal(values(w, again), (50, 2000), 'in the second ledger')
    p.end()


@case
def threads_that_come_late(w):
    from_the_beginning(w, need_target('late_threads'))


@case
def threads_that_come_late_attached(w):
    attached_to(w, need_target('late_threads'))


@case
def loaded_from_where_search_paths_matter(w):
    attached_to(w, need_target('late_threads_rpath'))


@case
def every_glibc_of_the_archive(w):
    apt = glibc_packages.archive_of(w)
    versions = apt.versions('libc6')
    for version in versions:
        root, folder = w.file('glibc-' + version), w.file('programs-' + version)
        os.makedirs(root)
        os.makedirs(folder)
        apt.unpack(['libc6', 'libc6-dev'], version, root)
        glibc_packages.glibc_target(root, SOURCES, folder, 'late_threads_plugin', ['-pthread'])
        path = glibc_packages.glibc_target(root, SOURCES, folder, 'late_threads', ['-ldl'])
        env = {'LD_LIBRARY_PATH': glibc_packages.library_path(root)}
        from_the_beginning(w, path, **env)
        attached_to(w, path, **env)
        print('# glibc %s: preloaded and attached to' % version, flush=True)
    check(any(v.startswith('2.31') for v in versions), 'none that is old:', versions)


main()
