# SPDX-License-Identifier: Apache-2.0
"""seep top: its numbers against what a target knows of itself, and its screen in a real terminal (tmux).

The target is `steps`, which does what it is told line by line and answers with every block it has.
"""
import json
import os
import re
import signal
import subprocess

from harness import (DEADLINE, SEEP, case, check, check_between, check_equal, main, need_program, need_target, process_state,
                     wait_for)

SECOND = 10**9


class Steps:
    """A tracked target that takes commands."""

    def __init__(self, w, path=None, **more):
        self.w = w
        self.process = w.start([path or need_target('steps')], env=w.tracked_environment(**more),
                               stdin=subprocess.PIPE)
        self.read()
        self.pid = self.process.pid
        wait_for(lambda: w.ledger_paths(self.pid), 'the ledger of the target')
        self.ledger = w.ledger_paths(self.pid)[-1]

    def read(self):
        line = self.process.stdout.readline()
        check(line, 'the target ended', self.process.poll())
        self.truth = json.loads(line)
        return self.truth

    def begin(self, *words):
        self.process.stdin.write(' '.join(str(x) for x in words) + '\n')
        self.process.stdin.flush()

    def do(self, *words):
        self.begin(*words)
        return self.read()

    def end(self):
        self.process.stdin.close()
        check_equal(self.process.wait(timeout=DEADLINE), 0, 'status of the target')


