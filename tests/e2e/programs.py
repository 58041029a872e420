# SPDX-License-Identifier: Apache-2.0
"""Real programs under full tracking: they behave as they do alone, the report is about them, and
hardly any byte is without a stack."""
import os

from harness import SEEP, Skip, answers, case, check, check_equal, free_port, main, need_program, wait_for

PYTHON = '/usr/bin/python3'


def check_snapshot(w, output, least_allocs, most_unknown=0.001):
    """By function: with every stack of a large program its JSON has hundreds of megabytes."""
    data = w.report_json(output, '--by', 'function', '--top', '2000')
    allocated = data['totals']['allocated']
    notes = {n['code']: n['count'] for n in data['notes']}
    check(allocated['blocks'] >= least_allocs, 'allocations seen:', allocated['blocks'])
    unknown = notes.get('stack_unknown') or 0
    check(unknown <= most_unknown * allocated['blocks'], 'without a stack:', unknown, 'of', allocated)
    for name in ('torn', 'stale', 'live_full', 'stacks_full', 'contended'):
        check(not notes.get(name), 'loss', name, notes.get(name))
    check('bypassed' not in notes, 'it was the program\'s own allocator that was tracked')
    return data


def reached(data, *functions):
    """The share of all allocations whose stack reaches one of the outermost functions."""
    total = sum(f['total_blocks'] for f in data['functions'] if f['name'] in functions)
    return total / data['totals']['allocated']['blocks']


def same_as_bare(w, command, least_allocs, **more):
    """The same output and status with and without seep."""
    bare = w.bare(command, deadline=120, **more)
    output = w.file('a.seep')
    tracked = w.seep('run', '-o', output, '--', *command, deadline=240, **more)
    check_equal((tracked.status, tracked.stdout), (bare.status, bare.stdout), 'status and output %s' %
                tracked.describe())
    return check_snapshot(w, output, least_allocs)


@case
def python(w):
    script = '''
import json, re, collections
data = [{"id": i, "name": "n%d" % i, "tags": ["a", "b", str(i)]} for i in range(3000)]
for _ in range(4):
    assert json.loads(json.dumps(data)) == data
try:
    raise ValueError("x")
except ValueError:
    pass
print(len(data), hash(1), sum(collections.Counter(re.findall("a+", "aab" * 1000)).values()))
'''
    data = same_as_bare(w, [PYTHON, '-c', script], 50000,
                          env=dict(os.environ, PYTHONMALLOC='malloc', PYTHONHASHSEED='1'))
    check(reached(data, '_start') >= 0.99, 'stacks that reach _start:', reached(data, '_start'))


@case
def python_threads_and_processes(w):
    script = '''
import threading, subprocess, multiprocessing
def work(n):
    return sum(len(str(i)) for i in range(n))
threads = [threading.Thread(target=work, args=(20000,)) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(subprocess.check_output(["/bin/echo", "child"]).decode().strip())
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, [100, 1000]))
'''
    same_as_bare(w, [PYTHON, '-c', script], 5000,
                 env=dict(os.environ, PYTHONMALLOC='malloc', PYTHONHASHSEED='1'))


@case
def sqlite(w):
    sql = '''create table t(id integer primary key, name text, n real);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 20000)
insert into t select i, 'name ' || i, i * 1.5 from c;
create index by_name on t(name);
select count(*), sum(n), max(name) from t;
select name from t where name like '%77%' order by n desc limit 3;
'''
    same_as_bare(w, [need_program('sqlite3'), ':memory:', sql], 20000)


@case
def clang(w):
    source = w.file('a.cc')
    with open(source, 'w') as f:
        f.write('#include <map>\n#include <string>\n#include <vector>\n#include <algorithm>\n'
                'int main() { std::map<std::string, std::vector<int>> m; m["x"].push_back(3);\n'
                'std::sort(m["x"].begin(), m["x"].end()); return m["x"][0]; }\n')
    compiler = need_program('clang++')
    objects = [w.file('bare.o'), w.file('tracked.o')]
    bare = w.bare([compiler, '-O1', '-c', source, '-o', objects[0]], deadline=120)
    check_equal(bare.status, 0, bare.describe())
    output = w.file('a.seep')
    tracked = w.seep('run', '-o', output, '--', compiler, '-O1', '-c', source, '-o', objects[1], deadline=300)
    check_equal(tracked.status, 0, tracked.describe())
    with open(objects[0], 'rb') as a, open(objects[1], 'rb') as b:
        check(a.read() == b.read(), 'the compiler writes the same object file')
    check_snapshot(w, output, 100000)


