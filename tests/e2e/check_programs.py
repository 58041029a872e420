# SPDX-License-Identifier: Apache-2.0
"""Real programs under load lose nothing, and seep must not say so: checked again and again while they work, and at their end."""
import json
import os
import signal
import subprocess

from harness import (SEEP, SOAK, Skip, answers, case, check, check_equal, free_port, main, need_program, parse_checks,
                     wait_for)
from load import PYTHON, SERVER, Load, children_of, http_get, nginx_command, redis_command, redis_load

ROUNDS = 60 if SOAK else 20


def nothing_lost(found, what, least_blocks=100):
    check_equal((found.total('definite'), found.total('indirect')), ((0, 0), (0, 0)), '%s: %r' % (
        what, [r for r in found.lost() if r[0] == 'definite'][:10]))
    blocks = sum(c['blocks'] for c in found.data['classes'].values())
    check(blocks >= least_blocks, what, 'it has a heap:', blocks, 'blocks')
    c = found.completeness
    check(not c['missed_threads'] and not c['unreadable_bytes'], what, c)


def watch(w, load, pids, *options, rounds=ROUNDS, least_blocks=100):
    """A block that a thread was just allocating or freeing is no leak: it is another one, or none, the next time."""
    for number in range(rounds):
        pid = pids[number % len(pids)]
        option = '--no-clone' if number % 3 == 2 else '--clone'
        found = w.check(pid, option, *options)
        if found.total('definite')[0] and found.total('definite')[0] <= 4:
            load.went_on()
            again = w.check(pid, option, *options)
            if not again.lost_addresses() & found.lost_addresses():
                found = again
        nothing_lost(found, 'check %d of %d, %s' % (number, pid, option), least_blocks)
        load.went_on()


def tracked(w, command):
    """Under seep run with a check at the end: exact sizes and stacks for the checks in between."""
    return [SEEP, 'run', '--check', '--check-json=' + w.file('checks.json'), '--show-kinds=all', '--ledger-dir=' + w.ledgers,
            '-o', w.file('a.seep'), '--', *command]


def end_checks(w):
    with open(w.file('checks.json')) as f:
        return parse_checks(f.read())


# ---- redis ----------------------------------------------------------------------------------

@case
def redis_over_glibc(w):
    """Debian's redis brings jemalloc; with libc first in line it is glibc's heap that it uses."""
    port = free_port()
    process = w.start(redis_command(port, w), env=dict(os.environ, LD_PRELOAD='libc.so.6'))
    wait_for(answers(port), 'redis to answer')
    with Load(redis_load(w, port), 1) as load:
        watch(w, load, [process.pid])
    w.bare([need_program('redis-cli'), '-p', str(port), 'shutdown', 'nosave'])
    check_equal(w.finish(process).status, 0, 'status')


