# SPDX-License-Identifier: Apache-2.0
"""Programs that are attached to while they work: servers under load, and what they must not feel of it.

A victim is started with start(), answers alive() with what is wrong with it, or None, and works under
a load that runs until stop(): `requests` done so far, `failed` of them.  measure() works for a while and says
what a request cost, in the victim's own CPU time, which other people's load disturbs less than wall time; and
compare() sets that beside a second one that nobody touches.
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import (Failure, Skip, answers, check, check_equal, free_port, need_program, need_target,
                     process_state, wait_for)

TICK = os.sysconf('SC_CLK_TCK')


def cpu_seconds(pid):
    with open('/proc/%d/stat' % pid) as f:
        words = f.read().rsplit(')', 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


class Victim:
    name = ''

    def __init__(self, w):
        self.w, self.requests, self.failed, self.said = w, 0, 0, ''
        self.loading = None
        os.chmod(w.path, 0o755)
        self.place = tempfile.mkdtemp(dir=w.path)
        os.chmod(self.place, 0o755)
        self.start()

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        state = process_state(self.pid)
        if state in (None, 'Z', 'X'):
            return 'it has ended'
        if state in ('T', 't'):
            return 'it is stopped (%s)' % state
        return None

    def served(self):
        """A single request gets its answer."""
        raise NotImplementedError

    def some_load(self, stop):
        """A piece of load of about a second: (requests, failed, what was said)."""
        raise NotImplementedError

    def begin_load(self):
        self.stopping = threading.Event()

        def work():
            while not self.stopping.is_set():
                try:
                    done, failed, said = self.some_load()
                except Exception as e:  # it is the victim's fault until shown otherwise
                    done, failed, said = 0, 1, repr(e)
                self.requests += done
                self.failed += failed
                if failed and not self.said:
                    self.said = said
        self.loading = threading.Thread(target=work, daemon=True)
        self.loading.start()

    def end_load(self):
        self.stopping.set()
        self.loading.join(180)
        check(not self.loading.is_alive(), self.name, 'does not answer any more')
        self.loading = None

    def measure(self):
        """A piece of load: (CPU seconds of the victim for a request, requests in a second)."""
        cpu, wall = cpu_seconds(self.pid), time.monotonic()
        done, failed, said = self.some_load()
        cpu, wall = cpu_seconds(self.pid) - cpu, time.monotonic() - wall
        check_equal(failed, 0, 'failed requests of %s, %s' % (self.name, said))
        check(done > 0, self.name, 'did nothing', said)
        return max(cpu, 1 / TICK) / done, done / wall

    def leftovers(self):
        """What grows when something is left behind: files, threads, mappings."""
        with open('/proc/%d/maps' % self.pid) as f:
            maps = f.read().splitlines()
        return {'files': len(os.listdir('/proc/%d/fd' % self.pid)),
                'threads': len(os.listdir('/proc/%d/task' % self.pid)),
                'mappings': len(maps), 'ours': sum('.ledger' in m for m in maps)}


def wrk(port, seconds=1, threads=1, connections=4):
    tool = need_program('wrk')
    run = subprocess.run([tool, '-d', str(seconds), '-t', str(threads), '-c', str(connections), '--timeout', '20',
                          'http://127.0.0.1:%d/' % port], capture_output=True, text=True)
    found = re.search(r'(\d+) requests in', run.stdout)
    failed = 0 if found and not run.returncode else 1
    for kind in re.findall(r'(?:connect|read|write|timeout) (\d+)|Non-2xx or 3xx responses: (\d+)', run.stdout):
        failed += int(kind[0] or kind[1])
    return int(found.group(1)) if found else 0, failed, run.stdout + run.stderr


class Http(Victim):
    connections = 4

    def served(self):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        connection.request('GET', '/')
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status == 200 and b'hello' in body

    def some_load(self):
        return wrk(self.port, connections=self.connections)


class Redis(Victim):
    name = 'redis-server'

    def start(self):
        server = need_program('redis-server')
        self.bench, self.port = need_program('redis-benchmark'), free_port()
        self.process = self.w.start([server, '--port', str(self.port), '--bind', '127.0.0.1', '--save', '',
                                     '--appendonly', 'no', '--dir', self.place])
        wait_for(answers(self.port), 'redis to answer')

    def served(self):
        with socket.create_connection(('127.0.0.1', self.port), timeout=30) as s:
            s.sendall(b'PING\r\n')
            return s.recv(100) == b'+PONG\r\n'

    def some_load(self):
        requests = 10000
        run = subprocess.run([self.bench, '-h', '127.0.0.1', '-p', str(self.port), '-n', str(requests), '-c', '20',
                              '-q', '-t', 'set,get,hset,spop', '-r', '1000', '-d', '200'],
                             capture_output=True, text=True)
        lines = [l for l in re.split(r'[\r\n]+', run.stdout) if 'requests per second' in l]
        failed = 0 if run.returncode == 0 and len(lines) == 4 and 'rror' not in run.stdout + run.stderr else 1
        return len(lines) * requests, failed, run.stdout + run.stderr


class Nginx(Http):
    name = 'nginx'

    def start(self):
        server = need_program('nginx')
        need_program('wrk')
        self.port, place = free_port(), self.place
        os.mkdir(place + '/root')
        with open(place + '/root/index.html', 'w') as f:
            f.write('hello from nginx\n')
        with open(place + '/nginx.conf', 'w') as f:
            f.write('''daemon off; worker_processes 1; pid %(dir)s/nginx.pid; error_log %(dir)s/error.log;
events { worker_connections 64; }
http { access_log off; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s; gzip on; gzip_min_length 1; gzip_types text/html;
server { listen 127.0.0.1:%(port)d; root %(dir)s/root; } }
''' % {'dir': place, 'port': self.port})
        self.process = self.w.start([server, '-p', place, '-c', place + '/nginx.conf', '-e', place + '/error.log'])
        wait_for(answers(self.port), 'nginx to answer')
        self.worker = wait_for(lambda: family(self.process.pid)[1:], 'nginx to have a worker')[0]
        self.w.undo.append(self.end_worker)  # it outlives a master that is killed

    def end_worker(self):
        try:
            with open('/proc/%d/cmdline' % self.worker, 'rb') as f:
                if b'nginx: worker' in f.read():
                    os.kill(self.worker, signal.SIGKILL)
        except OSError:
            pass

    @property
    def pid(self):
        return self.worker


PYTHON_SERVER = '''
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    def do_GET(self):
        body = json.dumps({'hello': [{str(i): i * 1.5} for i in range(30)]}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *args):
        pass  # wrk ends in the middle of an answer; nobody reads what would be written about that, and the pipe gets full
server = Server(('127.0.0.1', int(sys.argv[1])), Handler)
server.serve_forever()
'''


class Python(Http):
    name = 'CPython HTTP server'
    connections = 1  # two threads that want the interpreter's lock take turns as it comes

    def start(self):
        need_program('wrk')
        self.port = free_port()
        self.process = self.w.start([need_program('/usr/bin/python3', 'python3'), '-c', PYTHON_SERVER, str(self.port)],
                                    env=dict(os.environ, PYTHONMALLOC='malloc'))
        wait_for(answers(self.port), 'the Python server to answer')


JAVA_SERVER = '''
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
public class Server {
    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(
            new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 16);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            StringBuilder text = new StringBuilder("hello");
            for (int i = 0; i < 200; i++)
                text.append(' ').append(i);
            java.nio.ByteBuffer direct = java.nio.ByteBuffer.allocateDirect(4096);
            direct.put(text.toString().getBytes());
            byte[] body = new byte[direct.position()];
            direct.flip();
            direct.get(body);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
'''


class Java(Http):
    name = 'JVM'

    def start(self):
        java = need_program('java')
        need_program('wrk')
        if subprocess.run([java, '--list-modules'], capture_output=True, text=True).stdout.find('jdk.compiler') < 0:
            raise Skip('this Java has no compiler to make a server with')
        self.port, source = free_port(), os.path.join(self.place, 'Server.java')
        with open(source, 'w') as f:
            f.write(JAVA_SERVER)
        self.process = self.w.start([java, '-Xmx64m', '-Dsun.net.httpserver.nodelay=true', source, str(self.port)])
        wait_for(lambda: self.process.poll() is not None or answers(self.port)(), 'the Java server to answer', 120)
        check(self.process.poll() is None, 'the Java server ended', self.process.poll())
        for _ in range(5):  # what runs hot is compiled first, or every later round would be faster
            self.some_load()


class Storm(Victim):
    name = 'C++ with exceptions and dlopen'

    def start(self):
        self.process = self.w.start([need_target('attach_storm')], stdin=subprocess.PIPE)
        check_equal(self.process.stdout.readline(), 'ready\n', 'first line of the target')
        self.lock = threading.Lock()

    def ask(self):
        with self.lock:
            self.process.stdin.write('r\n')
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise Failure('the target ended: status %r' % self.process.wait())
        return json.loads(line)

    def served(self):
        before = self.ask()['done']
        wait_for(lambda: all(b > a for a, b in zip(before, self.ask()['done'])), 'each thread to do something')
        return self.ask()['wrong'] == 0

    def some_load(self):
        before = self.ask()
        end = time.monotonic() + 1
        while time.monotonic() < end and not process_state(self.pid) in (None, 'Z'):
            time.sleep(0.05)
        after = self.ask()
        return sum(after['done']) - sum(before['done']), after['wrong'] - before['wrong'], 'wrong results'


VICTIMS = (Redis, Nginx, Python, Storm, Java)


def family(pid):
    """A process and all below it, those that were started last at the end."""
    found = [pid]
    for parent in found:
        try:
            with open('/proc/%d/task/%d/children' % (parent, parent)) as f:
                found += [int(n) for n in f.read().split()]
        except OSError:
            pass  # it has ended
    return found


def kill_family(pid):
    """kill -9 of a process and all below it, stopped first so that none sees another's end."""
    found = family(pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for one in found:
            try:
                os.kill(one, number)
            except ProcessLookupError:
                pass
        found = family(pid)
