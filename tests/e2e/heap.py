# SPDX-License-Identifier: Apache-2.0
"""seep heap: what allocators say of themselves, asked from outside, against what the program itself is told."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import glibc_packages
from harness import (SOAK, Failure, Skip, case, check, check_between, check_equal, main, need_program, need_root,
                     need_target, wait_for, waits_for_input)


class Speaker:
    """A doctor_* target: answers a letter with a line of JSON (tests/targets/doctor_allocator.h)."""

    def __init__(self, w, *command, **more):
        self.w = w
        self.process = w.start([need_target(command[0]), *command[1:]], stdin=subprocess.PIPE, **more)
        self.ready = json.loads(self.line_with('"ready"'))
        self.quiet()

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the target ended: status %r, %r' % (self.process.wait(), self.process.stderr.read()))
        return line

    def line_with(self, word):
        while True:
            line = self.line()
            if word in line:
                return line

    def quiet(self):
        wait_for(lambda: waits_for_input(self.pid), 'the target to wait')

    def say(self, letter):
        self.process.stdin.write(letter)
        self.process.stdin.flush()

    def ask(self, letter):
        self.say(letter)
        answer = json.loads(self.line())
        self.quiet()
        return answer

    def quit(self):
        self.say('q')
        run = self.w.finish(self.process)
        check_equal(run.status, 0, 'status of the target %s' % run.describe())
        return run


def heap(w, pid, *options, status=0):
    run = w.seep('heap', '--json', *options, str(pid))
    check_equal(run.status, status, 'status of seep heap %s' % run.describe())
    return json.loads(run.stdout)


def allocator(found, name):
    matching = [a for a in found['allocators'] if a['name'] == name]
    check_equal(len(matching), 1, '%s among %r' % (name, [a['name'] for a in found['allocators']]))
    return matching[0]


def maps_of(pid):
    with open('/proc/%d/maps' % pid) as f:
        return [line.split(None, 5)[0] + ' ' + line.split(None, 5)[1] for line in f]


# ---- glibc ----------------------------------------------------------------------------------------


def same_as_glibc(w, *command):
    t = Speaker(w, *command)
    found = allocator(heap(w, t.pid), 'glibc')
    xml = w.seep('heap', '--xml', str(t.pid)).stdout
    stats = w.seep('heap', '--native', '--allocator', 'glibc', str(t.pid)).stdout
    check_equal(found['mallinfo2'], t.ask('i'), 'mallinfo2()')
    t.say('x')
    own = ''
    while not own.endswith('end\n'):
        own += t.line()
    check_equal(xml, own[:-4], 'malloc_info()')
    check(xml.count('<heap') >= 5, 'the test is too plain', xml)
    t.ask('t')
    run = t.quit()
    check(run.stderr.endswith(stats), 'malloc_stats(): found', stats, 'wanted the end of', run.stderr)
    return found, xml


@case
def glibc_says_the_same_as_itself(w):
    found, xml = same_as_glibc(w, 'heap_words')
    check(found['is_malloc'], 'its malloc is in use', found)
    check(re.fullmatch(r'2\.\d+', found['version']), 'version', found['version'])
    check('type="fast" count="0"' not in xml.split('</heap>')[0], 'fastbins', xml)


@case
def every_glibc_of_the_archive_says_the_same(w):
    apt = glibc_packages.archive_of(w)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'targets', 'heap_words.c')
    failed, done = [], 0
    try:
        for version in apt.versions('libc6'):
            root, folder = w.file('glibc-' + version), w.file('programs-' + version)
            os.makedirs(root)
            os.makedirs(folder)
            apt.unpack(['libc6', 'libc6-dev'], version, root)
            for kind, command in glibc_packages.glibc_programs(root, source, folder):
                try:
                    found, _ = same_as_glibc(w, *command)
                    done += 1
                    print('# %-22s %-9s %s, malloc_info, mallinfo2 and malloc_stats equal' % (
                        version, kind, found['layout']), flush=True)
                except Failure as e:
                    failed.append('%s %s: %s' % (version, kind, str(e)[:2000]))
    except glibc_packages.Unavailable as e:
        if not done:
            raise Skip(str(e)) from None
        failed.append(str(e))
    check_equal(failed, [], 'C libraries that say otherwise')


@case
def json_of_glibc_adds_up(w):
    t = Speaker(w, 'heap_words')
    found = allocator(heap(w, t.pid), 'glibc')
    heaps = found['malloc_info']['heaps']
    check_equal(sum(h['system_current'] for h in heaps), found['mallinfo2']['arena'], 'system bytes')
    for ours, theirs in (('system_bytes', 'system_current'), ('max_system_bytes', 'system_max'), ('fast_bytes', 'fast_bytes')):
        check_equal([a[ours] for a in found['arenas']], [h[theirs] for h in heaps], ours)
    check(all(a['tcache_bytes'] >= 0 and a['heaps'] >= 1 for a in found['arenas']), 'arenas', found['arenas'])
    check_equal(sum(h['fast_bytes'] for h in heaps), found['mallinfo2']['fsmblks'], 'bytes in fastbins')
    for h in heaps:
        check_equal(sum(s['count'] for s in h['sizes'] if s['list'] != 'fast') + 1, h['rest_count'], 'chunks in bins')
    t.quit()


@case
def no_code_runs_for_glibc(w):
    """Memory of the process is what it was, and no thread of it went through code of seep's."""
    t = Speaker(w, 'heap_words')
    before = maps_of(t.pid)
    heap(w, t.pid)
    check_equal(maps_of(t.pid), before, 'mappings')
    t.quit()


