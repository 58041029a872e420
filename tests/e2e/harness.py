# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running targets under seep, reading reports, TAP.

A test file defines cases and ends with main():

    @case
    def blocks_are_counted(w):
        run = w.preload('calloc')
        check(run.status == 0)
        ...

Each case gets a Workspace, a folder of its own under /dev/shm that goes away with it, with everything
it started ended.  A case fails by raising (check, check_equal), is skipped by raising Skip with the
reason.  Nothing sleeps for a fixed time: wait_for() asks until a condition holds or its deadline is over.

Where things are comes from meson, in the environment: SEEP, SEEP_LIBRARY, SEEP_TARGETS, SEEP_SERVICE.
SEEP_SOAK=1 asks for the long versions.
"""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SEEP = os.environ.get('SEEP', '')
LIBRARY = os.environ.get('SEEP_LIBRARY', '')
TARGETS = os.environ.get('SEEP_TARGETS', '')
SERVICE = os.environ.get('SEEP_SERVICE', '')
SOAK = os.environ.get('SEEP_SOAK') == '1'
DEADLINE = 60.0
SLOW_DEADLINE = 240.0  # for interpreted tools that start many others: jeprof, pprof


class Skip(Exception):
    """The machine lacks what the case is about; the message says what."""


class Failure(Exception):
    """What was found is not what should be."""


def check(condition, *what):
    if not condition:
        raise Failure(' '.join(str(w) for w in what) or 'condition does not hold')


def check_equal(found, wanted, what):
    if found != wanted:
        raise Failure('%s: found %r, wanted %r' % (what, found, wanted))


def check_between(found, low, high, what):
    if not low <= found <= high:
        raise Failure('%s: found %r, wanted %r..%r' % (what, found, low, high))


def wait_for(condition, what, deadline=DEADLINE):
    """Polls until condition() is true and returns what it returned."""
    end = time.monotonic() + deadline
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure('waited %d s for %s' % (deadline, what))
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def need_program(*names):
    for name in names:
        path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:/usr/bin')
        if path:
            return path
    raise Skip('%s is not installed' % ' or '.join(names))


def need_target(name):
    path = os.path.join(TARGETS, name)
    if not os.path.exists(path):
        raise Skip('%s was not built' % name)
    return path


def need_root():
    if os.geteuid() != 0:
        raise Skip('only root can do this')


class Result:
    """A program that has ended."""

    def __init__(self, pid, status, stdout, stderr, seconds):
        self.pid, self.status, self.seconds = pid, status, seconds
        self.stdout, self.stderr = stdout, stderr

    @property
    def truths(self):
        """What the targets said of themselves (tests/targets/truth.h), by role."""
        found = {}
        for line in self.stdout.splitlines():
            if line.startswith('{"target"'):
                truth = json.loads(line)
                found.setdefault(truth['role'], []).append(truth)
        return found

    def truth(self, role='main'):
        truths = self.truths.get(role)
        check(truths and len(truths) == 1, 'the target said nothing as', role, self.describe())
        return truths[0]

    def describe(self):
        return '(status %r, stdout %r, stderr %r)' % (
            self.status, self.stdout[-2000:], self.stderr[-2000:])


class Workspace:
    def __init__(self):
        base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.path = tempfile.mkdtemp(prefix='seep-e2e-', dir=base)
        self.ledgers = os.path.join(self.path, 'ledgers')
        os.mkdir(self.ledgers, 0o700)
        self.started = []
        self.undo = []

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        for undo in reversed(self.undo):
            undo()
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def tracked_environment(self, options='', **more):
        """The preloaded library alone: no seep process is involved."""
        env = dict(os.environ)
        env['LD_PRELOAD'] = ' '.join(filter(None, [LIBRARY, env.get('LD_PRELOAD')]))
        env['SEEP_OPTIONS'] = ','.join(filter(None, ['dir=' + self.ledgers, options]))
        env.update(more)
        return env

    def start(self, command, env=None, stdin=subprocess.DEVNULL, **more):
        process = subprocess.Popen(command, env=env, stdin=stdin, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors='replace', **more)
        self.started.append(process)
        return process

    def finish(self, process, deadline=DEADLINE, stdin=None):
        start = time.monotonic()
        try:
            stdout, stderr = process.communicate(stdin, timeout=deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise Failure('%r still ran after %d s; stdout %r, stderr %r' % (
                process.args, deadline, stdout[-2000:], stderr[-2000:])) from None
        return Result(process.pid, process.returncode, stdout, stderr, time.monotonic() - start)

    def bare(self, command, deadline=DEADLINE, **more):
        """A program as it is, without seep."""
        return self.finish(self.start(command, **more), deadline)

    def preload(self, target, *args, options='', deadline=DEADLINE, **more):
        """A target (or, with a slash in its name, any program) with libseep.so preloaded."""
        path = target if '/' in target else need_target(target)
        env = self.tracked_environment(options)
        return self.finish(self.start([path, *args], env=env, **more), deadline)

    def seep(self, *args, deadline=DEADLINE, **more):
        check(SEEP, 'SEEP is not set: run these through meson test')
        return self.finish(self.start([SEEP, *args], **more), deadline)

    def ledger_paths(self, pid=None):
        """Ledgers in this workspace, oldest program first."""
        found = []
        for name in os.listdir(self.ledgers):
            parts = name.split('.')
            if len(parts) == 3 and parts[2] == 'ledger' and parts[0].isdigit():
                if pid is None or int(parts[0]) == pid:
                    found.append((int(parts[0]), int(parts[1]), os.path.join(self.ledgers, name)))
        return [path for _, _, path in sorted(found)]

    def ledger(self, pid):
        paths = self.ledger_paths(pid)
        check_equal(len(paths), 1, 'ledgers of process %d among %r' % (pid, os.listdir(self.ledgers)))
        return paths[0]

    def hold(self, target, *args, tracked=False, roles=('main',), **more):
        """Starts a target of the leak checks and returns when it waits with its state built."""
        command = [need_target(target), *args, 'hold']
        env = self.tracked_environment() if tracked else None
        process = self.start(command, env=env, stdin=subprocess.PIPE, cwd=self.path, **more)
        process.truths = {}
        while set(roles) - set(process.truths):
            line = process.stdout.readline()
            check(line, target, 'said nothing as', roles, 'and ended:', process.poll())
            truth = json.loads(line)
            process.truths[truth['role']] = truth
        for truth in process.truths.values():
            wait_for(lambda pid=truth['pid']: waits_for_input(pid), '%s to wait for its input' % target)
        return process

    def release(self, process, status=0):
        """Lets a target that holds end as it would."""
        run = self.finish(process, stdin='')
        check_equal(run.status, status, 'status of the target afterwards %s' % run.describe())

    def check_run(self, what, *options, deadline=DEADLINE, **more):
        """`seep check --json` of a process or a core: its Result."""
        return self.seep('check', '--json', '--show-kinds=all', *options, *[str(o) for o in (
            what if isinstance(what, (list, tuple)) else [what])], deadline=deadline, **more)

    def check(self, what, *options, status=0, **more):
        """What `seep check` finds in a process or a core."""
        run = self.check_run(what, *options, **more)
        check_equal(run.status, status, 'status of seep check %s %s' % (what, run.describe()))
        return parse_checks(run.stdout)[0]

    def check_at_exit(self, command, *options, status=0, **more):
        """What `seep run --check` finds in a command and its children, and the command's Result."""
        path = self.file('checks.json')
        run = self.seep('run', '--check', '--check-json=' + path, '--show-kinds=all', '--ledger-dir=' +
                        self.ledgers, *options, '--', *command, **more)
        if status is not None:
            check_equal(run.status, status, 'status of seep run --check %s' % run.describe())
        with open(path) as f:
            run.checks = parse_checks(f.read())
        return run

    def core_of(self, process, pid=None, gcore=False):
        """A core file of a process that was started with cores=True; without gcore it ends by that."""
        pid = pid or process.pid
        if gcore:
            made = self.bare([need_program('gcore'), '-o', self.file('g'), str(pid)])
            path = self.file('g.%d' % pid)
            check(os.path.exists(path), 'gcore wrote nothing', made.describe())
            return path
        with open('/proc/sys/kernel/core_pattern') as f:
            pattern = f.read().strip()
        if pattern.startswith('|') or '/' in pattern:
            return self.core_of(process, pid, True)
        before = set(os.listdir(self.path))
        os.kill(pid, signal.SIGABRT)
        wait_for(lambda: process_state(pid) in (None, 'Z'), 'process %d to have dumped its core' % pid)
        made = [n for n in set(os.listdir(self.path)) - before if n.startswith('core')]
        check_equal(len(made), 1, 'cores among %r' % os.listdir(self.path))
        path = self.file('dumped.%d' % pid)
        os.rename(self.file(made[0]), path)
        return path

    def report(self, what, *options, deadline=DEADLINE):
        """What `seep report --json` says of a ledger, a snapshot or a process, with all its sites."""
        return Report(self.report_json(what, *options, deadline=deadline))

    def report_json(self, what, *options, deadline=DEADLINE):
        run = self.seep('report', '--json', '--top', '0', '--kind', 'all', '--value', 'alloc-blocks',
                        *options, str(what), deadline=deadline)
        check_equal(run.status, 0, 'status of seep report %s %s' % (what, run.describe()))
        try:
            return json.loads(run.stdout)
        except ValueError as e:
            raise Failure('seep report --json wrote no JSON: %s in %r' % (e, run.stdout[:500])) from None


