# SPDX-License-Identifier: Apache-2.0
"""Programs over jemalloc, tcmalloc and mimalloc: the doctor names what their allocator keeps, and how much, as the program
itself is told."""
import json
import subprocess

from doctor_look import classes, doctor, near
from harness import Failure, case, check, check_equal, main, need_target, wait_for, waits_for_input


class Speaker:
    """tests/targets/doctor_allocator.h"""

    def __init__(self, w, target, shape, megabytes='64'):
        self.w = w
        self.process = w.start([need_target(target), shape, megabytes], stdin=subprocess.PIPE)
        line = ''
        while '"ready"' not in line:
            line = self.process.stdout.readline()
            check(line, target, 'ended:', self.process.poll())
        self.quiet()

    def quiet(self):
        wait_for(lambda: waits_for_input(self.process.pid), 'the target to wait')

    def figures(self):
        self.process.stdin.write('s')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the target ended')
        self.quiet()
        return json.loads(line)

    def end(self):
        check_equal(self.w.finish(self.process, stdin='q').status, 0, 'status of the target')


def look(w, target, shape, cause, wanted):
    """wanted: bytes of the first verdict, from the program's own figures."""
    t = Speaker(w, target, shape)
    d = doctor(w, t.process.pid)
    names = [v['cause'] for v in d['verdicts']]
    check(names and names[0] == cause, target, shape, 'verdicts', names, 'wanted first', cause)
    of_others = [n for n in names if n.split('-')[0] in ('jemalloc', 'tcmalloc', 'mimalloc')
                 and n.split('-')[0] != cause.split('-')[0]]
    check_equal(of_others, [], '%s %s: causes of allocators that are not there' % (target, shape))
    v, own, rss = d['verdicts'][0], t.figures(), d['facts']['rss']
    near(v['bytes'], wanted(own), rss, '%s %s: bytes of the verdict' % (target, shape))
    check(v['evidence'] and v['remedies'], 'evidence and remedies', v)
    check_equal(sum(classes(d).values()), rss, 'sum of the classes')
    check(classes(d)['unclassified'] <= rss * 0.01, 'not classified', classes(d)['unclassified'])
    t.end()
    return d


@case
def jemalloc_dirty_pages(w):
    for target in ('doctor_jemalloc', 'doctor_jemalloc_linked'):
        look(w, target, 'dirty', 'jemalloc-dirty', lambda own: (own['pdirty'] + own['pmuzzy']) * 4096)


@case
def jemalloc_half_empty_slabs(w):
    look(w, 'doctor_jemalloc', 'internal', 'jemalloc-internal', lambda own: own['active'] - own['allocated'])


@case
def a_prefixed_jemalloc_beside_glibc(w):
    d = look(w, 'doctor_jemalloc_prefixed', 'dirty', 'jemalloc-dirty', lambda own: own['pdirty'] * 4096)
    check_equal(d['allocator'], 'glibc', 'malloc() is glibc\'s')
    check_equal([a['name'].split(',')[0] for a in d['allocators']], ['jemalloc'], 'besides')


@case
def tcmalloc_page_heap(w):
    look(w, 'doctor_tcmalloc', 'pageheap', 'tcmalloc-page-heap', lambda own: own['tcmalloc.pageheap_free_bytes'])


@case
def tcmalloc_caches(w):
    """It has a full page heap as well: both are named."""
    t = Speaker(w, 'doctor_tcmalloc', 'caches')
    d, own = doctor(w, t.process.pid), t.figures()
    found = {v['cause']: v['bytes'] for v in d['verdicts']}
    check('tcmalloc-caches' in found, 'causes', found)
    near(found['tcmalloc-caches'], sum(own['tcmalloc.%s_cache_free_bytes' % name] for name in
                                       ('central', 'transfer', 'thread')), d['facts']['rss'], 'bytes in caches')
    t.end()


@case
def tcmalloc_thread_caches(w):
    """Full caches and a page heap that has next to nothing."""
    d = look(w, 'doctor_tcmalloc', 'thread-caches', 'tcmalloc-caches',
             lambda own: sum(own['tcmalloc.%s_cache_free_bytes' % name] for name in ('central', 'transfer', 'thread')))
    check('tcmalloc-page-heap' not in [v['cause'] for v in d['verdicts']], 'causes', d['verdicts'])


@case
def mimalloc_keeps_free_spans(w):
    """What of 64 MB is not kept, nor in pages with a block in them: the program kept one of 500 blocks of 1 KB."""
    for shape in ('retention', 'threads'):
        t = Speaker(w, 'doctor_mimalloc', shape)
        d = doctor(w, t.process.pid)
        v = d['verdicts'][0]
        check_equal(v['cause'], 'mimalloc-retained', 'first cause')
        # A page of 64 KB for each block kept, 128 of them.
        check(v['bytes'] >= 64e6 - 128 * 65536 - (4 << 20), 'bytes', v)
        check(v['bytes'] <= d['facts']['rss'], 'bytes', v)
        check(classes(d)['other_live'] < 4 << 20, 'live', classes(d)['other_live'])
        check_equal(sum(classes(d).values()), d['facts']['rss'], 'sum of the classes')
        t.end()


if __name__ == '__main__':
    main()