@case
def musl_is_walked(w):
    path = os.path.join(os.path.dirname(os.path.dirname(need_target('heap_words'))), 'unit', 'heap', 'truth_musl')
    if not os.path.exists(path):
        raise Skip('no program with musl was built')
    p = w.start([path], stdin=subprocess.PIPE)
    while p.stdout.readline().strip() != 'ready':
        check(p.poll() is None, 'it ended')
    found = allocator(heap(w, p.pid), 'musl')
    check(found['live'] > 0 and found['blocks'] > 0, 'blocks', found)
    run = w.seep('heap', '--xml', str(p.pid))
    check(run.status == 2 and 'malloc_info' in run.stderr, 'musl has no malloc_info()', run.describe())


# ---- jemalloc ----------------------------------------------------------------------------------------

JEMALLOC = ('allocated', 'active', 'metadata', 'resident', 'mapped', 'retained')
JEMALLOCS = ('doctor_jemalloc', 'doctor_jemalloc_linked', 'doctor_jemalloc_static', 'doctor_jemalloc_prefixed')


def same_as_jemalloc(found, own):
    s = found['stats']
    check_equal({k: s[k] for k in JEMALLOC}, {k: own[k] for k in JEMALLOC}, 'figures')
    check_equal((s['dirty'], s['muzzy']), (own['pdirty'] * 4096, own['pmuzzy'] * 4096), 'dirty and muzzy')
    check_equal(s['thread_cache'], own['tcache_bytes'], 'thread caches')
    check_equal(s['live'], own['allocated'] - own['tcache_bytes'], 'live')
    check_equal(s['arenas'], own['narenas'], 'arenas')


def built(names):
    present = [n for n in names if os.path.exists(os.path.join(os.environ.get('SEEP_TARGETS', ''), n))]
    if not present:
        raise Skip('none of %s was built' % ', '.join(names))
    return present


@case
def jemalloc_says_the_same_as_itself(w):
    for target in built(JEMALLOCS):
        for shape in ('dirty', 'internal', 'caches', 'mixed'):
            t = Speaker(w, target, shape, '16')
            found = allocator(heap(w, t.pid), 'jemalloc')
            same_as_jemalloc(found, t.ask('s'))
            check(found['version'].startswith('5.'), 'version', found['version'])
            t.quit()


