# SPDX-License-Identifier: Apache-2.0
"""libseep.so as a file: what it imports, what it exports, and what it costs a program that does nothing."""
import os
import re
import struct

from harness import LIBRARY, case, check, check_equal, main, need_program

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = os.path.join(HERE, '..', '..', '..', 'include', 'seep.h')
HOOKS = os.path.join(HERE, '..', '..', '..', 'src', 'track', 'hooks.def')
SMALL = 256 << 10
OLDEST_GLIBC = (2, 17)


def allowed():
    """(must be there, may be there)"""
    must, may = set(), set()
    with open(os.path.join(HERE, 'imports.allow')) as f:
        for line in f:
            words = line.split('#')[0].split()
            if words:
                (may if words[0] == '?' else must).add(words[-1])
    return must, may


def symbols(w, option):
    run = w.bare([need_program('nm'), '-D', option, LIBRARY])
    check_equal(run.status, 0, run.describe())
    return {line.split()[-1].split('@')[0] for line in run.stdout.splitlines()}


@case
def imports_are_the_allowed_ones(w):
    must, may = allowed()
    found = symbols(w, '--undefined-only')
    check_equal(sorted(found - must - may), [], 'imports that are not in imports.allow')
    check_equal(sorted(must - found), [], 'entries of imports.allow that nothing uses')


@case
def imports_come_from_libc_alone(w):
    dynamic = w.bare([need_program('readelf'), '-dW', LIBRARY]).stdout
    needed = re.findall(r'\(NEEDED\)[^[]*\[([^]]+)\]', dynamic)
    check('libc.so.6' in needed, 'needed', needed)
    check_equal([n for n in needed if n != 'libc.so.6' and not n.startswith('ld-linux-')], [], 'other libraries')
    versions = w.bare([need_program('readelf'), '-VW', LIBRARY]).stdout
    check_equal(sorted({f for f in re.findall(r'File: (\S+)', versions)} - set(needed)), [], 'versioned imports from')
    # Wherever it is built, it can be loaded into what runs over an old C library: in a container of another release.
    asked = sorted({tuple(map(int, v.split('.'))) for v in re.findall(r'Name: GLIBC_([0-9.]+)', versions)})
    check(asked and asked[-1] <= OLDEST_GLIBC, 'versions of glibc it needs', asked, 'at most', OLDEST_GLIBC)


@case
def exports_are_the_hooks_and_the_program_api(w):
    """Lists say what is intercepted and offered; a helper exported by mistake could replace the target's own."""
    with open(HOOKS) as f:
        hooks = set(re.findall(r'^HOOK(?:_OPT)?\([^,]+, (\w+),', f.read(), re.M))
    with open(HEADER) as f:
        api = {'seep_v1_' + name for name in re.findall(r'^SEEP_FUNCTION_\([^,]+, (\w+),', f.read(), re.M)}
    check(len(hooks) > 40, 'hooks', hooks)
    check_equal(len(api), 12, 'functions that a program may call')
    # How seep speaks to a library it has injected (src/wire/attach.h).
    api |= {'seep_attach_entry', 'seep_attach_status'}
    found = symbols(w, '--defined-only')
    check_equal(sorted(found - hooks - api), [], 'exports that are no hooks')
    check_equal(sorted((hooks | api) - found), [], 'hooks that are not exported')


@case
def a_program_that_does_nothing_leaves_a_small_ledger(w):
    run = w.preload(need_program('true'))
    check_equal((run.status, run.stdout, run.stderr), (0, '', ''), 'status and output of true')
    st = os.stat(w.ledger(run.pid))
    check(0 < st.st_blocks * 512 < SMALL, 'storage', st.st_blocks * 512, 'of', st.st_size)
    with open(w.ledger(run.pid), 'rb') as f:
        magic, version, size, file_size = struct.unpack('<8sIIQ', f.read(24))
    check_equal((magic, version, file_size), (b'\xffSEEPLGR', 1, st.st_size), 'header')


@case
def start_up_makes_few_system_calls(w):
    """Not timed: the calls the library makes of its own, over those the program makes alone."""
    strace, true = need_program('strace'), need_program('true')

    def calls(env):
        # Set by strace for the program only, not for strace itself.
        out = w.file('strace')
        settings = [a for name, value in env.items() for a in ('-E', '%s=%s' % (name, value))]
        run = w.bare([strace, '-f', '-o', out] + settings + [true])
        check_equal(run.status, 0, run.describe())
        with open(out) as f:
            return [re.sub(r'^\d+\s+', '', line).split('(')[0] for line in f if '(' in line]

    bare = calls({})
    tracked = calls({'LD_PRELOAD': LIBRARY, 'SEEP_OPTIONS': 'dir=' + w.ledgers})
    check(0 < len(tracked) - len(bare) < 120, 'system calls: alone', len(bare), 'tracked', len(tracked))
    check_equal([c for c in tracked if c in ('clone', 'clone3', 'fork', 'vfork', 'socket', 'connect', 'ptrace')], [],
                'threads, processes, connections')
    print('# %d system calls more' % (len(tracked) - len(bare)))


main()
