# SPDX-License-Identifier: Apache-2.0
"""seep check --why: from a root to the block, with names; and what is said of blocks that nothing holds."""
import re

from harness import allow_cores, case, check, check_equal, main


def addresses(w, process, name):
    found = w.check(process.pid)
    return [int(a, 16) for r in found.records if r['class'] == name for a in r['addresses']]


def why(w, what, address, *options):
    run = w.seep('check', '--why=%#x' % address, *options, str(what))
    check_equal(run.status, 0, run.describe())
    return run.stdout


@case
def from_a_global(w):
    process = w.hold('check_root_data', preexec_fn=allow_cores)
    found = [a for a in addresses(w, process, 'reachable')]
    check_equal(len(found), 4, 'blocks')
    for address in found:
        for inside in (0, 1, 151):
            text = why(w, process.pid, address + inside)
            check('slots' in text and 'check_root_data' in text, 'the variable and its module', text)
            check('%x' % address in text, 'the block', text)
    for option in ('--no-clone', '--clone'):
        check('slots' in why(w, process.pid, found[0], option), option)
    core = w.core_of(process)
    check('slots' in why(w, core, found[0]), 'from a core')


@case
def through_other_blocks(w):
    process = w.hold('check_reachable_chain')
    text = why(w, process.pid, addresses(w, process, 'reachable')[0])
    check('head' in text and len(text.splitlines()) > 2, 'a chain', text[:2000])
    process = w.hold('check_read_only_block')
    small = [r for r in w.check(process.pid).records if r['max_size'] == 136]
    text = why(w, process.pid, int(small[0]['addresses'][0], 16))
    check('table' in text, 'its root', text)
    check('%x' % int(small[0]['addresses'][0], 16) in text, 'the block itself', text)


@case
def kinds_of_roots(w):
    for name, words in (('root_stack_main', 'stack'), ('root_stack_thread', 'stack'), ('root_tls_static', 'tls|thread'),
                        ('root_register', 'r14|register'), ('root_mapping', 'mapp|anonymous'),
                        ('root_tls_dynamic', 'tls|thread'), ('root_bss', 'large|first|last'),
                        ('dlopen_data', 'libcheck_plugin')):
        process = w.hold('check_' + name)
        size = max((v[2] // v[0]) for f in process.truths['main']['leaks']['hold'].values() for v in f.values())
        records = [r for r in w.check(process.pid).records if r['class'] == 'reachable' and r['max_size'] == size]
        check(records, name, 'has a reachable block of', size)
        text = why(w, process.pid, int(records[0]['addresses'][0], 16))
        check(re.search(words, text, re.I), name, ':', words, 'in', text)
        w.release(process)


@case
def a_lost_block(w):
    process = w.hold('check_indirect')
    for address in addresses(w, process, 'definite'):
        text = why(w, process.pid, address)
        check(re.search('nothing|lost|no pointer', text, re.I), 'nothing holds it', text)
    holders = ['%x' % a for a in addresses(w, process, 'definite')]
    for address in addresses(w, process, 'indirect')[:3]:
        text = why(w, process.pid, address)
        check(any(h in text for h in holders), 'the lost block that holds it', text)
    w.release(process)


@case
def an_address_that_is_no_block(w):
    process = w.hold('check_definite')
    for address in (1, 0x7fffffffffff, int(open('/proc/%d/maps' % process.pid).read().split('-')[0], 16)):
        run = w.seep('check', '--why=%#x' % address, str(process.pid))
        check(run.status in (0, 2) and re.search('no block|not in|block', run.stdout + run.stderr), run.describe())
    for text in ('', 'xyz', '0x', '12345678901234567890'):
        run = w.seep('check', '--why=' + text, str(process.pid))
        check_equal(run.status, 2, '%r %s' % (text, run.describe()))
        check('--why' in run.stderr, run.stderr)
    w.release(process)


@case
def what_would_have_been_found(w):
    """--explain-unreached: pointers that a check does not count, because they are unaligned or have tags."""
    for name, words in (('unaligned_pointer', 'unaligned|align'), ('tagged_pointer', 'tag|top|mask')):
        process = w.hold('check_' + name)
        address = addresses(w, process, 'definite')[0]
        plain = why(w, process.pid, address)
        text = why(w, process.pid, address, '--explain-unreached')
        check(len(text) > len(plain) and re.search(words, text, re.I), name, ':', words, 'in', text)
        w.release(process)


main()
