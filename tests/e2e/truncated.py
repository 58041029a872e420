# SPDX-License-Identifier: Apache-2.0
"""Files of other tools that end too early: what was readable is shown, with a warning that says where it broke off.

Each real file is cut at twenty places.  Whatever the place, seep shows a profile and warns with a line or a byte, or says
why there is nothing to show; it never shows more than the whole file has.
"""
import glob
import gzip
import json
import os
import re
import shutil
import subprocess

from harness import (Skip, case, check, check_equal, main, need_program, need_target)

PLACES = 20
SAMPLE = 'sample_sites'
WHERE = re.compile(r'\b(line|byte) \d+')


def library(name):
    for path in glob.glob('/usr/lib/*/' + name) + glob.glob('/usr/lib/' + name):
        return path
    raise Skip('%s is not installed' % name)


def totals(w, path):
    """In use and allocated, and what was said; None when nothing could be read."""
    run = w.seep('report', '--json', '--top', '1', '--kind', 'all', '--no-symbols', path)
    check(run.status in (0, 2), 'status of seep report %s' % run.describe())
    if run.status:
        return None, run.stderr
    found = json.loads(run.stdout)['totals']
    return (found['in_use']['bytes'], found['allocated']['bytes']), run.stderr


def between_lines(content, n):
    """One line is as good as another: a cut between two of them cannot be seen."""
    return content[n - 1:n] == b'\n'


def between_mappings(content, n):
    """The same at the end of gperftools' and jemalloc's files, where the mappings are; that they are missing is seen."""
    return between_lines(content, n) and 0 <= content.find(b'MAPPED_LIBRARIES:\n') < n - 18


def between_snapshots(content, n):
    return content[n:].startswith(b'#-----------\nsnapshot=')


def cut_everywhere(w, path, grows=True, seam=lambda content, n: False):
    """`grows`: it is read from the front, so of a longer part as much is shown or more.  `seam`: whether what is before
    n is a whole file, too."""
    size, last = os.path.getsize(path), 0
    whole, said = totals(w, path)
    check(whole is not None, path, 'cannot be read:', said)
    check(not WHERE.search(said), 'of the whole file', said)
    value = 1 if whole[1] else 0  # what was allocated, where the format knows that
    with open(path, 'rb') as f:
        content = f.read()
    for i in range(1, PLACES + 1):
        n = size * i // (PLACES + 1)
        part = w.file('part-' + os.path.basename(path))
        with open(part, 'wb') as f:
            f.write(content[:n])
        found, said = totals(w, part)
        what = '%s cut after %d of %d bytes' % (os.path.basename(path), n, size)
        if found is None:
            # of the first few hundred bytes nobody can say what they are
            check(WHERE.search(said) or 'there is no' in said or n < 600 and 'in no format that seep reads' in said, what,
                  'is refused without a reason:', said)
            check(not last, what, 'is refused, and a shorter part was not:', said)
            continue
        check(WHERE.search(said) or seam(content, n), what, 'is read without a word:', said)
        check(found[value] <= whole[value], what, 'has more than all of it', found, whole)
        check(not grows or found[value] >= last, what, 'shows', found, 'and a shorter part', last)
        last = found[value]
    check(last or not grows, 'of', path, 'nothing was ever shown')


@case
def jemalloc(w):
    env = dict(os.environ, LD_PRELOAD=library('libjemalloc.so.2'), MALLOC_CONF=(
        'prof:true,prof_final:true,prof_accum:true,lg_prof_sample:0,prof_prefix:' + w.file('je')))
    run = w.bare([need_target(SAMPLE)], env=env)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    dumps = glob.glob(w.file('je.*.heap'))
    if not dumps:
        raise Skip('this jemalloc was built without profiling')
    cut_everywhere(w, dumps[0], seam=between_mappings)


@case
def gperftools(w):
    run = w.bare([need_target(SAMPLE)], env=dict(os.environ, LD_PRELOAD=library('libtcmalloc.so.4'), HEAPPROFILE=w.file('gp')))
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    cut_everywhere(w, sorted(glob.glob(w.file('gp.*.heap')))[-1], seam=between_mappings)