def documents(text):
    """A stream of JSON documents."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        check_equal(document['seep_top'], 1, 'version')
        found.append(document)
    return found


def top(w, *options, count=1, status=0):
    run = w.seep('top', '--json', '--count', str(count), '--top', '0', *[str(o) for o in options])
    check_equal(run.status, status, 'status of seep top %s %s' % (options, run.describe()))
    return documents(run.stdout)


def until(stream, text):
    """Reads on to a line with that text."""
    for line in stream:
        if text in line:
            return
    check(False, 'the output ended without', text)


def of(document, name):
    """The rows of a function: by site, those with it on the stack."""
    if document['by'] != 'site':
        return [r for r in document['rows'] if r['name'] == name]
    numbers = {i for i, f in enumerate(document['frames']) if f['function'] == name}
    return [r for r in document['rows'] if numbers & set(r['stack'])]


def one(document, name):
    rows = of(document, name)
    check_equal(len(rows), 1, 'rows of %s among %r' % (name, [r['name'] for r in document['rows']]))
    return rows[0]


# ---- numbers ---------------------------------------------------------------------------------

@case
def rows_are_what_the_target_has(w):
    steps = Steps(w)
    steps.do('leak', 30, 64)
    steps.do('keep', 7, 1000)
    steps.do('churn', 11, 512)
    d = top(w, steps.ledger)[0]
    row = one(d, 'step_leak')
    check_equal((row['inuse_blocks'], row['inuse_bytes'], row['alloc_bytes']), (30, 1920, 1920), 'step_leak')
    check(row['file'].endswith('steps.c') and row['line'], 'no line', row)
    row = one(d, 'step_keep')
    check_equal((row['inuse_blocks'], row['inuse_bytes']), (7, 7000), 'step_keep')
    row = one(d, 'step_churn')
    check_equal((row['inuse_blocks'], row['alloc_bytes']), (0, 11 * 512), 'step_churn')
    check_equal(d['rates'], 'since_start', 'rates of one reading')
    check_equal(d['process']['pid'], steps.pid, 'pid')
    check_equal(d['process']['state'], 'running', 'state')
    check(d['process']['rss_bytes'] > 100000, 'resident', d['process'])
    for by in ('function', 'module', 'thread', 'kind'):
        total = top(w, '--by', by, steps.ledger)[0]['total']
        check_equal(total['inuse_bytes'], d['total']['inuse_bytes'], 'total by ' + by)
    row = one(top(w, '--by', 'function', steps.ledger)[0], 'main')
    check_between(row['inuse_bytes'], 8920, d['total']['inuse_bytes'], 'under main')
    steps.end()


@case
def text_says_the_same(w):
    steps = Steps(w)
    steps.do('leak', 30, 64)
    run = w.seep('top', '--once', steps.ledger)
    check_equal(run.status, 0, 'status %s' % run.describe())
    check(re.search(r'1\.88 KiB in 30 blocks; growth \+', run.stdout), 'no row', run.stdout)
    check('step_leak' in run.stdout and 'steps.c:' in run.stdout and '(pid %d)' % steps.pid in run.stdout,
          'no stack', run.stdout)
    run = w.seep('top', '--once', '--combined', steps.ledger)
    line = [l for l in run.stdout.splitlines() if 'step_leak' in l]
    check(len(line) == 1 and line[0].split()[:3] == ['1.88', 'KiB', '30'], 'no line', run.stdout)
    check('\033' not in run.stdout, 'colours in a pipe')
    steps.end()


@case
def listed_blocks_are_the_targets(w):
    steps = Steps(w)
    steps.do('leak', 25, 48)
    truth = steps.do('keep', 10, 3000)
    d = top(w, '-a', steps.ledger)[0]
    for name, key in (('step_leak', 'leaked'), ('step_keep', 'kept')):
        blocks = [[int(b['address'], 16), b['size']] for b in one(d, name)['blocks']]
        check_equal(sorted(blocks), sorted(truth[key]), 'blocks of ' + name)
    run = w.seep('top', '--once', '-a', '--top', '0', steps.ledger)
    for address, size in truth['leaked'] + truth['kept']:
        check(re.search(r'0x%x +%s ' % (address, '{:,}'.format(size)), run.stdout), hex(address), 'is not listed')
    steps.end()


@case
def only_old_blocks(w):
    steps = Steps(w)
    first = steps.do('leak', 5, 64)['leaked']
    wait_for(lambda: one(top(w, '-a', steps.ledger)[0], 'step_leak')['oldest_age_ns'] > SECOND, 'blocks to be a second old')
    known = {b[0] for b in first}
    steps.do('leak', 6, 64)

    def born(d):
        """By address, since the start of tracking; told only in ticks, so it is the same in every reading."""
        return {int(b['address'], 16): d['tracking']['duration_ns'] - b['age_ns']
                for b in one(d, 'step_leak')['blocks']}

    births = born(top(w, '-a', steps.ledger)[0])
    check_equal(len(births), 11, 'blocks')
    youngest, limit = max(births[a] for a in known), min(t for a, t in births.items() if a not in known)
    check(limit - youngest > SECOND // 2, 'the two lots are', limit - youngest, 'ns apart')
    # An age between the two lots at a moment soon; whatever the moment was, the rule must hold of each block.
    now = top(w, '-a', steps.ledger)[0]['tracking']['duration_ns']
    age = now - (youngest + limit) // 2
    d = top(w, '-a', '-o', '%dms' % (age // 1000000), steps.ledger)[0]
    want = {a for a, t in births.items() if d['tracking']['duration_ns'] - t >= age // 1000000 * 1000000}
    row = one(d, 'step_leak')
    check_equal({int(b['address'], 16) for b in row['blocks']}, want, 'old blocks')
    check(known <= want, 'the first lot is not there')
    check_equal((row['inuse_blocks'], row['inuse_bytes']), (len(want), 64 * len(want)), 'sums of old blocks')
    check_equal(top(w, '-o', '1h', steps.ledger)[0]['rows'], [], 'rows of blocks an hour old')
    steps.end()


@case
def only_blocks_of_some_size(w):
    steps = Steps(w)
    steps.do('leak', 5, 100)
    steps.do('leak', 6, 200)
    steps.do('leak', 7, 300)
    for options, blocks, size in ((('-z', 200), 13, 3300), (('-Z', 200), 11, 1700), (('-z', 150, '-Z', 250), 6, 1200)):
        rows = of(top(w, *options, steps.ledger)[0], 'step_leak')
        check_equal((sum(r['inuse_blocks'] for r in rows), sum(r['inuse_bytes'] for r in rows)), (blocks, size),
                    'sizes %r' % (options,))
    steps.end()


@case
def a_leak_is_first_by_growth(w):
    steps = Steps(w)
    steps.do('keep', 100, 20000)  # holds most, does not grow
    steps.begin('auto')
    wait_for(lambda: all(of(top(w, steps.ledger)[0], name) for name in ('step_leak', 'step_churn')), 'all its sites')
    docs = top(w, '-i', '300ms', '--sort', 'growth', steps.ledger, count=5)
    check_equal(len(docs), 5, 'documents')
    last = docs[-1]
    check_equal(last['rates'], 'smoothed', 'rates')
    check_equal(last['rows'][0]['name'], 'step_leak', 'first by growth')
    for before, after in zip(docs, docs[1:]):
        was, now = one(before, 'step_leak'), one(after, 'step_leak')
        check_equal(now['delta_bytes'], now['inuse_bytes'] - was['inuse_bytes'], 'growth since the last')
        check(now['delta_bytes'] > 0 and now['growth_per_s'] > 0, 'no growth', now)
    # Smoothed over 10 s, so over this second it is nearly the plain average.
    first, seconds = docs[0], (last['tracking']['duration_ns'] - docs[0]['tracking']['duration_ns']) / SECOND
    average = (one(last, 'step_leak')['inuse_bytes'] - one(first, 'step_leak')['inuse_bytes']) / seconds
    check_between(one(last, 'step_leak')['growth_per_s'], average * 0.7, average * 1.3, 'growth')
    check(one(last, 'step_churn')['alloc_per_s'] > 10 * one(last, 'step_leak')['alloc_per_s'] / 2, 'churn', last['rows'])
    steps.do('leak', 0, 1)  # ends auto, which answers too
    steps.read()
    steps.end()


@case
def it_goes_on_until_the_end(w):
    steps = Steps(w)
    steps.do('leak', 3, 64)
    run = w.start([SEEP, 'top', '-i', '50ms', str(steps.pid), '--ledger-dir', w.ledgers])
    line = run.stdout.readline()
    check('(pid %d)' % steps.pid in line, 'no first refresh', line)
    steps.end()
    run = w.finish(run)
    check_equal(run.status, 0, 'status %s' % run.describe())
    check('The process has ended' in run.stdout, 'no word of the end', run.describe())
    # A dead ledger has one last state.
    d = top(w, steps.ledger)[0]
    check_equal(d['process']['state'], 'exited', 'state')
    check_equal(one(d, 'step_leak')['inuse_blocks'], 3, 'blocks at the end')


@case
def the_ledger_may_be_taken_away(w):
    """As `seep run` does when its program has ended: what was open is read to the end."""
    steps = Steps(w)
    steps.do('leak', 3, 64)
    run = w.start([SEEP, 'top', '--json', '-i', '50ms', steps.ledger])
    until(run.stdout, '"by"')
    steps.do('leak', 4, 64)
    os.unlink(steps.ledger)
    steps.end()
    rest = w.finish(run)
    check_equal(rest.status, 0, 'status %s' % rest.describe())
    last = documents(rest.stdout[rest.stdout.rindex('{\n  "seep_top"'):])[0]
    check_equal(last['process']['state'], 'exited', 'state')
    check_equal(one(last, 'step_leak')['inuse_blocks'], 7, 'blocks at the end')


@case
def exec_is_followed(w):
    steps = Steps(w)
    steps.do('leak', 3, 64)
    run = w.start([SEEP, 'top', '--json', '-i', '50ms', '--ledger-dir', w.ledgers, str(steps.pid)])
    until(run.stdout, '"by"')
    steps.do('exec')
    steps.do('leak', 9, 32)
    until(run.stdout, '"inuse_blocks": 9,')
    steps.end()
    rest = w.finish(run)
    last = documents(rest.stdout[rest.stdout.rindex('{\n  "seep_top"'):])[0]
    check_equal(one(last, 'step_leak')['inuse_blocks'], 9, 'blocks of the second program')


@case
def sampled_numbers_have_intervals(w):
    steps = Steps(w, options='sample=4096')
    steps.do('leak', 3000, 640)
    d = top(w, steps.ledger)[0]
    row = one(d, 'step_leak')
    check(d['tracking']['sampled'] and d['tracking']['period'] == 4096, 'not sampled', d['tracking'])
    check(row['inuse_bytes_low'] < row['inuse_bytes_high'], 'no interval', row)
    check_between(3000 * 640, row['inuse_bytes_low'] * 0.8, row['inuse_bytes_high'] * 1.2, 'truth')
    run = w.seep('top', '--once', '--combined', steps.ledger)
    check('±' in run.stdout and 'sampled' in run.stdout, 'no ±', run.stdout)
    t = Terminal(w, steps.ledger, cols=100)
    s = t.shows('sampled 1/4.00 KiB', 'step_leak', '±')
    check('±' in titles(s) and '±' in t.row('step_leak'), 'no ± in the row', s)
    t.keys('q')
    t.restored()
    steps.end()


# ---- several ------------------------------------------------------------------------------------

@case
def lists_of_processes(w):
    a, b = Steps(w), Steps(w)
    a.do('leak', 10, 100)
    b.do('leak', 50, 1000)

    def pids(*options):
        return [p['pid'] for p in top(w, '--ledger-dir', w.ledgers, *options)[0]['processes']]

    check_equal(pids(), [b.pid, a.pid], 'all, the largest first')
    check_equal(pids('--all', '--reverse'), [a.pid, b.pid], 'the smallest first')
    check_equal(sorted(pids('steps')), sorted([a.pid, b.pid]), 'by a name that two have')
    check_equal(sorted(pids('--name', 'st*s')), sorted([a.pid, b.pid]), 'by pattern')
    check_equal(pids('--name', 'other'), [], 'by another name')
    check_equal(sorted(pids(a.pid, b.pid)), sorted([a.pid, b.pid]), 'by pid')
    check_equal(sorted(pids('--user', os.geteuid())), sorted([a.pid, b.pid]), 'by user')
    check_equal(pids('--user', os.geteuid() + 1), [], 'by another user')
    check_equal(sorted(pids('--cgroup', '/')), sorted([a.pid, b.pid]), 'by cgroup')
    check_equal(pids('--cgroup', '/no/such/group'), [], 'by another cgroup')
    row = top(w, '--ledger-dir', w.ledgers)[0]['processes'][0]
    check_between(row['inuse_bytes'], 50000, 60000, 'in use')
    check('libc' in row['allocator'] and row['rss_bytes'] > 100000, 'facts', row)
    run = w.seep('top', '--once', '--ledger-dir', w.ledgers)
    check(str(a.pid) in run.stdout and str(b.pid) in run.stdout, 'text', run.stdout)
    a.end()
    b.end()


@case
def refusals(w):
    steps = Steps(w)
    for options, word in (
            (('--once', '999999999'), 'no process 999999999'), (('--once', str(os.getpid())), 'not being tracked'),
            (('--once', '--sort', 'size', steps.ledger), 'inuse, blocks'),
            (('--once', '--count', '3', steps.ledger), 'contradict'), (('-a', '--combined', steps.ledger), 'contradict'),
            (('-a', '--all'), 'one process at a time'), (('--once', '--focus', '(', steps.ledger), "'('"),
            (('-i', '0', steps.ledger), 'too short'), (('-c', '0', steps.ledger), '--count 0'),
            (('--once', '--user', 'nobody-of-that-name'), 'no user'), (('--once', '/etc/passwd'), 'ledger'),
            (('--once', '--name', 'nothing-is-called-so'), 'no tracked process')):
        run = w.seep('top', *options)
        check_equal(run.status, 2, 'status of %r %s' % (options, run.describe()))
        check(word in run.stderr, options, 'does not say', word, run.describe())
    steps.end()


# ---- the screen -------------------------------------------------------------------------------------

class Terminal:
    """seep top in a tmux of its own, run by a shell that says afterwards how the terminal was left."""

    number = 0

    def __init__(self, w, *args, cols=80, rows=24, locale='C.UTF-8', env=(), before='', after=''):
        Terminal.number += 1
        self.tmux = [need_program('tmux'), '-S', w.file('tmux%d' % Terminal.number), '-f', '/dev/null']
        self.stty = w.file('stty%d' % Terminal.number)
        command = "stty -g > '%s'; %s" % (self.stty, before) + ' '.join(
            ['env', *env, 'LC_ALL=' + locale, SEEP, 'top', *["'%s'" % a for a in args]]) + (
            "; echo \"status=$?\"; stty -g > '%s.after'; %s read wait" % (self.stty, after))
        self.run('new-session', '-d', '-x', str(cols), '-y', str(rows), 'exec sh -c "$TOP_COMMAND"',
                 env=dict(os.environ, TOP_COMMAND=command))
        w.undo.append(lambda: self.run('kill-server', check_it=False))

    def run(self, *args, env=None, check_it=True):
        done = subprocess.run([*self.tmux, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors='replace', timeout=60)
        check(not check_it or done.returncode == 0, 'tmux', args, done.stderr)
        return done.stdout

    def screen(self):
        return self.run('capture-pane', '-p').split('\n')

    def value(self, name):
        return self.run('display-message', '-p', '#{%s}' % name).strip()

    def keys(self, *keys):
        self.run('send-keys', *keys)

    def resize(self, cols, rows):
        self.run('resize-window', '-x', str(cols), '-y', str(rows))

    def wait(self, what, screen_holds):
        """Until screen_holds(lines) is true; the lines."""
        last = []

        def look():
            last[:] = self.screen()
            return screen_holds(last)

        try:
            wait_for(look, what, 30)
        except Exception as e:
            raise type(e)('%s; the screen is\n%s' % (e, '\n'.join(last))) from None
        return last

    def shows(self, *texts):
        return self.wait('%r to be shown' % (texts,), lambda s: all(any(t in l for l in s) for t in texts))

    def row(self, text):
        for line in self.screen():
            if text in line:
                return line
        return ''

    def restored(self, status=0):
        """The terminal is as it was."""
        self.shows('status=%d' % status)
        wait_for(lambda: os.path.exists(self.stty + '.after') and os.path.getsize(self.stty + '.after'), 'stty')
        with open(self.stty) as before, open(self.stty + '.after') as after:
            check_equal(after.read(), before.read(), 'modes of the terminal')
        check_equal(self.value('alternate_on'), '0', 'alternate screen')
        check_equal(self.value('cursor_flag'), '1', 'cursor')
        check_equal(self.value('keypad_flag'), '0', 'keypad')

    def seep_pid(self):
        """The seep that runs on this terminal."""
        pane = int(self.value('pane_pid'))

        def child():
            with open('/proc/%d/task/%d/children' % (pane, pane)) as f:
                pids = [int(p) for p in f.read().split()]
            return pids and pids[0]

        return wait_for(child, 'seep to run')


def titles(screen):
    return next((l for l in screen if 'IN USE' in l), '')


@case
def a_tour_of_the_screen(w):
    steps = Steps(w)
    steps.do('leak', 40, 64)
    steps.do('keep', 20, 1000)
    t = Terminal(w, '-i', '100ms', steps.ledger)
    t.shows('pid %d' % steps.pid, 'step_leak', 'step_keep', 'IN USE▼', 'steps.c:', 'now')
    check(t.row('step_keep').split()[:3] == ['▸', '19.5', 'KiB'], 'row', t.row('step_keep'))
    # The rows follow what the target does.
    steps.do('leak', 960, 64)
    t.wait('step_leak to be first', lambda s: any('62.5 KiB' in l and 'step_leak' in l for l in s))
    # Sorting: the arrow moves on; by name A comes first.
    t.keys('>')
    t.wait('no arrow at in use', lambda s: 'IN USE▼' not in titles(s))
    t.keys('<')
    t.shows('IN USE▼')
    t.keys('r')
    t.shows('IN USE▲')
    t.keys('r')
    # Opening a stack shows the frames outside of it; closing takes them away.
    t.keys('Enter')
    t.shows('▶ step_leak', 'main', '▾')
    t.keys('Enter')
    t.wait('the stack to be closed', lambda s: not any('▶' in l for l in s))
    # A filter, a bad one, none.
    t.keys('/', 'step_k', 'Enter')
    t.shows('filter', 'step_k', '1 row')
    t.wait('only step_keep', lambda s: not any('step_leak' in l for l in s))
    t.keys('/', 'C-u', '(', 'Enter')
    t.shows('bad regular expression')
    t.keys('/', 'C-u', 'Enter')
    t.shows('step_leak', 'step_keep')
    # A base: growth since is what was leaked since.
    t.keys('b')
    t.shows('Base marked')
    steps.do('leak', 100, 64)
    t.shows('since base', '+6.25 KiB')
    t.keys('B')
    t.shows('Base forgotten')
    # By function and thread.
    t.keys('2')
    t.shows('FUNCTION', 'main')
    t.keys('4')
    t.shows('THREAD', 'steps')
    t.keys('1')
    t.shows('SITE')
    # Paused, nothing moves; afterwards it does.
    t.keys('p')
    t.shows('PAUSED')
    steps.do('leak', 1000, 1000)
    check('step_leak' in t.row('step_leak') and 'MiB' not in t.row('step_leak'), 'not paused', t.screen())
    t.keys('p')
    t.wait('it to go on', lambda s: any('step_leak' in l and ('KiB' in l or 'MiB' in l) and '1.0' in l for l in s))
    t.keys('h')
    t.shows('seep top: keys', 'quit')
    t.keys('x')
    t.wait('the help to go', lambda s: not any('seep top: keys' in l for l in s))
    t.keys('g', 'g')
    t.wait('the plot to go', lambda s: not any('resident' in l for l in s))
    t.keys('q')
    t.restored()
    steps.end()


@case
def every_size_of_terminal(w):
    steps = Steps(w)
    steps.do('leak', 40, 64)
    t = Terminal(w, '-i', '100ms', steps.ledger)
    t.shows('step_leak', 'resident')
    t.resize(40, 10)
    s = t.wait('the small screen', lambda s: len(s) <= 11 and any('step_leak' in l for l in s)
               and not any('resident' in l for l in s))
    check(all(len(l) <= 40 for l in s), 'lines are cut', s)
    check('IN USE' in titles(s) and 'BLOCKS' not in titles(s), 'columns', titles(s))
    t.resize(200, 60)
    s = t.wait('the large screen', lambda s: any('step_leak' in l for l in s) and 'BLOCKS' in titles(s)
               and 'OLDEST' in titles(s) and any('resident' in l for l in s))
    t.resize(6, 2)
    t.resize(80, 24)
    t.shows('step_leak', 'resident')
    t.keys('q')
    t.restored()
    steps.end()


@case
def the_target_ends_under_the_screen(w):
    for how in ('exit', 'kill'):
        steps = Steps(w)
        steps.do('leak', 40, 64)
        t = Terminal(w, '-i', '10s', steps.ledger)
        t.shows('step_leak', '2.50 KiB')
        if how == 'kill':
            steps.process.kill()
        else:
            steps.end()
        # At once, not at the next refresh; the last state stays.
        t.shows('KILLED' if how == 'kill' else 'ENDED', 'step_leak', '2.50 KiB')
        t.keys('Enter')
        t.shows('▶ step_leak')
        t.keys('q')
        t.restored()
        t.run('kill-server', check_it=False)


@case
def signals_leave_a_sound_terminal(w):
    steps = Steps(w)
    steps.do('leak', 40, 64)
    for sig, status in ((signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGHUP, 129), (signal.SIGSEGV, 139),
                        (signal.SIGABRT, 134)):
        t = Terminal(w, '-i', '100ms', steps.ledger)
        t.shows('step_leak')
        check_equal(t.value('alternate_on'), '1', 'alternate screen')
        os.kill(t.seep_pid(), sig)
        t.restored(status)
        t.run('kill-server', check_it=False)
    steps.end()


@case
def stopped_and_continued(w):
    steps = Steps(w)
    steps.do('leak', 40, 64)
    # A shell with job control: ^Z must give it a terminal it can write on, and fg bring the page back.
    t = Terminal(w, '-i', '100ms', steps.ledger, before='set -m; ', after='read line; fg; echo "back=$?"; ')
    t.shows('step_leak')
    pid = t.seep_pid()
    t.keys('C-z')
    wait_for(lambda: process_state(pid) == 'T', 'seep to be stopped')
    t.restored(148)
    steps.do('leak', 960, 64)
    t.resize(100, 30)
    t.keys('Enter')
    t.shows('62.5 KiB', 'BLOCKS', 'resident')
    check_equal(t.value('alternate_on'), '1', 'alternate screen')
    t.keys('q')
    t.shows('back=0')
    wait_for(lambda: t.value('alternate_on') == '0' and t.value('cursor_flag') == '1', 'the terminal to be given back')
    steps.end()


@case
def terminals_that_cannot(w):
    steps = Steps(w)
    steps.do('leak', 40, 64)
    for env, word in ((('TERM=dumb',), 'TERM is dumb'), (('-u', 'TERM'), 'TERM is not set'),
                      (('TERM=no-such-terminal',), 'no-such-terminal')):
        t = Terminal(w, steps.ledger, env=env)
        screen = ' '.join(t.shows('status=2', '--once'))
        check(word in screen, 'the error does not say', word, screen)
        t.run('kill-server', check_it=False)
    # Only ASCII, and no colours.
    t = Terminal(w, '-i', '100ms', steps.ledger, locale='C', env=('NO_COLOR=1',))
    t.shows('IN USEv', '+')
    check(all(ord(c) < 128 for l in t.screen() for c in l), 'more than ASCII', t.screen())
    colors = re.findall(r'\033\[[0-9;]*m', t.run('capture-pane', '-p', '-e'))
    check(not any(re.search(r'[\[;](3[0-7]|4[0-7]|9[0-7])[;m]', c) for c in colors), 'colours', colors)
    t.keys('q')
    t.restored()
    steps.end()


@case
def names_that_play_with_terminals(w):
    """Control characters, half characters, wide ones, in the names of a program, its module and its thread."""
    path = os.path.join(os.fsencode(w.path), b'n\x1b[2J\x1b]0;x\x07\xff\xe6\xbc\xa2\xe5\xad\x97\nz')
    os.symlink(need_target('steps'), os.fsdecode(path))
    copy = os.fsdecode(path) + '2'
    with open(need_target('steps'), 'rb') as f, open(copy, 'wb') as g:
        g.write(f.read())
    os.chmod(copy, 0o755)
    steps = Steps(w, path=copy)
    steps.do('leak', 40, 64)
    for cols, rows in ((80, 24), (40, 10)):
        t = Terminal(w, '-i', '100ms', steps.ledger, cols=cols, rows=rows)
        t.shows('pid', 'step_leak')
        t.keys('4')
        s = t.shows('THREAD', '[2J')
        check(titles(s) and ' q quit' in ''.join(s), 'the page is broken', s)
        check_equal(t.value('pane_title') == 'x', False, 'a name has set the title')
        t.keys('3')
        t.shows('MODULE')
        t.keys('q')
        t.restored()
        t.run('kill-server', check_it=False)
    run = w.seep('top', '--once', '--by', 'thread', steps.ledger)
    check('\033' not in run.stdout and '\x07' not in run.stdout, 'controls in text', repr(run.stdout))
    top(w, '--by', 'module', steps.ledger)
    steps.end()


@case
def a_list_on_the_screen(w):
    a, b = Steps(w), Steps(w)
    a.do('leak', 10, 100)
    b.do('leak', 50, 1000)
    t = Terminal(w, '-i', '100ms', '--ledger-dir', w.ledgers)
    s = t.shows('2 tracked processes', str(a.pid), str(b.pid))
    rows = [l for l in s if 'steps' in l]
    check(str(b.pid) in rows[0] and str(a.pid) in rows[1], 'the largest is first', rows)
    t.keys('j', 'Enter')
    t.shows('pid %d' % a.pid, 'step_leak')
    t.keys('Escape')
    t.shows('2 tracked processes')
    b.end()
    t.shows('1 tracked process')
    t.keys('q')
    t.restored()
    a.end()


main()
