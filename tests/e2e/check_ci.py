# SPDX-License-Identifier: Apache-2.0
"""Leak checks in continuous integration: exit statuses, suppressions as valgrind's and LeakSanitizer's users have them,
baselines, and results as JUnit, SARIF and JSON with fingerprints that outlive a rebuild."""
import json
import re
import xml.etree.ElementTree

from harness import (SEEP, case, check, check_equal, main, need_program, need_target, parse_checks, truth_total)


def run(w, target, *options):
    return w.seep('run', '--check', '--ledger-dir=' + w.ledgers, *options, '--', need_target(target))


@case
def exit_statuses(w):
    for target, options, wanted in (
            ('check_definite', [], 0),
            ('check_definite', ['--fail-on=definite'], 1),
            ('check_definite', ['--fail-on=possible'], 0),
            ('check_definite', ['--error-exitcode=9'], 9),
            ('check_definite', ['--error-exitcode=9', '--fail-on=possible'], 0),
            ('check_definite', ['--error-exitcode=0', '--fail-on=definite'], 0),
            ('check_definite', ['--error-exitcode=0'], 0),
            ('check_possible', ['--error-exitcode=9'], 9),
            ('check_possible', ['--error-exitcode=9', '--fail-on=definite'], 0),
            ('check_possible', ['--error-exitcode=9', '--presets=lsan'], 0),
            ('check_indirect', ['--fail-on=indirect'], 1),
            ('check_root_data', ['--error-exitcode=9'], 0),
            ('check_root_data', ['--fail-on=definite,possible,indirect'], 0),
            ('check_root_data', ['--fail-on=reachable'], 1),
            ('check_root_data', ['--fail-on=none', '--error-exitcode=9'], 0)):
        done = run(w, target, *options)
        check_equal(done.status, wanted, '%s %s %s' % (target, options, done.describe()))
    process = w.hold('check_definite')
    for options, wanted in (([], 0), (['--fail-on=definite'], 1), (['--error-exitcode=9'], 9),
                            (['--fail-on=possible,reachable'], 0)):
        check_equal(w.seep('check', *options, str(process.pid)).status, wanted, 'live %s' % options)
    w.release(process)


@case
def memchecks_command_line(w):
    """What stands behind `valgrind` in a runbook works here; a name mistyped is told."""
    memcheck = ['--leak-check=yes', '--show-leak-kinds=definite', '--errors-for-leak-kinds=definite', '--error-exitcode=9',
                '--leak-check-heuristics=stdstring,length64', '--num-callers=1', '--gen-suppressions=all']
    ours = ['--show-kinds=definite', '--fail-on=definite', '--error-exitcode=9', '--heuristics=stdstring,length64', '--depth=1', '--gen-suppressions']
    both = [run(w, 'check_definite', *options) for options in (memcheck, ours)]
    records = [re.search(r'Leak records.*Leak summary', done.stderr, re.S) for done in both]
    for done, text in zip(both, records):
        check_equal(done.status, 9, done.describe())
        check(text and 'Memcheck:Leak' in done.stderr, done.stderr)
    same = [re.sub(r'0x[0-9a-f]+', 'ADDRESS', text.group()) for text in records]
    check_equal(same[0], same[1], 'what both say')
    check_equal(run(w, 'check_definite', '--fail-on=definite', '--errors-for-leak-kinds=none').status, 0, 'the last one counts')
    for option, text in (('--show-leak=all', 'no option --show-leak'), ('--supressions=x', 'did you mean --suppressions?')):
        wrong = run(w, 'check_definite', option)
        check_equal(wrong.status, 2, 'status')
        check(text in wrong.stderr, wrong.stderr)


@case
def options_that_make_no_sense(w):
    for options in (['--fail-on=definitely'], ['--show-kinds=x'], ['--error-exitcode=256'], ['--error-exitcode=x'],
                    ['--presets=helgrind'], ['--leak-check=maybe'], ['--heuristics=luck'], ['--roots=trees'],
                    ['--pointer-mask=xyz'], ['--pointer-mask=0'], ['--heapcheck=lax'],
                    ['--suppressions=/no/such/file'], ['--baseline=/no/such/file'], ['--check-at=noon'],
                    ['--junit=/no/such/folder/x']):
        done = run(w, 'check_definite', *options)
        check_equal(done.status, 2, '%s %s' % (options, done.describe()))
        check(done.stderr.startswith('seep run:') or '\nseep run:' in done.stderr, options, 'message', done.stderr)