LEAK_CLASSES = ('definite', 'indirect', 'possible', 'reachable', 'suppressed')


class Check:
    """One check of docs/CHECK-JSON.md, as the tests ask it."""

    def __init__(self, data):
        self.data = data
        self.pid, self.moment = data['process']['pid'], data['moment']
        for frame in data['frames']:
            frame['function'] = plain(frame['function'])
        self.records = data['records']
        for record in self.records:
            record['stack'] = [data['frames'][i] for i in record['stack']]
        self.completeness = data['completeness']

    @property
    def classes(self):
        """(blocks, bytes) by class, those that have any."""
        return {name: (c['blocks'], c['bytes']) for name, c in self.data['classes'].items()
                if name in LEAK_CLASSES and c['blocks']}

    def total(self, name):
        c = self.data['classes'][name]
        return c['blocks'], c['bytes']

    @property
    def heuristics(self):
        return {name: (c['blocks'], c['bytes']) for name, c in self.data['heuristics'].items() if c['blocks']}

    @property
    def cycles(self):
        return sum(r['cycles'] for r in self.records)

    def by_function(self, functions):
        """(blocks, bytes) by class, by the innermost of these functions in a record's stack."""
        found = {}
        for r in self.records:
            stack = [f['function'] or '' for f in r['stack']]
            names = [name for name in stack if name in functions]
            if names and not any('pthread_setspecific' in name for name in stack):  # that is libc's own
                classes = found.setdefault(names[0], {})
                blocks, size = classes.get(r['class'], (0, 0))
                classes[r['class']] = (blocks + r['blocks'], size + r['bytes'])
        return found

    def lost_addresses(self):
        """Of definite blocks: up to eight of each record."""
        return {a for r in self.records if r['class'] == 'definite' for a in r['addresses']}

    def lost(self):
        """Definite and possible, for messages: class, blocks, bytes, stack or content."""
        return [(r['class'], r['blocks'], r['bytes'], r['what'] or r['content'], r['addresses'][:3],
                 [f['function'] for f in r['stack']][:12]) for r in self.records
                if r['class'] in ('definite', 'possible')]


