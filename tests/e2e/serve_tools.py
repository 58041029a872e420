# SPDX-License-Identifier: Apache-2.0
"""The pprof endpoints and /metrics with the real clients: they print what `seep report` prints."""
import http.client
import json
import os
import re
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import case, check, check_between, check_equal, main, need_program, wait_for
from serve_client import Server, tracked_service, view

MIB = 1 << 20
LEAKS = 12


def setting(w):
    """A service that has leaked and stands still, the server, and what seep report says of it."""
    service = tracked_service(w)
    server = Server(w)
    service.ask('/leak', LEAKS)
    server.find(service.pid, tracked=True)
    report = w.report_json(w.ledger(service.pid))
    return service, server, report


def run(w, *command, env=None):
    done = w.bare(list(command), env=dict(os.environ, HOME=w.path, PPROF_TMPDIR=w.path, **(env or {})), deadline=120)
    check_equal(done.status, 0, ' '.join(command) + ' ' + done.describe())
    return done.stdout


def mib(text):
    number, unit = re.match(r'([0-9.]+)\s*(MB|kB|B)?', text).groups()
    return float(number) * {'MB': MIB, 'kB': 1024, 'B': 1, None: MIB}[unit]


@case
def go_tool_pprof(w):
    go = need_program('go')
    service, server, report = setting(w)
    for page in ('debug/pprof/heap', 'debug/pprof/allocs'):
        text = run(w, go, 'tool', 'pprof', '-top', '-inuse_space', 'http://127.0.0.1:%d/p/service/%s' % (server.port, page))
        total = re.search(r'of ([0-9.]+MB) total', text)
        check_between(mib(total.group(1)), report['totals']['in_use']['bytes'] - 6000, report['totals']['in_use']['bytes'] + 6000, 'total')
        row = re.search(r'([0-9.]+MB)\s+\S+%\s+\S+%\s+\S+\s+\S+%\s+session_buffer_new', text)
        check(row, text)
        check_equal(mib(row.group(1)), LEAKS * MIB, page)
    count = run(w, go, 'tool', 'pprof', '-top', '-inuse_objects', 'http://127.0.0.1:%d/p/%d/debug/pprof/heap' % (server.port, service.pid))
    check(re.search(r'^\s*%d\s.*session_buffer_new' % LEAKS, count, re.M), count)


@case
def google_pprof_fetches_text_and_symbols(w):
    pprof = need_program('google-pprof')
    service, server, report = setting(w)
    url = '127.0.0.1:%d/p/service/pprof/heap' % server.port
    text = run(w, pprof, '--text', url)
    check_between(mib(re.search(r'Total: ([0-9.]+) MB', text).group(1)), report['totals']['in_use']['bytes'] - 60000,
                  report['totals']['in_use']['bytes'] + 60000, text)
    check(re.search(r'^\s*%d\.0\s+\S+%%\s+\S+%%\s+%d\.0\s+\S+%%\s+session_buffer_new' % (LEAKS, LEAKS), text, re.M), text)
    check('handle_leak' in text, text)
    growth = server.ask('/p/%d/pprof/growth' % service.pid).body
    check(growth.startswith(b'heap profile:') and b'@ growthz' in growth.split(b'\n')[0], growth[:200])


@case
def jeprof_fetches(w):
    jeprof = need_program('jeprof')
    _, server, _ = setting(w)
    for page in ('pprof/heap', 'jemalloc/pprof/heap'):
        text = run(w, jeprof, '--text', '127.0.0.1:%d/p/service/%s' % (server.port, page))
        check(re.search(r'^\s*%d\.0\s+\S+%%\s+\S+%%\s+%d\.0\s+\S+%%\s+session_buffer_new' % (LEAKS, LEAKS), text, re.M), page, text)