@case
def redis_over_jemalloc(w):
    """Its blocks are known by the ledger alone."""
    port = free_port()
    process = w.start(tracked(w, redis_command(port, w)))
    wait_for(answers(port), 'redis to answer')
    server = children_of(process.pid)
    check_equal(len(server), 1, 'processes below seep run')
    with Load(redis_load(w, port), 1) as load:
        watch(w, load, server, '--ledger-dir=' + w.ledgers, rounds=ROUNDS // 2)
    w.bare([need_program('redis-cli'), '-p', str(port), 'shutdown', 'nosave'])
    run = w.finish(process, deadline=120)
    check_equal(run.status, 0, run.describe())
    found = end_checks(w)[0]
    nothing_lost(found, 'at the end')
    check('jemalloc' in found.data['allocator'], 'whose blocks', found.data['allocator'])
    check(found.completeness['recorded_blocks'] > 0.99 * found.total('reachable')[0], 'blocks with a stack', found.completeness)


@case
def redis_over_jemalloc_attached_to(w):
    """Of an allocator without a walker some blocks are known, those since attaching or a sample of them; others point to them."""
    port = free_port()
    process = w.start(redis_command(port, w))
    wait_for(answers(port), 'redis to answer')
    # Before that nothing is known, and nobody says that no leaks were found.
    found = w.check(process.pid, '--ledger-dir=' + w.ledgers)
    check_equal((found.completeness['nothing_known'], found.completeness['complete'], found.classes), (True, False, {}), 'without a tracker')
    said = w.seep('check', '--ledger-dir=' + w.ledgers, str(process.pid)).stdout
    check('Nothing could be checked: libjemalloc' in said and 'No leaks' not in said, said)
    with Load(redis_load(w, port), 1) as load:
        load.went_on()
        for how in ('--full', '--sample=4K'):
            run = w.seep('attach', how, '--json', '--ledger-dir=' + w.ledgers, str(process.pid))
            check_equal(run.status, 0, run.describe())
            wait_for(lambda: w.report(json.loads(run.stdout)['ledger']).totals().inuse > 50, 'blocks in the ledger')
            watch(w, load, [process.pid], '--ledger-dir=' + w.ledgers, rounds=ROUNDS // 4, least_blocks=5)
            found = w.check(process.pid, '--ledger-dir=' + w.ledgers)
            check_equal(found.completeness['nothing_known'], False, 'with a tracker')
            check(any('only some of this allocator' in n for n in found.completeness['notes']), found.completeness)
            check_equal(w.seep('detach', str(process.pid)).status, 0, 'detach')
    w.bare([need_program('redis-cli'), '-p', str(port), 'shutdown', 'nosave'])
    check_equal(w.finish(process).status, 0, 'status')


# ---- nginx ----------------------------------------------------------------------------------

@case
def nginx_and_its_workers(w):
    port = free_port()
    command = nginx_command(w, port)
    process = w.start(command)
    wait_for(answers(port), 'nginx to answer')
    workers = wait_for(lambda: len(children_of(process.pid)) == 2 and children_of(process.pid), 'its workers')
    with Load(http_get(port)) as load:
        watch(w, load, [process.pid, *workers], least_blocks=20)
    w.bare([*command, '-s', 'quit'])
    check_equal(w.finish(process).status, 0, 'status')


@case
def nginx_at_its_end(w):
    port = free_port()
    command = nginx_command(w, port)
    process = w.start(tracked(w, command))
    wait_for(answers(port), 'nginx to answer')
    with Load(http_get(port)) as load:
        load.went_on()
    w.bare([*command, '-s', 'quit'])
    run = w.finish(process, deadline=120)
    check_equal(run.status, 0, run.describe())
    checks = end_checks(w)
    check_equal(len(checks), 3, 'processes checked')
    for found in checks:
        # A worker gives its pool back before it calls exit(), and with it the only pointer to its table of
        # connections and their events, which are no part of the pool: really lost, unless a register still has it.
        tables = [r for r in found.lost() if r[0] == 'definite' and r[5][:1] == ['ngx_alloc']]
        check_equal(found.total('definite')[0], sum(r[1] for r in tables), 'process %d at its end: %r' % (
            found.pid, found.lost()))
        check(len(tables) <= 3, 'one for each table', tables)
        check(sum(c['blocks'] for c in found.data['classes'].values()), 'it has a heap')


# ---- CPython --------------------------------------------------------------------------------

def python_server(w, malloc):
    if not os.path.exists(PYTHON):
        raise Skip('there is no ' + PYTHON)
    port = free_port()
    process = w.start([PYTHON, '-c', SERVER, str(port)], env=dict(os.environ, PYTHONMALLOC=malloc))
    wait_for(answers(port), 'python to answer')
    with Load(http_get(port)) as load:
        watch(w, load, [process.pid])
    process.send_signal(signal.SIGTERM)
    w.finish(process)


@case
def python_with_its_own_pools(w):
    python_server(w, 'pymalloc')


@case
def python_with_malloc_for_everything(w):
    python_server(w, 'malloc')


@case
def python_at_its_end(w):
    if not os.path.exists(PYTHON):
        raise Skip('there is no ' + PYTHON)
    script = ('import json, re, collections, threading\n'
              'd = [{"id": i, "n": "n%d" % i} for i in range(2000)]\n'
              't = [threading.Thread(target=lambda: json.loads(json.dumps(d))) for _ in range(3)]\n'
              '[x.start() for x in t]; [x.join() for x in t]\nprint(len(d))\n')
    for moment in ('exit', 'end'):
        run = w.check_at_exit([PYTHON, '-c', script], '--check-at=' + moment, deadline=120,
                              env=dict(os.environ, PYTHONMALLOC='malloc'))
        nothing_lost(run.checks[0], 'python at ' + moment)


# ---- sqlite, git ----------------------------------------------------------------------------

SQL = '''create table t(id integer primary key, name text, n real);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 300000)
insert into t select i, 'name ' || i, i * 1.5 from c;
create index by_name on t(name);
select count(*), sum(n), max(name) from t;
select count(*) from t a join t b on a.id = b.id + 1 where a.name like '%7%';
select name from t where name like '%77%' order by n desc limit 3;
'''


@case
def sqlite_with_a_large_script(w):
    sqlite = need_program('sqlite3')
    rounds = 0
    while rounds < ROUNDS:
        process = w.start([sqlite, ':memory:', SQL * 4])
        wait_for(lambda: os.path.basename(os.readlink('/proc/%d/exe' % process.pid)) == 'sqlite3', 'sqlite to run')
        while rounds < ROUNDS and process.poll() is None:
            run = w.check_run(process.pid, '--no-clone' if rounds % 3 == 2 else '--clone')
            if run.status:  # it has just ended
                wait_for(lambda: process.poll() is not None, 'sqlite to have ended: %s' % run.describe(), 10)
                check('ended' in run.stderr, run.describe())
                break
            found = parse_checks(run.stdout)[0]
            if not any(c['blocks'] for c in found.data['classes'].values()):
                continue  # the loader has not come to the program yet
            nothing_lost(found, 'check %d' % rounds, 1)
            rounds += 1
        process.kill()
    run = w.check_at_exit([sqlite, ':memory:', SQL.replace('300000', '20000')], deadline=120)
    nothing_lost(run.checks[0], 'at the end', 1)


@case
def git(w):
    """git leaks on purpose before it ends; what memcheck calls definitely lost there, and nothing else, is lost (check_memcheck.py)."""
    program, env = need_program('git'), dict(os.environ, HOME=w.path)
    repository = w.file('r')
    check_equal(w.bare([program, 'init', '-q', '-b', 'main', repository], env=env).status, 0, 'git init')
    stream = ['feature done\n']
    for i in range(1500):
        text = 'content %d\n' % i * 20
        stream.append('commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata %d\nmessage %d\n' % (
            1000000000 + i, len('message %d' % i), i))
        stream.append('M 100644 inline d%d/f%d\ndata %d\n%s\n' % (i % 7, i % 50, len(text), text))
    stream.append('done\n')
    run = w.finish(w.start([program, '-C', repository, 'fast-import', '--quiet'], env=env,
                           stdin=subprocess.PIPE), stdin=''.join(stream))
    check_equal(run.status, 0, run.describe())
    for command in (['log', '--stat', '-p'], ['blame', 'main', '--', 'd0/f0'], ['gc', '-q', '--aggressive']):
        bare = w.bare([program, '-C', repository, '--no-pager', *command], env=env, deadline=120)
        check_equal(bare.status, 0, ' '.join(command))
    live, process = 0, None
    while live < ROUNDS // 2:
        if not process:
            process = w.start([program, '-C', repository, '--no-pager', 'log', '-p', '--all'], env=env)
        # It goes on for as long as somebody reads, and stands between checks: it cannot be gone when one comes.
        if len(process.stdout.read(20000)) < 20000:
            process.wait()
            process = None
            continue
        run = w.check_run(process.pid, '--no-clone' if live % 2 else '--clone')
        check_equal(run.status, 0, run.describe())
        found = parse_checks(run.stdout)[0]
        # git loses a little by design as it goes along; the load must not add to it.
        check(found.total('definite')[0] <= 30, 'check %d: %r' % (live, found.lost()[:10]))
        live += 1
    process.kill()
    process.stdout.close()
    process.wait()


main()