def parse_checks(text):
    try:
        data = json.loads(text)
    except ValueError as e:
        raise Failure('seep wrote no JSON: %s in %r' % (e, text[:500])) from None
    check_equal(data['version'], 1, 'version')
    return [Check(c) for c in data['checks']]


def truth_total(truth, moment, usable):
    """(blocks, bytes) by class of what a target said of itself (tests/targets/leaktruth.h)."""
    totals = {}
    for classes in truth['leaks'][moment].values():
        for name, (blocks, size, usable_size) in classes.items():
            old = totals.get(name, (0, 0))
            totals[name] = (old[0] + blocks, old[1] + (usable_size if usable else size))
    return totals


def process_state(pid):
    """'S', 'R', 't', ...; None when there is no such process."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def waits_for_input(pid):
    """Its main thread is in read(0, ...)."""
    try:
        with open('/proc/%d/syscall' % pid) as f:
            words = f.read().split()
    except OSError:
        check(process_state(pid) not in (None, 'Z'), 'process', pid, 'has ended')
        return process_state(pid) == 'S'
    return words[:2] == ['0', '0x0']


def allow_cores():
    """For preexec_fn."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


class Values:
    """Blocks and bytes of some sites together, as truth.h has them, with intervals where sampled."""

    def __init__(self):
        self.allocs = self.alloc_bytes = self.frees = self.free_bytes = 0
        self.inuse = self.inuse_bytes = 0
        self.squares = 0.0  # of the half widths of the sites' intervals: independent errors add up so

    def add(self, site):
        self.allocs += site['allocated']['blocks']
        self.alloc_bytes += site['allocated']['bytes']
        self.frees += site['freed']['blocks']
        self.free_bytes += site['freed']['bytes']
        self.inuse += site['in_use']['blocks']
        self.inuse_bytes += site['in_use']['bytes']
        low, high = (site['allocated'].get('bytes_' + end, site['allocated']['bytes'])
                     for end in ('low', 'high'))
        self.squares += ((high - low) / 2) ** 2

    def as_truth(self):
        return {'allocs': self.allocs, 'alloc_bytes': self.alloc_bytes, 'frees': self.frees,
                'free_bytes': self.free_bytes}