@case
def every_report_says_what_it_covers(w):
    done = run(w, 'check_definite')
    for text, what in ((done.stderr, 'at exit'),):
        check(re.search(r'definitely lost +\S+ \S+ in 100 blocks', text), what, 'leak summary', text)
        check('make_lost' in text and 'leaktruth.h' in text, what, 'the line', text)
        check(re.search(r'Looked at 10\d blocks', text), what, 'completeness', text)
    process = w.hold('check_definite')
    for option in ('--clone', '--no-clone'):
        text = w.seep('check', option, str(process.pid)).stdout
        check(re.search(r'definitely lost +\S+ \S+ in 100 blocks', text), option, 'leak summary', text)
        check(re.search(r'Looked at 10\d blocks', text), option, 'completeness', text)
        summary = w.seep('check', option, '--leak-check=summary', str(process.pid)).stdout
        check(re.search(r'definitely lost +\S+ \S+ in 100 blocks', summary), option, 'summary', summary)
        check(len(summary) < len(text), 'a summary has no records')
    w.release(process)


# ---- suppressions -----------------------------------------------------------------------------

VALGRIND = '''{
   the_holder
   Memcheck:Leak
   match-leak-kinds: definite
   fun:malloc
   ...
   fun:make_holder
   fun:main
}
{
   never_used
   Memcheck:Leak
   fun:malloc
   fun:no_such_function
}
{
   another_kind_of_error
   Memcheck:Cond
   fun:make_holder
}
'''


@case
def suppressions_of_valgrind(w):
    path = w.file('valgrind.supp')
    with open(path, 'w') as f:
        f.write(VALGRIND)
    done = w.check_at_exit([need_target('check_indirect')], '--suppressions=' + path, '--error-exitcode=9')
    found = done.checks[0]
    # What a suppressed block holds is no leak either.
    check_equal(found.classes, {'suppressed': (33, sum(
        v[1] for f in done.truth()['leaks']['end'].values() for v in f.values()))}, 'classes')
    rules = {s['name']: s for s in found.data['suppressions']}
    check_equal(set(rules), {'the_holder', 'never_used'}, 'rules')
    check(rules['the_holder']['used'] and not rules['never_used']['used'], 'used', rules)
    check_equal(rules['the_holder']['blocks'], 3, 'blocks of the rule')
    check(rules['the_holder']['origin'].endswith('valgrind.supp:1'), 'origin', rules['the_holder'])
    text = run(w, 'check_indirect', '--suppressions=' + path, '--rules').stderr
    check('the_holder' in text and 'never_used' in text, 'rules as text', text)


@case
def suppressions_as_valgrind_uses_them(w):
    """The same file makes valgrind itself suppress the same blocks."""
    path, log = w.file('valgrind.supp'), w.file('log')
    with open(path, 'w') as f:
        f.write(VALGRIND)
    w.bare([need_program('valgrind'), '--leak-check=full', '--suppressions=' + path, '--log-file=' + log,
            need_target('check_indirect')], deadline=120)
    with open(log) as f:
        summary = f.read().split('LEAK SUMMARY')[-1]
    found = re.search(r'suppressed: ([\d,]+) bytes in ([\d,]+) blocks', summary)
    done = w.check_at_exit([need_target('check_indirect')], '--suppressions=' + path)
    # valgrind leaves what such a block holds among the indirect; the rule's own count is the same.
    rule = [s for s in done.checks[0].data['suppressions'] if s['name'] == 'the_holder'][0]
    check_equal((rule['blocks'], rule['bytes']), (int(found[2]), int(found[1].replace(',', ''))), 'suppressed')


@case
def suppressions_of_leak_sanitizer(w):
    path = w.file('lsan.supp')
    with open(path, 'w') as f:
        f.write('# what is known\nleak:make_hol*\nleak:^check_indirect_not$\nleak:libno_such.so\n')
    found = w.check_at_exit([need_target('check_indirect')], '--suppressions=' + path, '--error-exitcode=9').checks[0]
    check_equal(set(found.classes), {'suppressed'}, 'classes')
    rules = {s['name']: s['used'] for s in found.data['suppressions']}
    check_equal(sorted(bool(u) for u in rules.values()), [False, False, True], 'used %r' % rules)
    with open(path, 'w') as f:
        f.write('leak:check_indirect.c\n')
    found = w.check_at_exit([need_target('check_indirect')], '--suppressions=' + path).checks[0]
    check_equal(set(found.classes), {'suppressed'}, 'classes by source file')