@case
def jemalloc_in_all_places_is_found(w):
    for target, prefix, in_program, is_malloc in (
            ('doctor_jemalloc', '', False, True), ('doctor_jemalloc_linked', '', True, True),
            ('doctor_jemalloc_static', '', True, True), ('doctor_jemalloc_prefixed', 'je_', True, False)):
        built((target,))
        t = Speaker(w, target, 'dirty', '4')
        found = heap(w, t.pid)
        je = allocator(found, 'jemalloc')
        check_equal((je['prefix'], je['in_program'], je['is_malloc']), (prefix, in_program, is_malloc), target)
        if target != 'doctor_jemalloc_static':
            check_equal(allocator(found, 'glibc')['is_malloc'], not is_malloc, 'malloc() of %s is the C library\'s' % target)
        t.quit()


@case
def jemalloc_shapes_show(w):
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '64')
    found = allocator(heap(w, t.pid), 'jemalloc')
    s = found['stats']
    check_between(s['dirty'], 40 << 20, 80 << 20, 'dirty bytes')
    check_between(sum(a['dirty'] for a in found['arenas']), s['dirty'], s['dirty'], 'dirty bytes of arenas')
    check_between(sum(b['blocks'] * b['size'] for b in found['bins']), s['allocated'], s['allocated'],
                  'bytes of size classes')
    t.quit()
    t = Speaker(w, 'doctor_jemalloc', 'internal', '64')
    s = allocator(heap(w, t.pid), 'jemalloc')['stats']
    check(s['active'] - s['live'] > s['active'] * 0.6, 'slabs that are a quarter full', s)
    t.quit()
    t = Speaker(w, 'doctor_jemalloc', 'caches')
    s = allocator(heap(w, t.pid), 'jemalloc')['stats']
    check(s['thread_cache'] > 100 << 10, 'full thread caches', s)
    t.quit()


# ---- tcmalloc, mimalloc ----------------------------------------------------------------------------------

TCMALLOC = {'live': 'generic.current_allocated_bytes', 'mapped': 'generic.heap_size', 'resident':
            'generic.total_physical_bytes', 'pageheap_free': 'tcmalloc.pageheap_free_bytes', 'pageheap_unmapped':
            'tcmalloc.pageheap_unmapped_bytes', 'central_cache': 'tcmalloc.central_cache_free_bytes', 'transfer_cache':
            'tcmalloc.transfer_cache_free_bytes', 'thread_cache': 'tcmalloc.thread_cache_free_bytes',
            'max_thread_cache': 'tcmalloc.max_total_thread_cache_bytes'}


@case
def gperftools_says_the_same_as_itself(w):
    for target in built(('doctor_tcmalloc', 'doctor_tcmalloc_linked')):
        for shape in ('pageheap', 'caches', 'mixed'):
            t = Speaker(w, target, shape, '32')
            found = allocator(heap(w, t.pid), 'gperftools')
            own = t.ask('s')
            check_equal({k: found['stats'][k] for k in TCMALLOC}, {k: own[v] for k, v in TCMALLOC.items()}, shape)
            check(re.match(r'\d+\.\d+', found['version']), 'version', found['version'])
            check_equal(found['options']['release-rate']['value'], '1', 'release rate')
            if shape == 'pageheap':
                check(found['stats']['pageheap_free'] > 20 << 20, 'a full page heap', found['stats'])
            if shape == 'caches':
                check(found['stats']['thread_cache'] + found['stats']['central_cache'] +
                      found['stats']['transfer_cache'] > 1 << 20, 'full caches', found['stats'])
            t.quit()


@case
def google_tcmalloc_is_asked_rightly(w):
    t = Speaker(w, 'doctor_tcmalloc_google', 'double')
    found = allocator(heap(w, t.pid), 'tcmalloc')
    own = t.ask('s')
    s = found['stats']
    check_equal((s['live'], s['pageheap_free'], s['pageheap_unmapped'], s['central_cache'], s['metadata'], s['resident']),
                tuple(own[k] for k in ('generic.current_allocated_bytes', 'tcmalloc.pageheap_free_bytes',
                                       'tcmalloc.pageheap_unmapped_bytes', 'tcmalloc.central_cache_free',
                                       'tcmalloc.metadata_bytes', 'generic.physical_memory_used')), 'figures')
    check_equal(s['thread_cache'], own['tcmalloc.cpu_free'] + own['tcmalloc.thread_cache_free'], 'caches')
    check_equal(s['transfer_cache'], own['tcmalloc.transfer_cache_free'] + own['tcmalloc.sharded_transfer_cache_free'],
                'transfer caches')
    text = w.seep('heap', '--native', '--allocator', 'tcmalloc', str(t.pid))
    check_equal(text.stdout, 'in_use_by_app: 123456789\npage_heap_freelist: 50000000\n', 'its text')
    t.quit()


