# SPDX-License-Identifier: Apache-2.0
"""The example service under seep: it behaves as ever, and the report names the leak at once."""
import http.client
import os
import signal

from harness import SEEP, SERVICE, case, check, check_equal, main, need_program


def get(address, path):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request('GET', path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def start(w, command, **more):
    process = w.start(command, **more)
    line = process.stdout.readline()
    check(line.startswith('listening on http://127.0.0.1:'), 'first line', repr(line))
    return process, line.split('//')[1].strip()


def traffic(address):
    check_equal(get(address, '/')[0], 200, '/')
    for i in range(20):
        check_equal(get(address, '/leak'), (200, 'session %d served\n' % (i + 1)), '/leak')
    for i in range(200):
        check_equal(get(address, '/cache?key=%d' % i)[1].split(',')[0], 'miss', '/cache')
    check_equal(get(address, '/cache?key=199'), (200, 'hit, 128 of 128 entries\n'), '/cache')
    check_equal(get(address, '/burst')[0], 200, '/burst')
    check_equal(get(address, '/nothing')[0], 404, '/nothing')


@case
def the_service_alone(w):
    process, address = start(w, [SERVICE, '--port', '0'])
    traffic(address)
    process.send_signal(signal.SIGTERM)
    check_equal(w.finish(process).status, 0, 'status after SIGTERM')


@case
def bad_arguments(w):
    for arguments in (['--port'], ['--port', 'x'], ['--port', '70000'], ['what']):
        check_equal(w.bare([SERVICE, *arguments]).status, 2, repr(arguments))


@case
def the_leak_leads_the_report(w):
    output = w.file('a.seep')
    process, address = start(w, [SEEP, 'run', '-o', output, '--', SERVICE, '--port', '0'])
    traffic(address)
    process.send_signal(signal.SIGTERM)
    run = w.finish(process)
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(output)
    top = report.top_site()
    chain = [f for f in top['functions'] if f in ('session_buffer_new', 'session_open', 'handle_leak')]
    check_equal(chain, ['session_buffer_new', 'session_open', 'handle_leak'], 'the first site')
    check_equal((top['inuse_bytes'], top['inuse']), (20 << 20, 20), 'what it holds')
    check(any(f.endswith('session.c') and line for f, line in top['lines']), 'its source', top['lines'])
    check_equal(report.values('render_page').inuse, 0, 'the cache was cleared at the end')
    text = w.seep('report', output)
    check_equal(text.status, 0, 'text report')
    check('session.c' in text.stdout and 'handle_leak' in text.stdout, 'the text names the line',
          text.stdout)


@case
def killed_in_the_middle(w):
    output = w.file('a.seep')
    process, address = start(w, [SEEP, 'run', '-o', output, '--', SERVICE, '--port', '0'])
    traffic(address)
    children = w.bare([need_program('pgrep'), '-P', str(process.pid)]).stdout.split()
    check_equal(len(children), 1, 'processes below seep run')
    os.kill(int(children[0]), signal.SIGKILL)
    check_equal(w.finish(process).status, 128 + signal.SIGKILL, 'status')
    report = w.report(output)
    check(report.killed, 'it says that the process was killed')
    check_equal(report.values('session_buffer_new').inuse, 20, 'leaked buffers')
    check_equal(report.values('render_page').inuse, 128, 'pages in the cache')


main()
