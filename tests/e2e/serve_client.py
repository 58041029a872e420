# SPDX-License-Identifier: Apache-2.0
"""What the tests of `seep serve` share: a server in a workspace, asked over HTTP."""
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse

from harness import SEEP, SERVICE, Failure, Skip, check, check_equal, wait_for

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError as e:
            raise Failure('no JSON: %s in %r' % (e, self.body[:300])) from None

    @property
    def code(self):
        return self.json['error']['code']


class Server:
    """Of one workspace: it sees the ledgers there and keeps its record there."""

    def __init__(self, w, *options, data='data', ledgers=None, env=None):
        self.w, self.data = w, w.file(data)
        self.process = w.start([SEEP, 'serve', '--json', '--port', '0', '--data', self.data, '--interval', '100ms',
                                '--ledger-dir', ledgers or w.ledgers, *options], env=env)
        line = self.process.stdout.readline()
        check(line, 'the server did not start:', self.process.stderr.read() if not line else '')
        said = json.loads(line)
        self.port, self.token, self.url = said['port'], said['token'], said['url']

    host = '127.0.0.1'

    def connection(self, timeout=60):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, path, method='GET', body=None, headers=None, x_seep=True):
        headers = dict(headers or {})
        if method != 'GET' and x_seep:
            headers.setdefault('X-Seep', '1')
        if isinstance(body, dict):
            body = json.dumps(body)
        connection = self.connection()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        result = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return result

    def get(self, path, status=200, **parameters):
        if parameters:
            path += '?' + urllib.parse.urlencode(parameters, doseq=True)
        answer = self.ask(path)
        check_equal(answer.status, status, 'status of %s %r' % (path, answer.body[:500]))
        return answer.json

    def raw(self, data, shut=False):
        """What comes back for bytes as they are."""
        with socket.create_connection(('127.0.0.1', self.port), timeout=60) as s:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            found = b''
            while True:
                try:
                    chunk = s.recv(65536)
                except ConnectionResetError:
                    return found
                if not chunk:
                    return found
                found += chunk

    def processes(self, **parameters):
        return self.get('/api/v1/processes', **parameters)['processes']

    def find(self, pid, **wanted):
        """The row of a process, as soon as it is as it should be."""
        def look():
            for p in self.processes(q=str(pid)):
                if p['pid'] == pid and all(p[key] == value for key, value in wanted.items()):
                    return p
            return None
        return wait_for(look, 'process %d to be %r' % (pid, wanted))

    def job(self, kind, process, status=(200, 202), **options):
        """A job, when it has ended."""
        answer = self.ask('/api/v1/jobs', 'POST', {'kind': kind, 'process': str(process), 'options': options})
        check(answer.status in status, kind, answer.status, answer.body[:500])
        if answer.status >= 400:
            return answer.json
        return self.ended(answer.json['id'], kind)

    def ended(self, number, what='the job'):
        return wait_for(lambda: next((j for j in [self.get('/api/v1/jobs/%d' % number)]
                                      if j['state'] in ('done', 'failed', 'cancelled')), None), '%s to end' % what)

    def snapshot(self, process, **options):
        job = self.job('snapshot', process, **options)
        check_equal(job['state'], 'done', 'snapshot %r' % job)
        return job['result']['snapshot']

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        run = self.w.finish(self.process)
        check_equal(run.status, 0, 'status of the server %s' % run.describe())
        return run


def view(w, *arguments):
    """seep view, asked like a server."""
    process = w.start([SEEP, 'view', '--json', *arguments])
    line = process.stdout.readline()
    check(line, 'seep view did not start:', process.stderr.read() if not line else '')
    server = Server.__new__(Server)
    said = json.loads(line)
    server.w, server.process, server.port, server.token = w, process, said['port'], said['token']
    return server


def tracked_service(w, under_run=False):
    """The example service with a tracker in it, and how to ask it."""
    if under_run:
        command = [SEEP, 'run', '-o', w.file('end.seep'), '--ledger-dir', w.ledgers, '--', SERVICE, '--port', '0']
        process = w.start(command)
    else:
        process = w.start([SERVICE, '--port', '0'], env=w.tracked_environment())
    line = process.stdout.readline()
    check(line.startswith('listening on http://'), 'first line', repr(line))
    address = line.split('//')[1].strip()

    def ask(path, times=1):
        for _ in range(times):
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            check_equal(answer.status, 200, path)
            connection.close()
    process.ask = ask
    return process


def tracked_target(w, *command):
    """A target that says "ready" and goes on until its input ends, with a tracker in it."""
    process = w.start(list(command), env=w.tracked_environment(), stdin=subprocess.PIPE)
    line = process.stdout.readline()
    check_equal(line, 'ready\n', 'what %s says first' % command[0])
    return process


def nodes(tree, view):
    """Rows of a tree in columns: (depth, function, value, base)."""
    depth, found = [], []
    for i, parent in enumerate(tree['parent']):
        depth.append(depth[parent] + 1 if i else 0)
        frame = tree['frame'][i]
        found.append((depth[i], view['strings'][view['frames']['function'][frame]], tree['value'][i],
                      tree['base'][i] if tree['base'] else None))
    return found


def packages():
    """The folder with the page's packages, the browser's driver among them."""
    folder = os.environ.get('SEEP_WEB')
    if not folder:
        raise Skip('SEEP_WEB, the folder to build the page in, is not set')
    made = subprocess.run([sys.executable, os.path.join(ROOT, 'scripts', 'web'), folder, 'build'], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if made.returncode == 77:
        raise Skip(made.stderr.strip())
    check(made.returncode == 0, 'the page does not build', made.stderr[-2000:])
    return folder


def embedded(server):
    answer = server.ask('/')
    check(answer.status == 200, 'status of the page', answer.status)
    body = gzip.decompress(answer.body) if answer.headers['Content-Encoding'] == 'gzip' else answer.body
    if b'/assets/' not in body:
        raise Skip('this seep was built without the page')
