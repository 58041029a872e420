# SPDX-License-Identifier: Apache-2.0
"""The classes are memcheck's, in blocks and bytes: on every target of the leak checks, and on real programs.  Where seep
differs on purpose the table says how and why; docs/MEMCHECK-AGREEMENT.md says it at length."""
import os
import re
import xml.etree.ElementTree

from harness import (LEAK_CLASSES, TARGETS, Skip, case, check, check_equal, main, need_program, need_target,
                     truth_total)

KINDS = {'Leak_DefinitelyLost': 'definite', 'Leak_IndirectlyLost': 'indirect', 'Leak_PossiblyLost': 'possible',
         'Leak_StillReachable': 'reachable'}

# Where memcheck says something else, by target: blocks and requested bytes by class that it has more (or less), while
# the program waits and at its end.  None: not compared at that moment.
DIFFERENT = {
    # memcheck looks for roots in memory that can be written now.  What the loader made read-only after relocating is
    # where programs keep tables of pointers; LeakSanitizer takes it as root, too.
    'root_relro': [{'reachable': (-2, -400), 'definite': (2, 400)}] * 2,
    # memcheck takes every writable mapping as root, those of files that are shared as well.  seep leaves out what other
    # processes share, unless the program registers it (which is what the target does; memcheck knows no such call).
    'root_region': [{'definite': (-4, -1600), 'reachable': (4, 1600)}, {'definite': (-2, -816), 'reachable': (2, 816)}],
    # At the end memcheck has no registers any more: the program has left through exit_group().
    'root_register': [None, {'reachable': (-1, -216), 'definite': (1, 216)}],
    # memcheck takes no vector registers as roots; it is not asked while this target waits.
    'root_vector_register': [None, {}],
    # The pointer of `new T[0]` is to the end of its block: memcheck says lost, though nothing is.  seep knows the layout.
    'heuristic_newarray_empty': [{'reachable': (-3, -24), 'definite': (3, 24)}] * 2,
    # memcheck visits a block that it has found to be held by lost ones once only: a ring that it met before the chain that
    # leads into it keeps its leader, unless the chain leads to that very block.
    'cycle_held': [{'definite': (2, 48), 'indirect': (-2, -48)}] * 2,
    # A thread's block of a library that came late is allocated with room for its alignment, and what points to it points
    # behind that room: memcheck calls all that hangs on it possibly lost.
    'root_tls_dynamic': [{'reachable': (-3, -1368), 'possible': (3, 1368)}] * 2,
    # libc allocates for keys beyond the 32nd; the target does not know of those blocks, both tools do.
    'root_pthread_key': [{'reachable': (2, 1024)}, {}],
    # LeakSanitizer's calls mean nothing to memcheck.
    'api_ignored': [{}, {'definite': (5, 4120), 'indirect': (5, 280), 'suppressed': (-10, -4400)}],
    'api_disabled': [{}, {'definite': (6, 5136), 'suppressed': (-6, -5136)}],
}


def loaders_own(error):
    """Blocks of the loader: seep has them on a line of their own, memcheck among the program's."""
    for frame in error.find('stack').iter('frame'):
        obj = os.path.basename(frame.findtext('obj') or '')
        if obj.startswith('vgpreload'):
            continue
        return obj.startswith('ld-')
    return False


def memcheck(w, command, own=loaders_own, **more):
    """(blocks, bytes) by class when the program asked, and at its end; and the run."""
    need_program('valgrind')
    xml_file = w.file('memcheck.xml')
    run = w.bare(['valgrind', '--leak-check=full', '--show-leak-kinds=all', '--run-libc-freeres=no',
                  '--run-cxx-freeres=no', '--child-silent-after-fork=yes', '--num-callers=40', '--xml=yes',
                  '--xml-file=' + xml_file, *command], deadline=300, **more)
    asked, end = {}, {}
    now = asked
    for element in xml.etree.ElementTree.parse(xml_file).getroot():
        if element.tag == 'status' and element.findtext('state') == 'FINISHED':
            now = end
        if element.tag != 'error' or element.findtext('kind') not in KINDS or own(element):
            continue
        what = element.find('xwhat')
        blocks, size = int(what.findtext('leakedblocks')), int(what.findtext('leakedbytes'))
        direct = re.match(r'[\d,]+ \(([\d,]+) direct,', what.findtext('text'))
        size = int(direct[1].replace(',', '')) if direct else size
        old = now.get(KINDS[element.findtext('kind')], (0, 0))
        now[KINDS[element.findtext('kind')]] = (old[0] + blocks, old[1] + size)
    return asked, end, run