@case
def generated_suppressions_suppress(w):
    done = run(w, 'check_indirect', '--gen-suppressions')
    rules = re.findall(r'^\{\n.*?^\}\n', done.stderr, re.M | re.S)
    check(rules, 'rules in the output', done.stderr)
    path, log = w.file('generated.supp'), w.file('log')
    with open(path, 'w') as f:
        f.write(''.join(rules))
    found = w.check_at_exit([need_target('check_indirect')], '--suppressions=' + path, '--error-exitcode=9').checks[0]
    check_equal(set(found.classes), {'suppressed'}, 'classes')
    check(any(s['used'] for s in found.data['suppressions']), 'they are used', found.data['suppressions'])
    # valgrind takes them as well.
    w.bare([need_program('valgrind'), '--leak-check=full', '--suppressions=' + path, '--log-file=' + log,
            need_target('check_indirect')], deadline=120)
    with open(log) as f:
        summary = f.read().split('LEAK SUMMARY')[-1]
    check(re.search(r'definitely lost: 0 bytes in 0 blocks', summary), 'valgrind\'s summary', summary)


@case
def a_bad_suppression_file_is_named(w):
    path = w.file('bad.supp')
    for content in ('{\n name\n Memcheck:Leak\n fun:x\n', '{\n}\n', 'leak:\n', 'what is this\n',
                    '{\n name\n Memcheck:Leak\n match-leak-kinds: huge\n fun:x\n}\n'):
        with open(path, 'w') as f:
            f.write(content)
        done = run(w, 'check_definite', '--suppressions=' + path)
        check_equal(done.status, 2, '%r %s' % (content, done.describe()))
        check('bad.supp' in done.stderr, 'the file is named', done.stderr)


# ---- baselines and rebuilds ---------------------------------------------------------------------

SOURCE = '''#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))
%(lines)s
struct session { char name[%(size)d]; struct session *next; };

NOINLINE static void *allocate(size_t n) { void *p = calloc(1, n); __asm__ volatile("" : : "g"(p) : "memory"); return p; }
NOINLINE static void session_open(void) { void *p = allocate(sizeof(struct session)); __asm__ volatile("" : : "g"(p) : "memory"); }
NOINLINE static void cache_fill(void) { void *p = allocate(300); __asm__ volatile("" : : "g"(p) : "memory"); }
%(more)s
NOINLINE static void scrub(void) { volatile char a[8192]; memset((void *)a, 0, sizeof(a)); __asm__ volatile("" : : "g"(a) : "memory"); }

int main(void)
{
	for (int i = 0; i < 10; i++)
		session_open();
	for (int i = 0; i < 3; i++)
		cache_fill();
	%(call)s
	scrub();
	return 0;
}
'''


def build(w, optimize, lines=0, size=40, new=False):
    source, program = w.file('app.c'), w.file('app')
    with open(source, 'w') as f:
        f.write(SOURCE % {
            'lines': '\n' * lines, 'size': size, 'call': 'forgotten();' if new else '',
            'more': 'NOINLINE static void forgotten(void) { void *p = allocate(777); '
                    '__asm__ volatile("" : : "g"(p) : "memory"); }' if new else ''})
    made = w.bare([need_program('gcc'), '-std=gnu17', '-g', '-O' + optimize, source, '-o', program])
    check_equal(made.status, 0, made.describe())
    return program


def prints(checks):
    return {tuple(f['function'] for f in r['stack'] if f['function'] in (
        'session_open', 'cache_fill', 'forgotten')): r['fingerprint'] for r in checks[0].records
            if r['class'] == 'definite'}


@case
def fingerprints_outlive_a_rebuild(w):
    first = prints(w.check_at_exit([build(w, '0')]).checks)
    check_equal(set(first), {('session_open',), ('cache_fill',)}, 'leaks')
    check_equal(len(set(first.values())), 2, 'different leaks have different fingerprints')
    check(all(re.fullmatch('[0-9a-f]{16}', f) for f in first.values()), first)
    for optimize, lines, size in (('0', 0, 40), ('2', 0, 40), ('1', 17, 40), ('s', 3, 88), ('2', 40, 200)):
        check_equal(prints(w.check_at_exit([build(w, optimize, lines, size)]).checks), first,
                    '-O%s, %d lines further down, %d bytes' % (optimize, lines, size))