@case
def plain_text_for_curl(w):
    service, server, _ = setting(w)
    curl = need_program('curl')
    listed = run(w, curl, '-sS', 'http://127.0.0.1:%d/p' % server.port)
    check(re.search(r'^\s*%d  service ' % service.pid, listed, re.M), listed)
    text = run(w, curl, '-sS', 'http://127.0.0.1:%d/p/service' % server.port)
    said = w.seep('report', '--top', '20', w.ledger(service.pid)).stdout
    for line in ('12.0 MiB', '12 blocks of 1.00 MiB', 'session_buffer_new', '12 allocated, 0 freed'):
        check(line in text and line in said, line, text)
    names = run(w, curl, '-sS', 'http://127.0.0.1:%d/p/service/pprof/cmdline' % server.port).split('\n')
    check(names[0].endswith('/service') and names[1:3] == ['--port', '0'], names)
    check_equal(run(w, curl, '-sS', 'http://127.0.0.1:%d/p/service/pprof/symbol' % server.port), 'num_symbols: 1\n', 'symbols')
    unknown = server.ask('/p/nosuch/pprof/heap')
    check_equal((unknown.status, b'/p lists them' in unknown.body), (404, True), 'unknown name')
    second = tracked_service(w)
    server.find(second.pid, tracked=True)
    check_equal(server.ask('/p/service/pprof/heap').status, 409, 'a name of two')
    with_token = Server(w, '--token', data='other')
    go = need_program('go')
    with_token.process.poll()
    url = 'http://seep:%s@127.0.0.1:%d/p/%d/debug/pprof/heap' % (with_token.token, with_token.port, service.pid)
    wait_for(lambda: with_token.ask('/p/%d' % service.pid, headers={'Authorization': 'Bearer ' + with_token.token}).status == 200,
             'the other server to see it')
    check('session_buffer_new' in run(w, go, 'tool', 'pprof', '-top', url), 'a token in a URL')


@case
def prometheus_scrapes(w):
    service, server, report = setting(w)
    process = server.find(service.pid, tracked=True)['id']
    server.job('check', process)
    # The figures are those of the last look at the process, which may be older than the leak.
    in_use = 'seep_inuse_bytes{group="service"} %d\n' % report['totals']['in_use']['bytes']

    def all_of_them():
        text = server.ask('/metrics').body.decode()
        return text if in_use in text and 'seep_unique_bytes{' in text else None
    text = wait_for(all_of_them, 'the metrics with ' + in_use)
    check('seep_leak_suspects{group="service"} 1\n' in text, text)
    check('pid=' not in text and str(service.pid) not in text, text)
    promtool = need_program('promtool')
    lint = subprocess.run([promtool, 'check', 'metrics'], input=text, capture_output=True, text=True)
    check_equal((lint.returncode, lint.stdout + lint.stderr), (0, ''), 'promtool')
    prometheus = need_program('prometheus')
    with open(w.file('p.yml'), 'w') as f:
        f.write('scrape_configs:\n- job_name: seep\n  scrape_interval: 1s\n  static_configs:\n  - targets: ["127.0.0.1:%d"]\n' % server.port)
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    w.start([prometheus, '--config.file=' + w.file('p.yml'), '--storage.tsdb.path=' + w.file('tsdb'),
             '--web.listen-address=127.0.0.1:%d' % port, '--log.level=error'])
    def query():
        try:
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
            connection.request('GET', '/api/v1/query?query=seep_inuse_bytes')
            result = json.loads(connection.getresponse().read())['data']['result']
            return result and result[0]
        except (OSError, ValueError):  # not yet
            return None
    found = wait_for(query, 'prometheus to have scraped', deadline=120)
    check_equal((found['metric']['group'], int(found['value'][1])), ('service', report['totals']['in_use']['bytes']), 'what it has')