@case
def mimalloc_says_the_same_as_itself(w):
    for shape in ('retention', 'threads'):
        t = Speaker(w, 'doctor_mimalloc', shape, '32')
        found = allocator(heap(w, t.pid), 'mimalloc')
        own = t.ask('s')
        check_equal(found['stats']['committed'], own['commit'], 'committed')
        check_equal(found['options']['purge-delay-ms']['value'], str(own['delay']), 'delay')
        check_equal(found['version'].replace('.', ''), str(own['version']), 'version')
        t.quit()


@case
def mimalloc_blocks_are_counted_in_its_segments(w):
    """What it does not say itself: the program knows how many it kept."""
    for megabytes in (3, 64, 200):
        t = Speaker(w, 'doctor_mimalloc', 'retention', str(megabytes))
        found = allocator(heap(w, t.pid), 'mimalloc')
        kept = t.ask('m')['moved']
        check_equal(sum(b['blocks'] for b in found['bins'] if b['size'] == 1024), kept, 'blocks of 1000 bytes')
        array = megabytes * 1000 * 8
        check_between(found['stats']['live'] - kept * 1024, array, array * 1.35 + 4096, 'besides, the array of pointers')
        check_between(found['stats']['resident'], found['stats']['active'] * 0.1, rss(t.pid), 'resident')
        if megabytes > 3:
            check_between(found['stats']['dirty'], megabytes * 8e5, megabytes * 1e6, 'free and resident')
        t.quit()


# ---- releasing and options -----------------------------------------------------------------------------------


def act(w, pid, *words, status=0):
    run = w.bare([os.environ['SEEP_ALLOCATOR_ACT'], str(pid), *map(str, words)])
    check_equal(run.status, status, 'status of %r %s' % (words, run.describe()))
    return json.loads(run.stdout) if status == 0 else run.stderr


def rss(pid):
    with open('/proc/%d/smaps_rollup' % pid) as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith('Rss:'))


@case
def jemalloc_gives_back_its_dirty_pages(w):
    for target in built(('doctor_jemalloc', 'doctor_jemalloc_static', 'doctor_jemalloc_prefixed')):
        t = Speaker(w, target, 'dirty', '64')
        moved = t.ask('m')
        dirty, before = t.ask('s')['pdirty'] * 4096, rss(t.pid)
        released = act(w, t.pid, 'jemalloc', 'release')['released']
        # And what the borrowed thread's cache held.
        check_between(released, dirty, dirty + (1 << 20), 'bytes it says to have released')
        check_equal(t.ask('s')['pdirty'], 0, 'dirty pages')
        check_between(before - rss(t.pid), released * 0.98, released * 1.02 + (1 << 20), 'what became free')
        check_equal(t.ask('m'), moved, 'blocks')
        t.quit()


@case
def jemalloc_is_told(w):
    t = Speaker(w, 'doctor_jemalloc', 'mixed', '16')
    was = act(w, t.pid, 'jemalloc', 'get')
    check_equal(was['dirty-decay-ms'], {'known': True, 'value': 10000, 'lowest': 10000, 'highest': 10000}, 'dirty decay')
    check(not was['release-rate']['known'], 'jemalloc has no release rate')
    done = act(w, t.pid, 'jemalloc', 'set', 'dirty-decay-ms', 1234)
    check_equal((done['old']['value'], done['new']['value'], done['new']['lowest']), (10000, 1234, 1234), 'change')
    check_equal(done['environment'], 'MALLOC_CONF=dirty_decay_ms:1234', 'how to keep it')
    own = t.ask('s')
    check_equal((own['dirty_decay_ms'], own['arena0_decay']), (1234, 1234), 'decay as the program sees it')
    act(w, t.pid, 'jemalloc', 'set', 'muzzy-decay-ms', -1)
    check_equal(t.ask('s')['muzzy_decay_ms'], -1, 'muzzy decay')
    for value in (1, 0, 1):
        act(w, t.pid, 'jemalloc', 'set', 'background-thread', value)
        check_equal(t.ask('s')['background_thread'], value, 'background thread')
    # With a thread of its own, it is asked all the same, and told to end it.
    heap(w, t.pid)
    act(w, t.pid, 'jemalloc', 'set', 'background-thread', 0)
    for value in ('-2', '1.5', 'nan', '1e30'):
        check('must be' in act(w, t.pid, 'jemalloc', 'set', 'dirty-decay-ms', value, status=2), 'refusal of', value)
    t.quit()