@case
def a_baseline_fails_on_what_is_new_only(w):
    path = w.file('baseline')
    program = build(w, '2')

    def go(*options):
        return w.seep('run', '--check', '--ledger-dir=' + w.ledgers, '--error-exitcode=7', *options, '--', program)

    check_equal(go().status, 7, 'without a baseline')
    go('--write-baseline=' + path)
    with open(path) as f:
        text = f.read()
    check('session_open' in text and 'cache_fill' in text, 'a baseline can be read', text)
    done = go('--baseline=' + path)
    check_equal(done.status, 0, 'nothing new %s' % done.describe())
    build(w, '1', lines=9, size=56)
    check_equal(go('--baseline=' + path).status, 0, 'nothing new after a rebuild')
    build(w, '1', lines=9, new=True)
    done = go('--baseline=' + path)
    check_equal(done.status, 7, 'a new leak %s' % done.describe())
    found = w.check_at_exit([program], '--baseline=' + path).checks[0]
    known = {r['stack'][-1]['function'] if not r['stack'] else [f['function'] for f in r['stack'] if f['function'] in (
        'session_open', 'cache_fill', 'forgotten')][0]: r['known'] for r in found.records if r['class'] == 'definite'}
    check_equal(known, {'session_open': True, 'cache_fill': True, 'forgotten': False}, 'known')


# ---- machine output ---------------------------------------------------------------------------

@case
def junit(w):
    path = w.file('junit.xml')
    run(w, 'check_indirect', '--junit=' + path, '--fail-on=definite')
    root = xml.etree.ElementTree.parse(path).getroot()
    check(root.tag in ('testsuites', 'testsuite'), root.tag)
    suites = [root] if root.tag == 'testsuite' else list(root.iter('testsuite'))
    check_equal(len(suites), 1, 'suites')
    failures = list(root.iter('failure'))
    check(failures, 'failures')
    check_equal(int(suites[0].get('failures')), len(failures), 'failures, counted')
    check_equal(int(suites[0].get('tests')), len(list(root.iter('testcase'))), 'tests, counted')
    check(any('make_holder' in (f.text or '') + f.get('message', '') for f in failures), 'the stack is in it')
    run(w, 'check_root_data', '--junit=' + path, '--fail-on=definite')
    root = xml.etree.ElementTree.parse(path).getroot()
    check(not list(root.iter('failure')) and list(root.iter('testcase')), 'a program without leaks passes')


@case
def sarif(w):
    path = w.file('a.sarif')
    run(w, 'check_indirect', '--sarif=' + path)
    with open(path) as f:
        data = json.load(f)
    check_equal(data['version'], '2.1.0', 'version')
    check(data.get('$schema', '').endswith('.json'), 'schema', data.get('$schema'))
    check_equal(len(data['runs']), 1, 'runs')
    one = data['runs'][0]
    check_equal(one['tool']['driver']['name'], 'seep', 'tool')
    ids = {r['id'] for r in one['tool']['driver']['rules']}
    check(one['results'], 'results')
    for result in one['results']:
        check(result['ruleId'] in ids, 'rule', result['ruleId'], ids)
        check(result['message']['text'], 'message')
        check(result['level'] in ('error', 'warning', 'note', 'none'), result['level'])
        check(result['partialFingerprints'], 'fingerprints')
    places = [l['physicalLocation'] for r in one['results'] for l in r.get('locations', []) if 'physicalLocation' in l]
    check(any(p['artifactLocation']['uri'].endswith('leaktruth.h') and p['region']['startLine'] > 1
              for p in places), 'the line of the leak', places)
    run(w, 'check_root_data', '--sarif=' + path)
    with open(path) as f:
        check_equal(json.load(f)['runs'][0]['results'], [], 'a program without leaks')


@case
def json_of_a_live_check(w):
    process = w.hold('check_indirect')
    output = w.file('a.json')
    done = w.seep('check', '--json', '-o', output, str(process.pid))
    check_equal((done.status, done.stdout), (0, ''), 'all of it is in the file')
    with open(output) as f:
        text = f.read()
    found = parse_checks(text)[0]
    check_equal(found.classes, truth_total(process.truths['main'], 'hold', True), 'classes')
    process_data = found.data['process']
    check_equal((process_data['pid'], process_data['exe']), (process.pid, need_target('check_indirect')), 'process')
    for name in ('allocator', 'layout'):
        check(found.data[name], name)
    c = found.completeness
    check(c['root_bytes'] > 0 and c['scanned_bytes'] > 0 and c['stopped_ns'] > 0 and c['resident_bytes'] > 0 and
          c['checker_bytes'] > 0, 'completeness', c)
    check(not c['ledger'] and not c['recorded_blocks'], 'no ledger', c)
    w.release(process)


@case
def a_reader_that_goes_away(w):
    process = w.hold('check_definite')
    done = w.bare(['/bin/sh', '-c', '"%s" check %d | head -n 1; kill -0 %d' % (SEEP, process.pid, process.pid)])
    check_equal(done.status, 0, done.describe())
    w.release(process)


main()