@case
def redis(w):
    server, bench = need_program('redis-server'), need_program('redis-benchmark')
    client = need_program('redis-cli')
    port, output = str(free_port()), w.file('a.seep')
    process = w.start([SEEP, 'run', '-o', output, '--', server, '--port', port, '--bind', '127.0.0.1', '--save',
                       '', '--appendonly', 'no', '--dir', w.path])
    wait_for(answers(int(port)), 'redis to answer')
    load = w.bare([bench, '-h', '127.0.0.1', '-p', port, '-n', '20000', '-c', '20', '-q', '-t',
                   'set,get,lpush,lpop,sadd,hset', '-r', '2000'], deadline=120)
    check_equal(load.status, 0, load.describe())
    asked = w.bare([client, '-h', '127.0.0.1', '-p', port, 'dbsize'])
    check(int(asked.stdout) > 1000, 'keys', asked.stdout)
    w.bare([client, '-h', '127.0.0.1', '-p', port, 'shutdown', 'nosave'])
    run = w.finish(process)
    check_equal(run.status, 0, run.describe())
    # Debian's redis brings jemalloc as a shared library.
    data = check_snapshot(w, output, 20000)
    check('jemalloc' in data['process']['allocator'], 'allocator', data['process']['allocator'])


@case
def nginx(w):
    server = need_program('nginx')
    port, output = free_port(), w.file('a.seep')
    os.chmod(w.path, 0o755)
    os.mkdir(w.file('root'))
    with open(w.file('root/index.html'), 'w') as f:
        f.write('hello from nginx\n')
    with open(w.file('nginx.conf'), 'w') as f:
        f.write('''daemon off; worker_processes 1; pid %(dir)s/nginx.pid; error_log %(dir)s/error.log;
events { worker_connections 64; }
http { access_log off; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
server { listen 127.0.0.1:%(port)d; root %(dir)s/root; } }
''' % {'dir': w.path, 'port': port})
    process = w.start([SEEP, 'run', '-o', output, '--', server, '-p', w.path, '-c', w.file('nginx.conf'),
                       '-e', w.file('error.log')])
    wait_for(answers(port), 'nginx to answer')
    page = w.bare([need_program('curl'), '-sS'] + ['http://127.0.0.1:%d/' % port] * 200)
    check_equal(page.stdout, 'hello from nginx\n' * 200, 'pages')
    w.bare([server, '-p', w.path, '-c', w.file('nginx.conf'), '-e', w.file('error.log'), '-s', 'quit'])
    run = w.finish(process)
    check_equal(run.status, 0, run.describe())
    check_snapshot(w, output, 200)


@case
def java(w):
    same_as_bare(w, [need_program('java'), '-Xmx64m', '-Xshare:auto', '-version'], 1000)


@case
def shell_pipelines(w):
    script = 'seq 1 20000 | sort -r | uniq -c | awk \'{ s += $2 } END { print s }\'; ls /bin | wc -l; false'
    same_as_bare(w, ['/bin/sh', '-c', script], 10)


@case
def the_programs_of_an_ordinary_system(w):
    for command in (['git', '--version'], ['ls', '-laR', '/etc/apt'], ['tar', '--version'],
                    ['find', '/usr/share/doc', '-maxdepth', '1'], ['gcc', '-v', '--help'],
                    ['perl', '-e', 'my %h; $h{$_} = [1..5] for 1..5000; print scalar keys %h'],
                    ['grep', '-c', '', '/etc/passwd']):
        try:
            need_program(command[0])
        except Skip:
            continue
        bare = w.bare(command)
        tracked = w.preload(need_program(command[0]), *command[1:])
        check_equal((tracked.status, tracked.stdout), (bare.status, bare.stdout), ' '.join(command))


main()