@case
def a_background_thread_decays(w):
    """An idle process keeps its dirty pages; with a background thread and a short decay it does not."""
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '64')
    act(w, t.pid, 'jemalloc', 'set', 'background-thread', 1)
    act(w, t.pid, 'jemalloc', 'set', 'dirty-decay-ms', 100)
    wait_for(lambda: t.ask('s')['pdirty'] < 100, 'dirty pages to decay')
    t.quit()


@case
def gperftools_gives_back_its_page_heap(w):
    for target in built(('doctor_tcmalloc', 'doctor_tcmalloc_linked')):
        t = Speaker(w, target, 'pageheap', '64')
        moved = t.ask('m')
        free, before = t.ask('s')['tcmalloc.pageheap_free_bytes'], rss(t.pid)
        part = act(w, t.pid, 'gperftools', 'release', 10 << 20)['released']
        check_between(part, 10 << 20, 30 << 20, 'a part')
        released = part + act(w, t.pid, 'gperftools', 'release')['released']
        check_between(released, free * 0.9, free * 1.1, 'what it says to have released')
        # The page heap counts pages that were never touched, too.
        check_between(before - rss(t.pid), released * 0.85, released * 1.02 + (1 << 20), 'what became free')
        check_equal(t.ask('m'), moved, 'blocks')
        t.quit()


@case
def gperftools_is_told(w):
    """Its release rate has no C function in 2.10: the method is found in a library by its slot, in a program by its name."""
    for target in built(('doctor_tcmalloc', 'doctor_tcmalloc_linked')):
        t = Speaker(w, target, 'pageheap', '16')
        for rate in (7.5, 0, 10):
            done = act(w, t.pid, 'gperftools', 'set', 'release-rate', rate)
            check_equal((done['new']['known'], done['new']['value']), (True, rate), 'release rate of %s' % target)
        check_equal(done['environment'], 'TCMALLOC_RELEASE_RATE=10', 'how to keep it')
        check('from 0 to 10' in act(w, t.pid, 'gperftools', 'set', 'release-rate', 11, status=2), 'refusal of 11')
        act(w, t.pid, 'gperftools', 'set', 'aggressive-decommit', 1)
        check_equal(t.ask('s')['tcmalloc.aggressive_memory_decommit'], 1, 'aggressive decommit')
        act(w, t.pid, 'gperftools', 'set', 'thread-cache', 1 << 20)
        check_equal(t.ask('s')['tcmalloc.max_total_thread_cache_bytes'], 1 << 20, 'thread caches')
        t.quit()


@case
def google_tcmalloc_is_told(w):
    t = Speaker(w, 'doctor_tcmalloc_google', 'double')
    check_equal(act(w, t.pid, 'tcmalloc', 'release', 1000)['released'], 1000, 'a part')
    check_equal(act(w, t.pid, 'tcmalloc', 'release')['released'], 50000000 - 1000, 'the rest')
    done = act(w, t.pid, 'tcmalloc', 'set', 'release-rate', 1 << 20)
    check_equal((t.ask('s')['rate'], done['new']['value']), (1 << 20, 1 << 20), 'bytes a second')
    act(w, t.pid, 'tcmalloc', 'set', 'thread-cache', 4096)
    check_equal(t.ask('s')['tcmalloc.max_total_thread_cache_bytes'], 4096, 'thread caches')
    check('no aggressive' in act(w, t.pid, 'tcmalloc', 'set', 'aggressive-decommit', 1, status=2), 'it has none of that')
    t.quit()