def apart(wanted, difference):
    """What memcheck should have: seep's, and the explained difference."""
    result = dict(wanted)
    for name, (blocks, size) in difference.items():
        old = result.get(name, (0, 0))
        result[name] = (old[0] + blocks, old[1] + size)
    return {name: value for name, value in result.items() if value[0]}


def add_case(name):
    def run(w):
        asked, end, run = memcheck(w, [need_target('check_' + name)])
        truth = run.truth()
        different = DIFFERENT.get(name, [{}, {}])
        if different[0] is not None:
            wanted = apart(truth_total(truth, 'hold', False), different[0])
            if truth['runtime']:  # libstdc++'s pool comes on top of what the target knows
                check(asked.pop('reachable', (0,))[0] <= wanted.pop('reachable', (0,))[0] + 2, 'blocks of the runtime')
            check_equal(asked, wanted, 'memcheck, as the program waits')
        found = w.check_at_exit([need_target('check_' + name)], status=None).checks
        check_equal(end, apart(found[-1].classes, different[1]), 'memcheck and seep at the end')

    run.__name__ = name
    case(run)


for program in sorted(os.listdir(TARGETS)) if TARGETS else []:
    if program.startswith('check_') and '.' not in program:
        add_case(program[len('check_'):])


# ---- real programs ------------------------------------------------------------------------

def both(w, command, **more):
    """memcheck's classes and seep's, at the end of a program."""
    env = {'PATH': os.environ['PATH'], 'HOME': w.path, 'LANG': 'C', 'PYTHONMALLOC': 'malloc', 'PYTHONHASHSEED': '1',
           'PYTHONDONTWRITEBYTECODE': '1', 'GIT_CONFIG_NOSYSTEM': '1'}
    _, end, run = memcheck(w, command, env=env, **more)
    run_seep = w.check_at_exit(command, status=None, env=env, deadline=300, **more)
    check_equal((run_seep.status, run_seep.stdout), (run.status, run.stdout), 'status and output')
    check_equal(len(run_seep.checks), 1, 'processes checked')
    return end, run_seep.checks[0]


def agree(w, command, **more):
    """Lost blocks exactly; reachable ones nearly, since each tool brings variables into the environment that programs copy."""
    theirs, found = both(w, command, **more)
    for name in LEAK_CLASSES:
        if name == 'reachable':
            for mine, other in zip(found.total(name), theirs.get(name, (0, 0))):
                check(abs(mine - other) <= max(16 if mine < 10000 else 400, 0.03 * other), name, found.total(name), theirs)
            continue
        check_equal(found.classes.get(name, (0, 0)), theirs.get(name, (0, 0)), '%s of %s; %s' % (
            name, ' '.join(command)[:60], found.lost()[:20]))


@case
def program_sqlite(w):
    sql = '''create table t(id integer primary key, name text, n real);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 2000)
insert into t select i, 'name ' || i, i * 1.5 from c;
create index by_name on t(name);
select count(*), sum(n), max(name) from t;
'''
    agree(w, [need_program('sqlite3'), ':memory:', sql])


@case
def program_ls(w):
    agree(w, [need_program('ls'), '-la', '/etc/apt'])


@case
def program_git(w):
    git = need_program('git')
    for command in (['init', '-q', w.file('r')], ['-C', w.file('r'), '-c', 'user.name=a', '-c', 'user.email=a@b',
                                                 'commit', '-q', '--allow-empty', '-m', 'first']):
        run = w.bare([git, *command], env=dict(os.environ, HOME=w.path))
        check_equal(run.status, 0, run.describe())
    agree(w, [git, '-C', w.file('r'), '--no-pager', 'log', '--format=%s'])


@case
def program_bash(w):
    agree(w, [need_program('bash'), '--norc', '-c', 'a=(1 2 3); for i in {1..50}; do a+=($i); done; f() { local x=$1; '
              'echo ${a[@]:$x:3}; }; f 5'])


@case
def program_python(w):
    if not os.path.exists('/usr/bin/python3'):
        raise Skip('there is no /usr/bin/python3')
    agree(w, ['/usr/bin/python3', '-S', '-E', '-c', 'import sys; d = {i: str(i) for i in range(500)}; print(len(d))'])


main()
