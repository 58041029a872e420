# SPDX-License-Identifier: Apache-2.0
"""Real programs and the work they are given while a test looks at them."""
import http.client
import os
import threading

from harness import check_equal, need_program, wait_for

PYTHON = '/usr/bin/python3'


def children_of(pid):
    with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


class Load:
    """Runs work() in threads until it is closed; what goes wrong there fails the case."""

    def __init__(self, work, threads=3):
        self.stop, self.failed, self.done = False, [], 0
        self.threads = [threading.Thread(target=self.run, args=(work,)) for _ in range(threads)]

    def run(self, work):
        try:
            while not self.stop:
                work()
                self.done += 1
        except Exception as e:  # shown by the case
            self.failed.append(repr(e))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for(lambda: self.done or self.failed, 'the first answer')
        return self

    def __exit__(self, *args):
        self.stop = True
        for thread in self.threads:
            thread.join(60)

    def went_on(self):
        before = self.done
        wait_for(lambda: self.done > before or self.failed, 'work to go on')
        check_equal(self.failed, [], 'the load')


def http_get(port, path='/'):
    def get():
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        connection.request('GET', path)
        answer = connection.getresponse()
        check_equal((answer.status, bool(answer.read())), (200, True), path)
        connection.close()
    return get


def redis_load(w, port):
    bench = need_program('redis-benchmark')

    def work():
        run = w.bare([bench, '-h', '127.0.0.1', '-p', str(port), '-n', '4000', '-c', '10', '-q', '-r', '3000', '-t',
                      'set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100'], deadline=180)
        check_equal(run.status, 0, run.describe())
    return work


def redis_command(port, w):
    return [need_program('redis-server'), '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no',
            '--dir', w.path]


def nginx_command(w, port):
    os.chmod(w.path, 0o755)
    os.mkdir(w.file('root'))
    with open(w.file('root/index.html'), 'w') as f:
        f.write('hello from nginx\n' * 100)
    with open(w.file('nginx.conf'), 'w') as f:
        f.write('''daemon off; user root; worker_processes 2; pid %(dir)s/nginx.pid; error_log %(dir)s/error.log;
events { worker_connections 64; }
http { access_log off; gzip on; gzip_min_length 1; gzip_types *; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p;
fastcgi_temp_path %(dir)s/f; uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
server { listen 127.0.0.1:%(port)d; root %(dir)s/root; } }
''' % {'dir': w.path, 'port': port})
    return [need_program('nginx'), '-p', w.path, '-c', w.file('nginx.conf'), '-e', w.file('error.log')]


SERVER = '''
import http.server, json, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, "data": [{"n": i, "s": "x" * i} for i in range(200)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
with http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
'''