class Restricted(BaseHTTPRequestHandler):
    """A service with pages of its own, as brpc has them."""
    protocol_version = 'HTTP/1.1'
    seen = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        Restricted.seen.append((self.path, dict(self.headers)))
        if self.path.startswith('/pprof/heap'):
            self.send_response(200)
            self.send_header('Content-Type', 'text/plain')
            self.send_header('Transfer-Encoding', 'chunked')
            self.send_header('Set-Cookie', 'a=b')
            self.end_headers()
            for part in (b'heap ', b'profile: 1: 2', b''):
                self.wfile.write(b'%x\r\n%s\r\n' % (len(part), part))
            return
        if self.path == '/hotspots':
            self.send_response(302)
            self.send_header('Location', 'http://127.0.0.1:%d/hotspots/heap' % self.server.server_address[1])
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        if self.path == '/hotspots/away':
            self.send_response(302)
            self.send_header('Location', 'http://elsewhere.example/')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        if self.path == '/hotspots/endless':
            self.wfile.write(b'HTTP/1.1 200 OK\r\nX: ' + b'a' * 100000)
            self.close_connection = True
            return
        if self.path == '/hotspots/garbage':
            self.wfile.write(b'SSH-2.0-whatever\r\n\r\n')
            self.close_connection = True
            return
        body = b'<html>secret</html>'
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@case
def view_of_a_service(w):
    service = ThreadingHTTPServer(('127.0.0.1', 0), Restricted)
    service.daemon_threads = True
    threading.Thread(target=service.serve_forever, daemon=True).start()
    w.undo.append(service.shutdown)
    proxy = view(w, '127.0.0.1:%d' % service.server_address[1])
    heap = proxy.ask('/pprof/heap?a=b%20c', headers={'Cookie': 'secret=1'})
    check_equal((heap.status, heap.body), (200, b'heap profile: 1: 2'), 'a page in chunks')
    check_equal(heap.headers['Set-Cookie'], None, 'cookies')
    path, headers = Restricted.seen[-1]
    check_equal((path, 'Cookie' in headers, headers['Host']), ('/pprof/heap?a=b%20c', False, '127.0.0.1:%d' % service.server_address[1]), 'asked')
    check_equal(proxy.ask('/hotspots').headers['Location'], '/hotspots/heap', 'a redirect to itself')
    check_equal(proxy.ask('/hotspots/away').headers['Location'], None, 'a redirect elsewhere')
    check_equal(proxy.ask('/hotspots/heap').status, 200, 'a page')
    before = len(Restricted.seen)
    for path in ('/flags', '/quit', '/pprof/../flags', '/pprofx', '/hotspots/..%2fflags', 'http://elsewhere.example/pprof/heap'):
        check(proxy.ask(path).status in (400, 403), path)
    check_equal(len(Restricted.seen), before, 'the service was not asked')
    check_equal(proxy.ask('/pprof/heap', headers={'Host': 'evil.example'}).status, 403, 'DNS rebinding')
    check_equal(proxy.ask('/pprof/heap', headers={'Sec-Fetch-Site': 'cross-site'}).status, 403, 'another origin')
    for path in ('/hotspots/endless', '/hotspots/garbage'):
        check_equal(proxy.ask(path).status, 502, path)
    everything = view(w, '--all', '127.0.0.1:%d' % service.server_address[1])
    check_equal(everything.ask('/flags').status, 200, '--all')
    nobody = w.seep('view', '127.0.0.1:1')
    check_equal(nobody.status, 2, 'nobody there')
    check('cannot reach 127.0.0.1 port 1' in nobody.stderr, nobody.stderr)


@case
def view_of_another_seep(w):
    service, server, _ = setting(w)
    far = Server(w, '--token', data='far')
    refused = w.seep('view', '127.0.0.1:%d' % far.port)
    check('--target-token' in refused.stderr, refused.stderr)
    proxy = view(w, '127.0.0.1:%d' % far.port, '--target-token', far.token)
    row = wait_for(lambda: next((p for p in proxy.processes(q=str(service.pid)) if p['tracked']), None), 'the process')
    top = proxy.get('/api/v1/view/top', view='now:%d' % row['id'], sort='self')
    check_equal(top['rows'][0]['self'], LEAKS * MIB, 'what the other one shows')
    check_equal(proxy.snapshot(row['id']) > 0, True, 'a job through it')
    check(b'<html' in proxy.ask('/', headers={'Accept-Encoding': 'identity'}).body or proxy.ask('/').headers['Content-Encoding'] == 'gzip', 'the page')
    connection = proxy.connection(timeout=30)
    connection.request('GET', '/api/v1/events')
    answer = connection.getresponse()
    check_equal(answer.readline().startswith(b'event: '), True, 'events pass as they come')
    connection.close()


main()
