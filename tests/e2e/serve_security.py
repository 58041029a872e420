# SPDX-License-Identifier: Apache-2.0
"""seep serve and who should not get anything out of it: other origins, other names, hostile requests and hostile processes."""
import os
import shutil
import socket
import time

from harness import SERVICE, case, check, check_equal, main, wait_for
from serve_client import Server, tracked_service


@case
def other_origins_and_names(w):
    server = Server(w)
    good = {'Host': '127.0.0.1:%d' % server.port}
    for headers in ({'Host': 'evil.example'}, {'Host': 'evil.example:%d' % server.port}, {'Host': '127.0.0.1.evil.example'},
                    {'Host': ''}):
        for path in ('/', '/api/v1/processes', '/metrics', '/p', '/api/v1/events'):
            answer = server.ask(path, headers=headers)
            check_equal(answer.status, 403, '%s %r' % (path, headers))
    for headers in ({'Origin': 'http://evil.example'}, {'Origin': 'null'}, {'Origin': 'http://127.0.0.1:1'},
                    {'Sec-Fetch-Site': 'cross-site'}, {'Sec-Fetch-Site': 'same-site'}):
        for path in ('/api/v1/processes', '/metrics', '/p', '/api/v1/events', '/api/v1/view/html?view=1'):
            answer = server.ask(path, headers={**good, **headers})
            check_equal((answer.status, answer.code), (403, 'forbidden_origin'), '%s %r' % (path, headers))
    own = server.ask('/api/v1/processes', headers={**good, 'Origin': 'http://127.0.0.1:%d' % server.port,
                                                   'Sec-Fetch-Site': 'same-origin'})
    check_equal(own.status, 200, 'the page itself')
    check('Access-Control-Allow-Origin' not in own.headers, 'CORS')
    link = server.ask('/', headers={**good, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate'})
    check_equal(link.status, 200, 'a link to the page')
    for method, path in (('POST', '/api/v1/jobs'), ('DELETE', '/api/v1/snapshots/1'), ('POST', '/api/v1/upload')):
        check_equal(server.ask(path, method, '{}', x_seep=False).status, 403, 'a change without X-Seep: ' + path)
    # An HTML form can send this much.
    form = server.ask('/api/v1/jobs', 'POST', '{"kind":"check","process":"1"}', {'Content-Type': 'text/plain'}, x_seep=False)
    check_equal(form.status, 403, 'a form')


@case
def headers_of_every_answer(w):
    server = Server(w)
    for path in ('/', '/api/v1/processes', '/api/v1/nothing', '/metrics', '/nothing.js'):
        headers = server.ask(path).headers
        check_equal(headers['X-Content-Type-Options'], 'nosniff', path)
        policy = headers['Content-Security-Policy']
        check("default-src 'none'" in policy and "'unsafe" not in policy and "frame-ancestors 'none'" in policy, path, policy)


@case
def tokens(w):
    server = Server(w, '--token')
    check_equal(len(server.token), 32, 'token')
    for path in ('/api/v1/processes', '/metrics', '/p', '/p/1/pprof/heap', '/api/v1/events', '/api/v1/view/top?view=1'):
        check_equal(server.ask(path).status, 401, path)
        for bad in ('Bearer', 'Bearer ', 'Bearer ' + server.token[:-1], 'Bearer ' + server.token + '0', 'Bearer ' + 'f' * 32,
                    'Basic ' + server.token, 'Digest ' + server.token):
            check_equal(server.ask(path, headers={'Authorization': bad}).status, 401, '%s %s' % (path, bad))
    bearer = {'Authorization': 'Bearer ' + server.token}
    check_equal(server.ask('/api/v1/processes', headers=bearer).status, 200, 'bearer')
    check_equal(server.ask('/').status, 200, 'the page, which has nothing in it')
    check_equal(server.ask('/api/v1/login', 'POST', {'token': 'x'}).status, 401, 'login')
    login = server.ask('/api/v1/login', 'POST', {'token': server.token})
    check_equal(login.status, 204, 'login')
    cookie = login.headers['Set-Cookie']
    check('HttpOnly' in cookie and 'SameSite=Strict' in cookie, cookie)
    check_equal(server.ask('/api/v1/processes', headers={'Cookie': cookie.split(';')[0]}).status, 200, 'cookie')
    link = server.ask('/process/1?a=b%20c&token=' + server.token)
    check_equal((link.status, link.headers['Location']), (303, '/process/1?a=b%20c'), 'the URL that is printed')
    check('seep_token=' in link.headers['Set-Cookie'], 'cookie')
    wrong = server.ask('//evil.example/?token=x')
    check_equal(wrong.headers['Location'], '/evil.example/', 'a redirect stays here')
    check(wrong.headers['Set-Cookie'] is None, 'no cookie for a wrong token')
    run = server.stop()
    check(server.token not in run.stderr, 'the token is not in what is logged')


@case
def paths_lead_nowhere(w):
    service = tracked_service(w)
    server = Server(w)
    server.find(service.pid, tracked=True)
    for path in ('/../../../../etc/passwd', '/assets/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2fetc%2fpasswd',
                 '/assets/..%5c..%5cetc%5cpasswd', '//etc/passwd', '/etc/passwd.txt', '/p/../../etc/passwd',
                 '/p/..%2f..%2fetc/pprof/heap', '/api/v1/snapshots/..%2f..%2f1', '/api/v1/view/..%2fdot?view=1',
                 '/index.html%00.png', '/%00'):
        answer = server.ask(path)
        check(b'root:' not in answer.body, path)
        check(answer.status in (400, 404) or b'<html' in answer.body.lower() or answer.headers['Content-Encoding'] == 'gzip',
              path, answer.status)
    process = server.find(service.pid)['id']
    for file in ('/etc/passwd', '../../etc/passwd', '/proc/self/environ', '/dev/zero'):
        answer = server.ask('/api/v1/view/source?view=now:%d&file=%s' % (process, file))
        check_equal((answer.status, answer.code), (404, 'no_source'), file)


@case
def requests_that_are_too_much(w):
    server = Server(w)
    host = b'Host: 127.0.0.1\r\n'
    for data, what in ((b'GET /' + b'a' * 100000 + b' HTTP/1.1\r\n' + host + b'\r\n', 'a long path'),
                       (b'GET / HTTP/1.1\r\n' + host + b'X: ' + b'a' * 100000 + b'\r\n\r\n', 'a long header'),
                       (b'GET / HTTP/1.1\r\n' + host + b''.join(b'X%d: y\r\n' % i for i in range(20000)) + b'\r\n', 'many headers')):
        answer = server.raw(data)
        check(answer == b'' or answer.split(b' ')[1] in (b'414', b'431', b'400', b'413'), what, answer[:100])
    check_equal(server.ask('/api/v1/processes?' + '&'.join('a=%d' % i for i in range(200))).status, 400, 'many parameters')
    big = server.ask('/api/v1/jobs', 'POST', b'{' + b' ' * 100000 + b'}')
    check_equal((big.status, big.code), (413, 'too_large'), 'a large body')
    huge = server.raw(b'POST /api/v1/upload?name=x HTTP/1.1\r\n' + host + b'X-Seep: 1\r\nContent-Length: 99999999999\r\n\r\n')
    check(b' 413 ' in huge.split(b'\r\n')[0], huge[:200])
    for body in (b'', b'[]', b'{', b'nul', b'{"kind":' + b'[' * 1000, b'{"kind":1,"process":2}', b'{"kind":"check"}', b'\xff\xfe',
                 b'{"kind":"check","process":"1","options":[]}'):
        answer = server.ask('/api/v1/jobs', 'POST', body)
        check(answer.status in (400, 404), body[:30], answer.status)
        check(answer.json['error']['message'], body[:30])
    for path in ('/api/v1/view/flame?view=99999999999999999999', '/api/v1/view/flame?view=now:-1', '/api/v1/view/top?view=now:pid:0',
                 '/api/v1/processes/99999999/timeline', '/api/v1/processes/1/timeline?points=999999999', '/api/v1/sites/zzz',
                 '/api/v1/view/nothing?view=1', '/api/v1/jobs/x', '/api/v1/checks/1', '/api/v1/nothings/1',
                 '/api/v1/view/flame?view=1&focus=' + '(' * 100):
        answer = server.ask(path)
        check(400 <= answer.status < 500, path, answer.status)
        check(answer.json['error']['code'], path)
    check_equal(server.ask('/api/v1/processes', 'PUT', '{}').status, 405, 'method')
    for data in (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', b'GET\r\n\r\n', b'\r\n' * 100, b'GET / HTTP/9.9\r\n\r\n', b'\x00' * 100):
        server.raw(data, shut=True)
    check_equal(server.ask('/api/v1/server').status, 200, 'afterwards')


@case
def slow_requests_are_cut_off(w):
    """A byte now and then keeps no connection for ever, and others are served meanwhile."""
    server = Server(w)
    slow = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(40)]
    for s in slow:
        s.sendall(b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-')
    begin = time.monotonic()
    closed = set()

    def drip():
        for s in slow:
            if s in closed:
                continue
            try:
                s.setblocking(False)
                s.send(b'a')
                if s.recv(100) == b'':
                    closed.add(s)
            except BlockingIOError:
                pass
            except OSError:
                closed.add(s)
        check_equal(server.ask('/api/v1/server').status, 200, 'somebody else meanwhile')
        return len(closed) == len(slow)
    wait_for(drip, 'slow requests to be cut off', deadline=60)
    check(time.monotonic() - begin < 55, 'it took', time.monotonic() - begin)
    for s in slow:
        s.close()


@case
def more_connections_than_there_may_be(w):
    server = Server(w)
    open_ones = []
    try:
        for _ in range(400):
            s = socket.create_connection(('127.0.0.1', server.port), timeout=10)
            open_ones.append(s)
    except OSError:
        pass
    for s in open_ones:
        s.close()
    wait_for(lambda: server.ask('/api/v1/server').status == 200, 'the server to serve again')
    listeners = []
    refused = 0
    for _ in range(80):
        connection = server.connection()
        connection.request('GET', '/api/v1/events')
        answer = connection.getresponse()
        refused += answer.status == 429
        listeners.append(connection)
    check(refused >= 16, 'listeners refused:', refused)
    for connection in listeners:
        connection.close()


NAMES = ['<img src=x onerror=alert(1)>', "'\"><script>alert(1)</script>", '\x1b[31mred\x1b[0m\x1b]0;title\x07', 'two\nlines', '${x}{{y}}',
         'a\\b', 'Ünïcödé ☠', '%s%n%d', '../../etc']


@case
def names_of_hostile_processes(w):
    """A program's name, arguments and thread names may be anything: they come out as data everywhere."""
    server = Server(w, '--watch', 'nothing')
    for name in NAMES:
        path = w.file(name.replace('/', '_'))
        shutil.copy(SERVICE, path)
        process = w.start([path, '--port', '0'], env=w.tracked_environment())
        check(process.stdout.readline().startswith('listening'), repr(name))
        row = server.find(process.pid, tracked=True)
        check_equal(row['name'] in (os.path.basename(path), os.path.basename(path)[:63]), True, 'name %r' % row['name'])
        answer = server.ask('/api/v1/view/html?view=now:%d' % row['id'])
        check_equal(answer.status, 200, 'html')
        check(b'<img src=x' not in answer.body and b'"><script>alert' not in answer.body, 'markup in a page', name)
        check('sandbox' in answer.headers['Content-Security-Policy'], 'a report has no origin')
        for kind in ('svg', 'dot', 'text', 'report'):
            body = server.ask('/api/v1/view/%s?view=now:%d' % (kind, row['id'])).body
            check(kind != 'svg' or b'<img src=x' not in body, kind, name)
            check(b'\x1b' not in body, kind, 'has an escape')
        download = server.ask('/api/v1/view/pprof?view=now:%d&download=1' % row['id'])
        check('\n' not in download.headers['Content-Disposition'] and '<' not in download.headers['Content-Disposition'],
              download.headers['Content-Disposition'])
        for body in (server.ask('/metrics').body, server.ask('/p').body, server.ask('/p/%d' % process.pid).body):
            check(b'\x1b' not in body, 'an escape in text')
        metrics = server.ask('/metrics').body.decode()
        check(all(line.startswith(('#', 'seep_')) for line in metrics.splitlines()), metrics)
        process.kill()
    server.processes()


@case
def hostile_ledgers(w):
    """Files that only look like ledgers, and ledgers that lie: the server lists what is sound."""
    service = tracked_service(w)
    server = Server(w)
    row = server.find(service.pid, tracked=True)
    with open(w.ledger(service.pid), 'rb') as f:
        sound = f.read(1 << 20)
    for i, data in enumerate((b'', b'x' * 100, sound[:4000], sound[:100] + b'\xff' * 8000 + sound[8100:], os.urandom(20000))):
        with open(os.path.join(w.ledgers, '%d.0.ledger' % (900000 + i)), 'wb') as f:
            f.write(data)
    os.symlink('/etc/passwd', os.path.join(w.ledgers, '900010.0.ledger'))
    os.mkfifo(os.path.join(w.ledgers, '900011.0.ledger'))
    service.ask('/leak', 2)
    wait_for(lambda: server.find(service.pid)['inuse_bytes'] >= 2 << 20, 'the server to go on')
    check_equal(server.get('/api/v1/view/top', view='now:%d' % row['id'], sort='self')['rows'][0]['name'], 'session_buffer_new', 'top')


main()
