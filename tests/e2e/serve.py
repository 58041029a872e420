# SPDX-License-Identifier: Apache-2.0
"""seep serve: what is shown is what the process and `seep report` say; what is recorded stays."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from harness import SEEP, SERVICE, Skip, case, check, check_between, check_equal, main, need_program, need_root, need_target, wait_for
from serve_client import Server, nodes, tracked_service

MIB = 1 << 20
LEAKS = 10  # MiB


def now_ms():
    return int(time.time() * 1000)


@case
def a_process_is_shown_as_it_is(w):
    service = tracked_service(w)
    server = Server(w)
    service.ask('/leak', LEAKS)
    row = server.find(service.pid, tracked=True)
    wait_for(lambda: server.find(service.pid)['inuse_bytes'] >= LEAKS * MIB, 'the leaks to be seen')
    check_equal((row['name'], row['state'], row['mode'], row['allocator']), ('service', 'running', 'full', 'glibc'), 'row')
    check_equal(server.get('/api/v1/processes/pid:%d' % service.pid)['process']['id'], row['id'], 'by pid')
    report = w.report_json(w.ledger(service.pid))
    view = server.get('/api/v1/view/top', view='now:%d' % row['id'], by='function', sort='self')
    check_equal(view['about']['total'], report['totals']['in_use']['bytes'], 'in use, as seep report says')
    top = view['rows'][0]
    check_equal((top['name'], top['self'], top['line']), ('session_buffer_new', LEAKS * MIB, 13), 'the leak')
    flame = server.get('/api/v1/view/flame', view='now:%d' % row['id'])
    path = [f for _, f, value, _ in nodes(flame['nodes'], flame) if value == LEAKS * MIB]
    check_equal(path[-4:], ['serve', 'handle_leak', 'session_open', 'session_buffer_new'], 'flame')
    leaf = server.get('/api/v1/view/flame', view='now:%d' % row['id'], direction='leaf')
    check_equal(nodes(leaf['nodes'], leaf)[1][1:3], ('session_buffer_new', LEAKS * MIB), 'leaf first')
    function = server.get('/api/v1/view/function', view='now:%d' % row['id'], function='session_open')
    check_equal((function['self'], function['total']), (0, LEAKS * MIB), 'function')
    check_equal(nodes(function['callers'], function)[1][1], 'handle_leak', 'caller')
    check_equal(nodes(function['callees'], function)[1][1], 'session_buffer_new', 'callee')
    source = server.get('/api/v1/view/source', view='now:%d' % row['id'], file=top['file'], line=13, around=2)
    check_equal((source['readable'], source['first']), (True, 11), 'source')
    check('malloc(size)' in source['lines'][2], source['lines'])
    check_equal(dict(zip(source['hot']['line'], source['hot']['self']))[13], LEAKS * MIB, 'hot line')


@case
def two_moments_and_a_window(w):
    service = tracked_service(w)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    service.ask('/leak', 3)
    first = server.snapshot(process, label='before')
    begin = now_ms()
    wait_for(lambda: now_ms() > begin + 100, 'the clock')  # births in the ledger are coarser than this one
    service.ask('/leak', 5)
    service.ask('/', 20)  # comes and goes
    second = server.snapshot(process)
    diff = server.get('/api/v1/view/flame', view=second, base=first)
    check_equal((diff['about']['total'] - diff['about']['base_total']), 5 * MIB, 'change')
    leaf = [n for n in nodes(diff['nodes'], diff) if n[1] == 'session_buffer_new'][0]
    check_equal(leaf[2:], (8 * MIB, 3 * MIB), 'after and before')
    grown = server.get('/api/v1/view/top', view=second, base=first, value='growth', by='site')
    check_equal([(r['name'], r['self']) for r in grown['rows']], [('session_buffer_new', 5 * MIB)], 'growth')
    window = server.get('/api/v1/view/top', process=process, **{'from': begin, 'to': now_ms()}, by='site')
    check_equal(window['about']['window']['exact'], True, 'window')
    check_equal([(r['name'], r['self'], r['blocks']) for r in window['rows']], [('session_buffer_new', 5 * MIB, 5)],
                'allocated in the window and not freed')
    # The same in the past, from a snapshot, when the process has gone on.
    end = server.get('/api/v1/snapshots/%d' % second)['time_ms']
    service.ask('/leak', 2)
    past = server.get('/api/v1/view/top', process=process, **{'from': begin, 'to': end}, by='site')
    check_equal((past['about']['view']['snapshot'], past['rows'][0]['self']), (second, 5 * MIB), 'a window that is over')
    rows = server.get('/api/v1/processes/%d/sites' % process)
    check_equal(rows['history']['snapshots'], [first, second], 'history')
    check_equal(rows['rows'][0]['history'], [3 * MIB, 8 * MIB], 'course of the leak')
    site = server.get('/api/v1/sites/' + rows['rows'][0]['site'], process=process)
    check_equal(site['inuse_bytes'], [3 * MIB, 8 * MIB], 'course of the site')
    check_equal(server.get('/api/v1/snapshots/%d' % first)['label'], 'before', 'label')
    server.ask('/api/v1/snapshots/%d' % second, 'PATCH', {'pinned': True})
    check_equal(server.ask('/api/v1/snapshots/%d' % second, 'DELETE').status, 409, 'pinned')
    check_equal(server.ask('/api/v1/snapshots/%d' % first, 'DELETE').status, 204, 'deleted')
    check_equal(len(server.get('/api/v1/processes/%d/snapshots' % process)['snapshots']), 1, 'snapshots')


@case
def jobs_look_and_say(w):
    service = tracked_service(w)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    service.ask('/leak', 4)
    actions = {a['kind']: a for a in server.get('/api/v1/processes/%d' % process)['actions']}
    check_equal((actions['attach']['available'], actions['detach']['available']), (False, True), 'actions')
    check(all(a['account'] for a in actions.values()), 'each action says what it does')
    job = server.job('check', process)
    check_equal(job['state'], 'done', 'check %r' % job)
    check('4.00 MiB lost in 4 blocks' in server.get('/api/v1/processes/%d/checks' % process)['checks'][0]['summary'], 'summary')
    document = server.get('/api/v1/processes/%d/findings' % process)['check']['document']
    check_equal(document['checks'][0]['classes']['definite'], {'bytes': 4 * MIB, 'blocks': 4}, 'the check itself')
    leaked = server.get('/api/v1/view/top', process=process, value='leaked', by='site')
    check_equal([(r['name'], r['self']) for r in leaked['rows']], [('session_buffer_new', 4 * MIB)], 'leaked')
    server.snapshot(process)
    rows = server.get('/api/v1/processes/%d/sites' % process)['rows']
    check_equal((rows[0]['leak'], rows[0]['leaked_bytes']), ('definite', 4 * MIB), 'the leak of the site')
    check_equal(server.job('trim', process, status=(409, 501))['error']['code'] in ('conflict', 'unavailable'), True,
                'trim without its dry run')
    check_equal(server.job('attach', process, status=(409,))['error']['code'], 'conflict', 'attach to a tracked one')


@case
def jobs_on_one_process_take_turns(w):
    """Each stops it for a moment, which only one can; asked for at once they come one after the other, and see everything."""
    service = tracked_service(w)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    service.ask('/leak', 4)
    asked = [server.ask('/api/v1/jobs', 'POST', {'kind': kind, 'process': str(process)}).json['id'] for kind in ('check', 'doctor', 'check')]
    check_equal(asked[0], asked[2], 'two of a kind are one')
    check_job, doctor_job = server.ended(asked[0]), server.ended(asked[1])
    check_equal((check_job['state'], doctor_job['state']), ('done', 'done'), 'states of %r and %r' % (check_job, doctor_job))
    check(doctor_job['started_ms'] >= check_job['ended_ms'], check_job, doctor_job)
    document = server.get('/api/v1/processes/%d/findings' % process)['doctor']['document']
    check_equal((document['how'], document['notes']), ('clone', []), 'how it was looked at')


@case
def trim_with_its_dry_run(w):
    service = tracked_service(w)
    server = Server(w)
    if not server.get('/api/v1/server')['commands']['trim']:
        raise Skip('this seep has no trim')
    process = server.find(service.pid, tracked=True)['id']
    service.ask('/burst', 3)
    plan = server.job('trim', process, dry_run=True)
    check_equal(plan['state'], 'done', 'dry run %r' % plan)
    real = server.job('trim', process, plan=plan['id'])
    check_equal(real['state'], 'done', 'trim %r' % real)
    found = server.get('/api/v1/processes/%d/findings' % process)['trim']
    check_equal(found['dry_run'], False, 'the newest trim')
    service.ask('/burst')


@case
def a_copy_that_is_looked_at_is_no_process(w):
    """A check looks at a clone of the process, of the same name: neither listed, nor recorded, nor found by that name."""
    program = w.file('only_one')
    shutil.copy(need_target('million_sites'), program)
    target = w.start([program, '1000', '1000000', 'hold'], stdin=subprocess.PIPE)
    check_equal(target.stdout.readline(), 'ready\n', 'the target')
    server = Server(w, '--watch', 'only_one', '--every', '1s')
    server.find(target.pid, watched=True)
    looker = w.start([SEEP, 'check', str(target.pid)])

    def copies():
        with open('/proc/%d/task/%d/children' % (target.pid, target.pid)) as f:
            return [int(n) for n in f.read().split()]
    while not copies():
        check(looker.poll() is None, 'the check ended before its copy was seen')
    os.kill(looker.pid, signal.SIGSTOP)
    clone = copies()
    check_equal(len(clone), 1, 'copies')
    try:
        before = server.get('/api/v1/server')['now_ms']
        wait_for(lambda: server.get('/api/v1/server')['now_ms'] > before + 1000, 'some looks around')
        check_equal([p['pid'] for p in server.processes(q='only_one')], [target.pid], 'processes')
        check_equal(copies(), clone, 'the copy is still there')
        by_name = w.seep('check', '--leak-check=summary', 'only_one')
        check_equal(by_name.status, 0, by_name.describe())
    finally:
        os.kill(looker.pid, signal.SIGCONT)
    check_equal(w.finish(looker).status, 0, 'the check')
    check_equal([p['pid'] for p in server.processes(q='only_one')], [target.pid], 'processes that were recorded')


@case
def the_doctors_split_over_time(w):
    service = tracked_service(w)
    server = Server(w)
    if not server.get('/api/v1/server')['commands']['doctor']:
        raise Skip('this seep has no doctor')
    process = server.find(service.pid, tracked=True)['id']
    service.ask('/leak', 3)
    job = server.job('doctor', process)
    check_equal(job['state'], 'done', 'doctor %r' % job)
    document = server.get('/api/v1/processes/%d/findings' % process)['doctor']['document']
    split = server.get('/api/v1/processes/%d/timeline' % process)['split']
    check_equal({key: values[0] for key, values in zip(split['keys'], split['values'])},
                {c['class']: c['bytes'] for c in document['classes']}, 'split')
    check_equal(split['total'], [document['facts']['rss']], 'the parts add up to what is resident')
    wait_for(lambda: any(v is not None for v in server.get('/api/v1/processes/%d/timeline' % process)['retained']), 'retained')


@case
def attach_and_detach_from_the_page(w):
    process = w.start([SERVICE, '--port', '0'])
    check(process.stdout.readline().startswith('listening'), 'the service')
    server = Server(w, ledgers='/dev/shm/seep-%d' % os.geteuid())
    row = server.find(process.pid, tracked=False)
    check_equal(row['recorded'], False, 'not recorded yet')
    job = server.job('attach', 'pid:%d' % process.pid, sample=0)
    if job['state'] == 'failed' and 'permitted' in job['error']['message']:
        raise Skip(job['error']['message'])
    check_equal(job['state'], 'done', 'attach %r' % job)
    row = server.find(process.pid, tracked=True)
    check_equal(row['mode'], 'full', 'mode')
    check_equal(server.job('detach', row['id'])['state'], 'done', 'detach')
    server.find(process.pid, tracked=False)
    kinds = [m['kind'] for m in server.get('/api/v1/processes/%d/timeline' % row['id'])['marks']]
    check('attach' in kinds and 'detach' in kinds, kinds)


@case
def the_watched_are_recorded_until_their_end(w):
    service = tracked_service(w, under_run=True)
    server = Server(w, '--watch', 'service', '--every', '1s')
    row = wait_for(lambda: next((p for p in server.processes(q='service', tracked=1) if p['watched']), None), 'it to be watched')
    service.ask('/leak', 6)
    wait_for(lambda: server.get('/api/v1/processes/%d' % row['id'])['baseline'], 'a baseline')
    last = wait_for(lambda: server.find(row['pid'])['inuse_bytes'] >= 6 * MIB and server.find(row['pid']), 'the leaks')
    os.kill(row['pid'], signal.SIGKILL)
    w.finish(service)
    ended = server.find(row['pid'], state='killed')
    check('killed' in ended['end'], ended['end'])
    end = wait_for(lambda: next((s for s in server.get('/api/v1/processes/%d/snapshots' % row['id'])['snapshots']
                                 if s['reason'] == 'its end'), None), 'the last ledger')
    check(end['inuse_bytes'] >= last['inuse_bytes'], 'the end holds what was held', end)
    check_equal(server.get('/api/v1/view/top', view='now:%d' % row['id'])['about']['view']['snapshot'], end['id'], 'now is its last')
    check_equal(server.job('check', row['id'], status=(410,))['error']['code'], 'gone', 'a job on the dead')
    line = server.get('/api/v1/processes/%d/timeline' % row['id'], points=20000)
    check(line['measured'] > 5 and line['time_ms'] == sorted(line['time_ms']), 'points', line['measured'])
    check('killed' in [m['kind'] for m in line['marks']], line['marks'])
    server.stop()
    again = Server(w)  # another server, the same record
    check_equal(again.find(row['pid'])['state'], 'killed', 'after a restart')
    check_equal(again.ask('/api/v1/processes/%d' % row['id'], 'DELETE').status, 204, 'forgotten')


@case
def uploads_of_other_tools(w):
    service = tracked_service(w)
    service.ask('/leak', 3)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    for kind in ('pprof', 'seep', 'jemalloc', 'gperftools', 'massif', 'folded'):
        body = server.ask('/api/v1/view/%s?view=now:%d' % (kind, process)).body
        answer = server.ask('/api/v1/upload?name=a.%s&label=x' % kind, 'POST', body)
        check_equal(answer.status, 201, kind + ' %r' % answer.body[:300])
        top = server.get('/api/v1/view/top', view=answer.json['snapshot'], by='function', sort='self')
        check_between(top['about']['total'], 3 * MIB, 3 * MIB + 65536, kind)
    rows = [p for p in server.processes(recorded=1) if p['state'] == 'file']
    check_equal(len(rows), 6, 'uploads are processes of their own')
    bad = server.ask('/api/v1/upload?name=x', 'POST', b'\x00\x01garbage' * 100)
    check_equal((bad.status, bad.code), (422, 'unreadable'), 'garbage')
    check('/proc/' not in bad.json['error']['message'], bad.json)
    check_equal(server.ask('/api/v1/upload?name=x', 'POST', b'').status, 400, 'nothing')


@case
def events_come_by_themselves(w):
    service = tracked_service(w)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    connection = server.connection(timeout=60)
    connection.request('GET', '/api/v1/events?process=%d' % process)
    answer = connection.getresponse()
    check_equal(answer.headers['Content-Type'], 'text/event-stream', 'type')
    wanted, seen = {'hello', 'point', 'job', 'snapshot'}, {}
    asked = False
    while wanted - set(seen):
        line = answer.readline().decode().rstrip()
        if line.startswith('event: '):
            seen[line[7:]] = json.loads(answer.readline().decode()[6:])
            if not asked:
                asked = True
                server.ask('/api/v1/jobs', 'POST', {'kind': 'snapshot', 'process': str(process)})
    check_equal(seen['point']['process'], process, 'point')
    check_equal(seen['snapshot']['process'], process, 'snapshot')
    connection.close()


@case
def the_same_question_is_answered_once(w):
    service = tracked_service(w)
    server = Server(w)
    process = server.find(service.pid, tracked=True)['id']
    answers = []

    def ask():
        answers.append(server.ask('/api/v1/view/flame?view=now:%d' % process).body)
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    moments = {json.loads(a)['about']['view']['time_ms'] for a in answers}
    check_equal(len(answers), 16, 'answers')
    check(len(moments) <= 4, 'snapshots taken for 16 at once:', len(moments))
    first = server.snapshot(process)
    tag = server.ask('/api/v1/view/top?view=%d' % first).headers['ETag']
    check_equal(server.ask('/api/v1/view/top?view=%d' % first, headers={'If-None-Match': tag}).status, 304, 'ETag')


@case
def killed_in_the_middle(w):
    """kill -9 of the server while it records: everything it had acknowledged is there."""
    service = tracked_service(w)
    acknowledged = 0
    for _ in range(3):
        server = Server(w, '--interval', '100ms')
        row = server.find(service.pid, tracked=True)
        acknowledged = max(acknowledged, server.snapshot(row['id']))
        service.ask('/leak')
        server.process.kill()
        w.finish(server.process)
    server = Server(w)
    snapshots = [s['id'] for s in server.get('/api/v1/processes/%d/snapshots' % row['id'])['snapshots']]
    check(acknowledged in snapshots, acknowledged, snapshots)
    check(len(snapshots) >= 3, snapshots)


@case
def what_cannot_be_is_said(w):
    first = Server(w)
    again = w.seep('serve', '--port', str(first.port), '--data', w.file('other'))
    check_equal(again.status, 2, 'status')
    check('cannot listen on 127.0.0.1 port %d' % first.port in again.stderr and '--port=0' in again.stderr, again.stderr)
    taken = w.seep('serve', '--port', '0', '--data', first.data)
    check_equal(taken.status, 2, 'status')
    check('in use by another seep, process %d' % first.process.pid in taken.stderr, taken.stderr)
    first.stop()
    subprocess.run([need_program('sqlite3'), w.file('data/seep.db'), 'PRAGMA user_version=99'], check=True)
    newer = w.seep('serve', '--port', '0', '--data', first.data)
    check_equal(newer.status, 2, 'status')
    check('newer seep: it has version 99' in newer.stderr, newer.stderr)
    remote = w.seep('serve', '--listen', '0.0.0.0', '--port', '0', '--data', w.file('x'))
    check_equal(remote.status, 2, 'status')
    check('--remote' in remote.stderr, remote.stderr)


@case
def a_full_disk(w):
    need_root()
    mount = w.file('small')
    os.mkdir(mount)
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'none', mount], capture_output=True)
    if done.returncode:
        raise Skip('no tmpfs here: %r' % done.stderr)
    w.undo.append(lambda: subprocess.run(['umount', '-l', mount]))
    service = tracked_service(w)
    server = Server(w, data='small/data')
    row = server.find(service.pid, tracked=True)
    kept = server.snapshot(row['id'])
    with open(mount + '/filler', 'wb', buffering=0) as f:
        try:
            while True:
                f.write(b'x' * 4096)
        except OSError:
            pass
    def full():
        server.ask('/api/v1/jobs', 'POST', {'kind': 'snapshot', 'process': str(row['id'])})
        return server.get('/api/v1/server')['store']['error']
    wait_for(full, 'the server to say that the disk is full')
    check_equal(server.get('/api/v1/snapshots/%d' % kept)['id'], kept, 'what was there is there')
    before = server.get('/api/v1/processes/%d/timeline' % row['id'])['measured']
    os.unlink(mount + '/filler')
    wait_for(lambda: not server.get('/api/v1/server')['store']['error'], 'it to go on')
    wait_for(lambda: server.get('/api/v1/processes/%d/timeline' % row['id'])['measured'] > before, 'points')


@case
def other_users_processes_stay_unseen(w):
    need_root()
    mine = w.start([SERVICE, '--port', '0'])
    check(mine.stdout.readline().startswith('listening'), 'the service')
    os.chmod(w.path, 0o777)
    home = w.file('home')
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    process = w.start([SEEP, 'serve', '--json', '--port', '0', '--data', home + '/data'], user=65534, group=65534,
                      extra_groups=[])
    line = process.stdout.readline()
    check(line, 'the server did not start', process.poll())
    server = Server.__new__(Server)
    server.w, server.process, server.port = w, process, json.loads(line)['port']
    check_equal([p for p in server.processes(q=str(mine.pid)) if p['pid'] == mine.pid], [], 'root\'s process')
    answer = server.ask('/api/v1/processes/pid:%d' % mine.pid)
    check_equal((answer.status, answer.code), (403, 'no_permission'), 'asked for by pid')


main()
