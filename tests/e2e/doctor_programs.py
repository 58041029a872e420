# SPDX-License-Identifier: Apache-2.0
"""Real programs under load: at least 99 % of what is resident is classified, and the classes sum up to what the kernel counts."""
import os
import subprocess

from harness import (SOAK, Skip, answers, case, check, check_equal, free_port, main, need_program, wait_for)
from doctor_look import classes, doctor
from load import PYTHON, SERVER, Load, children_of, http_get, nginx_command, redis_command, redis_load

ROUNDS = 10 if SOAK else 3


def classified(w, load, pids, *options):
    for number in range(ROUNDS):
        for pid in pids:
            d = doctor(w, pid, *options)
            rss, kernel, got = d['facts']['rss'], d['facts']['rss_kernel'], classes(d)
            what = 'look %d at %d' % (number, pid)
            check_equal(sum(got.values()), rss, what)
            check(got['unclassified'] <= rss * 0.01, what, got)
            check(rss - kernel <= max(kernel * 0.01, 512 << 10), what, 'classes', rss, 'VmRSS', kernel, got)
            check(not any('damaged' in n or 'broken' in n for n in d['notes']), what, d['notes'])
            print('# pid %d: %.2f %% of %.1f MiB classified; %s' % (
                pid, 100 - 100 * got['unclassified'] / rss, rss / 2**20, [v['cause'] for v in d['verdicts']]))
        load.went_on()


@case
def redis(w):
    port = free_port()
    process = w.start(redis_command(port, w))
    wait_for(answers(port), 'redis to answer')
    with Load(redis_load(w, port), 1) as load:
        classified(w, load, [process.pid])
    w.bare([need_program('redis-cli'), '-p', str(port), 'shutdown', 'nosave'])
    check_equal(w.finish(process).status, 0, 'status')


@case
def nginx(w):
    port = free_port()
    command = nginx_command(w, port)
    process = w.start(command)
    wait_for(answers(port), 'nginx to answer')
    workers = wait_for(lambda: len(children_of(process.pid)) == 2 and children_of(process.pid), 'its workers')
    with Load(http_get(port)) as load:
        classified(w, load, [process.pid, workers[0]])
    w.bare([*command, '-s', 'quit'])
    check_equal(w.finish(process).status, 0, 'status')


@case
def cpython(w):
    if not os.path.exists(PYTHON):
        raise Skip('there is no ' + PYTHON)
    port = free_port()
    process = w.start([PYTHON, '-c', SERVER, str(port)])
    wait_for(answers(port), 'python to answer')
    with Load(http_get(port)) as load:
        classified(w, load, [process.pid])
    process.kill()
    w.finish(process)


def service(w, command, pid_of):
    port = int(command[-1])
    process = w.start(command)
    wait_for(answers(port), 'the service to answer')
    with Load(http_get(port, '/cache?key=1')) as load:
        classified(w, load, [pid_of(process)])
    return process, port


@case
def example_service(w):
    process, _ = service(w, [os.environ['SEEP_SERVICE'], '--port', str(free_port())], lambda p: p.pid)
    process.kill()
    w.finish(process)


@case
def after_a_burst(w):
    """RES stays high, nothing is lost: it is retention, and the doctor says how much of it."""
    port = free_port()
    process = w.start([os.environ['SEEP_SERVICE'], '--port', str(port)])
    wait_for(answers(port), 'the service to answer')
    http_get(port, '/burst')()
    d = doctor(w, process.pid)
    kept = sum(classes(d)[c] for c in ('free_bins', 'free_top', 'free_thread_tops', 'pinned'))
    check(d['verdicts'][0]['cause'] in ('thread-arena-tops', 'heap-holes', 'pinned-top', 'heap-top', 'arenas-left',
                                        'fragmentation'), d['verdicts'])
    check(kept > d['facts']['rss'] / 2, 'kept', kept, classes(d))
    check(d['facts']['leaked_bytes'] < 1 << 20, d['facts'])
    process.kill()
    w.finish(process)


JAVA = '''
import java.util.*;
public class Churn {
    public static void main(String[] args) throws Exception {
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 40; i++) kept.add(new byte[1 << 20]);
        System.out.println("ready");
        for (long n = 0;; n++) { kept.set((int) (n % 40), new byte[1 << 20]); if (n % 50 == 0) Thread.sleep(1); }
    }
}
'''


@case
def jvm(w):
    if not SOAK:
        raise Skip('in make soak only')
    java = need_program('java')
    with open(w.file('Churn.java'), 'w') as f:
        f.write(JAVA)
    if not subprocess.run(['sh', '-c', 'command -v javac'], capture_output=True).stdout:
        raise Skip('there is no javac')
    check_equal(w.bare(['javac', '-d', w.path, w.file('Churn.java')], deadline=300).status, 0, 'javac')
    process = w.start([java, '-Xmx256m', '-cp', w.path, 'Churn'])
    check_equal(process.stdout.readline(), 'ready\n', 'java')

    class Busy:
        def went_on(self):
            check(process.poll() is None, 'java still runs')
    classified(w, Busy(), [process.pid])
    process.kill()
    w.finish(process)


@case
def postgres(w):
    if not SOAK:
        raise Skip('in make soak only')
    found = sorted(os.path.join('/usr/lib/postgresql', v, 'bin') for v in os.listdir('/usr/lib/postgresql')) \
        if os.path.isdir('/usr/lib/postgresql') else []
    if not found or os.geteuid() != 0:
        raise Skip('postgres is not installed, or this is not root')
    bin_, data = found[-1], w.file('db')
    os.mkdir(data)
    os.chmod(w.path, 0o755)
    subprocess.run(['chown', 'postgres', data], check=True)
    as_user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
    run = w.bare([*as_user, bin_ + '/initdb', '-D', data], deadline=300)
    check_equal(run.status, 0, run.describe())
    port = free_port()
    process = w.start([*as_user, bin_ + '/postgres', '-D', data, '-p', str(port), '-k', data, '-h', '127.0.0.1'])
    wait_for(answers(port), 'postgres to answer')

    sql = 'create temp table t as select i, md5(i::text) m from generate_series(1, 100000) i;\n' \
          'select count(distinct m) from t; drop table t;\n'
    session = w.start([*as_user, bin_ + '/psql', '-q', '-h', data, '-p', str(port), '-d', 'postgres'], stdin=subprocess.PIPE)

    def work():
        session.stdin.write(sql)
        session.stdin.flush()
        while not session.stdout.readline().startswith('(1 row)'):
            pass

    def backends():
        found = []
        for pid in children_of(process.pid):
            with open('/proc/%d/cmdline' % pid, 'rb') as f:
                if b'[local]' in f.read():
                    found.append(pid)
        return found
    with Load(work, 1) as load:
        classified(w, load, [process.pid, wait_for(backends, 'a backend')[0]])
    w.finish(session, stdin='\\q\n')
    process.terminate()
    w.finish(process)


if __name__ == '__main__':
    main()