@case
def mimalloc_collects_and_is_told(w):
    for shape in ('retention', 'threads'):
        t = Speaker(w, 'doctor_mimalloc', shape, '64')
        moved = t.ask('m')
        dirty, before = allocator(heap(w, t.pid), 'mimalloc')['stats']['dirty'], rss(t.pid)
        part = act(w, t.pid, 'mimalloc', 'release', 10 << 20)['released']
        check_between(part, 1, 10 << 20, 'a part')
        released = part + act(w, t.pid, 'mimalloc', 'release')['released']
        check_between(released, dirty * 0.95, dirty * 1.05 + (1 << 20), 'what it says to have released')
        check_between(before - rss(t.pid), released * 0.98, released * 1.02 + (1 << 20), 'what became free')
        check_equal(t.ask('m'), moved, 'blocks')
        check(allocator(heap(w, t.pid), 'mimalloc')['stats']['dirty'] < 2 << 20, 'nothing is left')
        t.quit()
    t = Speaker(w, 'doctor_mimalloc', 'retention', '4')
    done = act(w, t.pid, 'mimalloc', 'set', 'purge-delay-ms', 0)
    check_equal((done['new']['value'], t.ask('s')['delay']), (0, 0), 'delay')
    t.quit()


@case
def mimalloc_is_released_while_it_works(w):
    """Blocks come and go in it all the while; what it kept is checked each time."""
    t = Speaker(w, 'doctor_mimalloc', 'retention', '32')
    moved = t.ask('m')
    for i in range(200 if SOAK else 12):
        t.say('m' * 40)
        run = w.bare([os.environ['SEEP_ALLOCATOR_ACT'], str(t.pid), 'mimalloc', 'release'])
        check_equal(run.status, 0, 'release %d %s' % (i, run.describe()))
        for _ in range(40):
            check_equal(json.loads(t.line()), moved, 'blocks')
    t.quiet()
    t.quit()


# ---- native text ---------------------------------------------------------------------------------------------


@case
def native_text_comes_here_and_not_there(w):
    for target, shape, words in (('doctor_jemalloc', 'dirty', ('Begin jemalloc statistics', 'Allocated: ',
                                                               'End jemalloc statistics')),
                                 ('doctor_tcmalloc', 'pageheap', ('MALLOC:', 'Bytes in page heap freelist')),
                                 ('doctor_mimalloc', 'retention', ('heap stats', 'committed', 'process:'))):
        t = Speaker(w, target, shape, '16')
        run = w.seep('heap', '--native', str(t.pid))
        check_equal(run.status, 0, 'status %s' % run.describe())
        for word in words:
            check(word in run.stdout, word, 'in the text of', target, run.stdout[:500])
        end = t.quit()
        check_equal((end.stdout, end.stderr), ('', ''), 'what %s printed' % target)
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '16')
    stats = json.loads(w.seep('heap', '--native', '--stats-print-opts', 'J', str(t.pid)).stdout)
    # It prints through a buffer of 64 KiB, which it allocates.
    check_between(stats['jemalloc']['stats']['allocated'] - t.ask('s')['allocated'], 0, 65536, 'allocated in its JSON')
    t.quit()


# ---- the target is left as it was --------------------------------------------------------------------------------


@case
def nothing_stays_behind(w):
    for target, shape in (('doctor_jemalloc', 'mixed'), ('doctor_tcmalloc', 'mixed'), ('doctor_mimalloc', 'threads')):
        t = Speaker(w, target, shape, '8')
        heap(w, t.pid)
        before, moved = maps_of(t.pid), t.ask('m')
        for _ in range(5):
            heap(w, t.pid)
        check_equal(t.ask('m'), moved, 'blocks of %s' % target)
        check_equal(len(maps_of(t.pid)), len(before), 'mappings of %s' % target)
        check_equal(len(os.listdir('/proc/%d/fd' % t.pid)), 3 + 2, 'files of %s' % target)
        t.quit()