def plain(name):
    """shop::Registry<shop::Order>::make(unsigned long) → make; C names stay as they are."""
    if not name or 'operator' in name:
        return name
    flat, depth = '', 0
    for c in name:
        depth += c in '<('
        if not depth:
            flat += c
        depth -= c in '>)'
    return flat.split('::')[-1].split(' ')[-1] or name


class Report:
    """The JSON of docs/REPORT-JSON.md, as the tests ask it."""

    def __init__(self, data):
        self.data = data
        self.sites = data['sites']
        for frame in data['frames']:
            frame['function'] = plain(frame['function'])
        for site in self.sites:
            site['stack'] = [data['frames'][i] for i in site['stack']]
        process, tracking = data['process'], data['tracking']
        self.live, self.killed = process['state'] == 'running', process['state'] == 'killed'
        self.execed = process['state'] == 'execed'
        self.allocator = process['allocator'] or ''
        self.sampled, self.forked = tracking['mode'] == 'sampled', tracking['forked']
        self.period, self.bypassed = tracking['period'], tracking['bypassed']

    @property
    def losses(self):
        """What the report says is missing: number by code (docs/REPORT-JSON.md, notes)."""
        return {n['code']: n['count'] for n in self.data['notes'] if n['count'] is not None}

    def chosen(self, function, kind):
        for site in self.sites:
            if kind is None or site['kind'] == kind:
                if function is None or any(f['function'] == function for f in site['stack']):
                    yield site

    def values(self, function, kind=None):
        """All sites with that function anywhere in their stack."""
        values = Values()
        for site in self.chosen(function, kind):
            values.add(site)
        return values

    def totals(self, kind=None):
        return self.values(None, kind)

    def unknown_values(self):
        """What has no stack at all."""
        values = Values()
        for site in self.sites:
            if not site['stack']:
                values.add(site)
        return values

    def stacks(self, function, kind=None):
        """Different stacks with that function in them: names, leaf first; '??' where there is none."""
        return sorted({tuple(f['function'] or '??' for f in site['stack'])
                       for site in self.chosen(function, kind)})

    def count_sites(self, function):
        return sum(site['sites'] for site in self.chosen(function, None))

    def top_site(self):
        """The site that holds the most."""
        site = max(self.sites, key=lambda s: s['in_use']['bytes'])
        return {'functions': [f['function'] for f in site['stack']],
                'lines': [(f['file'] or '', f['line']) for f in site['stack']],
                'inuse': site['in_use']['blocks'], 'inuse_bytes': site['in_use']['bytes']}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(port):
    """For wait_for(): somebody listens there."""
    def attempt():
        try:
            with socket.create_connection(('127.0.0.1', port), timeout=1):
                return True
        except OSError:
            return False
    return attempt


CASES = []


def case(function):
    CASES.append(function)
    return function


def main():
    only = sys.argv[1:]
    chosen = [c for c in CASES if not only or c.__name__ in only]
    print('TAP version 13\n1..%d' % len(chosen), flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = function.__name__.replace('_', ' ')
        workspace = Workspace()
        start = time.monotonic()
        try:
            function(workspace)
            line = 'ok %d - %s' % (number, name)
        except Skip as e:
            line = 'ok %d - %s # SKIP %s' % (number, name, e)
        except Exception as e:  # whatever it is, the next case runs
            failed += 1
            line = 'not ok %d - %s' % (number, name)
            text = str(e) if isinstance(e, Failure) else traceback.format_exc()
            frames = traceback.extract_tb(e.__traceback__)
            where = [f for f in frames if not f.filename.endswith('harness.py')]
            if where:
                text += '\nat %s:%d: %s' % (os.path.basename(where[-1].filename), where[-1].lineno,
                                          where[-1].line)
            print('\n'.join('# ' + t for t in text.splitlines()), flush=True)
        finally:
            workspace.close()
        print(line, flush=True)
        print('# %.2f s' % (time.monotonic() - start), file=sys.stderr)
    sys.exit(1 if failed else 0)