@case
def massif(w):
    path = w.file('massif.out')
    run = w.bare([need_program('valgrind'), '--tool=massif', '--detailed-freq=1', '--threshold=0', '--massif-out-file=' + path,
                  need_target('leak_simple')])
    check_equal(run.status, 0, 'status of massif %s' % run.describe())
    cut_everywhere(w, path, grows=False, seam=between_snapshots)


@case
def memcheck(w):
    log, xml = w.file('memcheck.log'), w.file('memcheck.xml')
    for more in (['--log-file=' + log], ['--xml=yes', '--xml-file=' + xml]):
        run = w.bare([need_program('valgrind'), '--leak-check=full', '--show-leak-kinds=all', *more,
                      need_target('check_cycle_tree')])
        check_equal(run.status, 0, 'status of memcheck %s' % run.describe())
        # it is checked twice, and the second check takes the place of the first
        cut_everywhere(w, xml if os.path.exists(xml) else log, grows=False)


@case
def leaksanitizer(w):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'targets', 'leak_simple.c')
    program, path = w.file('leak'), w.file('lsan.txt')
    made = w.bare([need_program('gcc', 'clang'), '-g', '-O1', '-fsanitize=leak', '-o', program, source])
    if made.status:
        raise Skip('there is no compiler that links with -fsanitize=leak')
    run = w.bare([program])
    if 'detected memory leaks' not in run.stderr:
        raise Skip('LeakSanitizer does not work here: ' + run.stderr[-200:])
    with open(path, 'w') as f:
        f.write(run.stderr)
    cut_everywhere(w, path)


@case
def heaptrack(w):
    heaptrack = need_program('heaptrack')
    for mode in ([], ['--raw']):
        prefix = w.file('ht' + ''.join(mode))
        run = w.bare([heaptrack, *mode, '-o', prefix, need_target(SAMPLE)], cwd=w.path)
        files = glob.glob(prefix + '*.zst') + glob.glob(prefix + '*.gz')
        check(files, 'heaptrack wrote nothing', run.describe())
        plain = prefix + '.plain'
        with open(plain, 'wb') as out:
            if files[0].endswith('.gz'):
                with gzip.open(files[0]) as f:
                    shutil.copyfileobj(f, out)
            else:
                subprocess.run([need_program('zstd'), '-dc', files[0]], stdout=out, check=True)
        cut_everywhere(w, files[0])
        cut_everywhere(w, plain, seam=between_lines)


@case
def what_seep_exports(w):
    run = w.preload(SAMPLE)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    for name in ('a.pb.gz', 'a.heap', 'a.jeheap', 'a.massif', 'a.folded'):
        path = w.file(name)
        made = w.seep('export', w.ledger(run.pid), '-o', path)
        check_equal(made.status, 0, 'status of seep export %s' % made.describe())
        seams = {'a.folded': {'seam': between_lines}, 'a.massif': {'seam': between_snapshots}}
        cut_everywhere(w, path, grows=name in ('a.heap', 'a.jeheap', 'a.folded'), **seams.get(name, {}))
        if name.endswith('.gz'):
            with gzip.open(path) as f, open(w.file('a.pb'), 'wb') as out:
                shutil.copyfileobj(f, out)
            cut_everywhere(w, w.file('a.pb'), grows=False)


@case
def what_seep_itself_writes(w):
    """A snapshot is whole or refused.  Ledgers are hostile.py's."""
    run = w.preload(SAMPLE)
    ledger, snapshot = w.ledger(run.pid), w.file('a.seep')
    check_equal(w.seep('snap', '-o', snapshot, ledger).status, 0, 'seep snap')
    with open(snapshot, 'rb') as f:
        content = f.read()
    for i in range(1, PLACES):
        part = w.file('part.seep')
        with open(part, 'wb') as f:
            f.write(content[:len(content) * i // PLACES])
        found, said = totals(w, part)
        check(found is None and re.search('truncated|too short|empty|no known', said), 'snapshot cut at', i, found, said)


if __name__ == '__main__':
    main()