@case
def a_killed_seep_leaves_it_alone(w):
    """Killed at any moment of a visit."""
    t = Speaker(w, 'doctor_jemalloc', 'mixed', '16')
    rounds = 300 if SOAK else 25
    moved = t.ask('m')
    for i in range(rounds):
        p = w.start([os.environ['SEEP'], 'heap', '--json', str(t.pid)])
        time.sleep(0.0005 * (i % 60))
        p.send_signal(signal.SIGKILL)
        p.communicate()
        w.started.remove(p)
        if i % 5 == 0:
            check_equal(t.ask('m'), moved, 'blocks after %d kills' % i)
    check_equal(t.ask('m'), moved, 'blocks')
    same_as_jemalloc(allocator(heap(w, t.pid), 'jemalloc'), t.ask('s'))
    # What a killed visit had mapped, the process that traces takes away.
    wait_for(lambda: not any(line.split()[1] == 'r-xp' and line.split()[2:5] == ['00000000', '00:00', '0'] and
                             'vdso' not in line and 'vsyscall' not in line
                             for line in open('/proc/%d/maps' % t.pid)), 'its code to be unmapped')
    t.quit()


@case
def a_killed_release_leaves_it_alone(w):
    """Killed while the allocator gives back, or while its free spans are dropped: the blocks hold what they held."""
    for target, shape, name in (('doctor_jemalloc', 'mixed', 'jemalloc'), ('doctor_tcmalloc', 'mixed', 'gperftools'),
                                ('doctor_mimalloc', 'threads', 'mimalloc')):
        t = Speaker(w, target, shape, '32')
        moved = t.ask('m')
        for i in range(100 if SOAK else 8):
            p = w.start([os.environ['SEEP_ALLOCATOR_ACT'], str(t.pid), name, 'release'])
            time.sleep(0.002 * (i * 7 % 40))
            p.send_signal(signal.SIGKILL)
            p.communicate()
            w.started.remove(p)
            check_equal(t.ask('m'), moved, 'blocks of %s after %d kills' % (target, i + 1))
        # what the last one left unfinished its guardian puts in order first
        wait_for(lambda: 'TracerPid:\t0\n' in open('/proc/%d/status' % t.pid).read(), 'the guardian to let go')
        act(w, t.pid, name, 'release')
        check_equal(t.ask('m'), moved, 'blocks of %s' % target)
        check(open('/proc/%d/stat' % t.pid).read().rsplit(')', 1)[1].split()[0] in 'SR', 'it runs')
        t.quit()


@case
def a_busy_program_is_asked_in_passing(w):
    """It allocates all the while."""
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '16')
    for _ in range(20):
        t.say('m' * 50)
        found = allocator(heap(w, t.pid), 'jemalloc')
        check(found['error'] is None and found['stats']['allocated'] > 0, 'an answer', found)
        for _ in range(50):
            t.line()
    t.quiet()
    t.quit()


@case
def a_tracker_in_front_makes_no_difference(w):
    """It exports mallctl() and MallocExtension_* itself: the real ones are asked."""
    t = Speaker(w, 'doctor_jemalloc', 'mixed', '8', env=w.tracked_environment())
    found = heap(w, t.pid)
    je = allocator(found, 'jemalloc')
    check('libjemalloc' in je['module'], 'who was asked', je['module'])
    check(je['stats']['live'] > 100000, 'figures', je['stats'])
    moved = t.ask('m')
    heap(w, t.pid)
    check_equal(t.ask('m'), moved, 'blocks')
    t.quit()
    t = Speaker(w, 'doctor_tcmalloc', 'mixed', '8', env=w.tracked_environment())
    check('libtcmalloc' in allocator(heap(w, t.pid), 'gperftools')['module'], 'who was asked')
    t.quit()


# ---- who cannot be asked -------------------------------------------------------------------------------------------


@case
def a_stopped_process_says_why(w):
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '4')
    os.kill(t.pid, signal.SIGSTOP)
    wait_for(lambda: open('/proc/%d/stat' % t.pid).read().rsplit(')', 1)[1].split()[0] == 'T', 'it to stop')
    found = heap(w, t.pid, '--allocator', 'jemalloc', status=2)
    check('SIGSTOP' in allocator(found, 'jemalloc')['error'], 'the reason', found)
    os.kill(t.pid, signal.SIGCONT)
    t.quit()


@case
def errors_are_told(w):
    t = Speaker(w, 'heap_words')
    run = w.seep('heap', '--allocator', 'jemalloc', str(t.pid))
    check(run.status == 2 and 'glibc' in run.stderr, 'which there are', run.describe())
    for options in (('--xml', '--json'), ('--xml', '--allocator', 'jemalloc')):
        check_equal(w.seep('heap', *options, str(t.pid)).status, 2, 'status of %r' % (options,))
    t.quit()
    check_equal(w.seep('heap', str(t.pid)).status, 2, 'status for a process that is gone')


@case
def another_user_needs_permission(w):
    need_root()
    t = Speaker(w, 'doctor_jemalloc', 'dirty', '4')
    # As nobody, of a process of root.
    os.chmod(w.path, 0o755)
    run = w.bare([os.environ['SEEP'], 'heap', str(t.pid)], user=65534, group=65534, extra_groups=[])
    check_equal(run.status, 2, 'status %s' % run.describe())
    check(re.search('permission|ptrace|root|user', run.stderr), 'the reason', run.stderr)
    t.quit()


@case
def a_seccomp_filter_is_suspended(w):
    """It would kill the process for what is injected; root can suspend it."""
    need_root()
    t = Speaker(w, 'seccomp_exec', need_target('doctor_jemalloc'), 'dirty', '4')
    with open('/proc/%d/status' % t.pid) as f:
        check('Seccomp:\t2' in f.read(), 'there is a filter')
    found = w.seep('heap', '--json', '--allocator', 'jemalloc', str(t.pid))
    if found.status and 'seccomp filter' in found.stdout:
        t.quit()
        raise Skip('filters cannot be suspended here')
    same_as_jemalloc(allocator(json.loads(found.stdout), 'jemalloc'), t.ask('s'))
    t.quit()


@case
def other_namespaces_and_deleted_programs_make_no_difference(w):
    """Its own mounts, pids and root; the program's and the library's files are gone by the time it is asked."""
    need_root()
    root = w.file('root')
    os.mkdir(root)
    target = need_target('doctor_jemalloc')
    libraries = re.findall(r'(/\S+) \(0x', w.bare([need_program('ldd'), target]).stdout)
    check(any('libjemalloc' in path for path in libraries), 'libraries', libraries)
    for path in libraries + [target]:
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.realpath(path), root + path)
    process = w.start([need_program('unshare'), '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child', '--root',
                       root, target, 'dirty', '8'], stdin=subprocess.PIPE)
    line = process.stdout.readline() and process.stdout.readline()
    if 'ready' not in line:
        raise Skip('no namespaces here: %r' % process.stderr.read())
    with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as f:
        pid = int(f.read().split()[0])
    shutil.rmtree(root)
    wait_for(lambda: waits_for_input(pid), 'the target to wait')
    found = allocator(heap(w, pid), 'jemalloc')
    process.stdin.write('s')
    process.stdin.flush()
    same_as_jemalloc(found, json.loads(process.stdout.readline()))
    process.stdin.write('q')
    process.stdin.flush()
    check_equal(w.finish(process).status, 0, 'status of the target')


# ---- real programs ------------------------------------------------------------------------------------------------------


@case
def redis_is_asked(w):
    server = need_program('redis-server')
    sock = w.file('redis.sock')
    p = w.start([server, '--port', '0', '--unixsocket', sock, '--save', '', '--dir', w.path], cwd=w.path)
    wait_for(lambda: os.path.exists(sock), 'redis to listen')
    client = [need_program('redis-cli'), '-s', sock]
    w.bare([*client, 'debug', 'populate', '20000', 'key', '500'])
    found = allocator(heap(w, p.pid), 'jemalloc')
    own = dict(line.split(':', 1) for line in w.bare([*client, 'info', 'memory']).stdout.split() if ':' in line)
    # It serves a client in between.
    for key, name in (('allocated', 'allocator_allocated'), ('active', 'allocator_active'), ('resident',
                                                                                          'allocator_resident')):
        check_between(found['stats'][key] / int(own[name]), 0.97, 1.03, name)
    check_equal(w.bare([*client, 'ping']).stdout, 'PONG\n', 'redis afterwards')


if __name__ == '__main__':
    main()
