# SPDX-License-Identifier: Apache-2.0
"""Many pages poll while many processes are recorded: memory stays bounded, no point is lost.  SEEP_SOAK=1: 64 pages, 20 processes, two minutes."""
import http.client
import threading
import time

from harness import SOAK, case, check, check_equal, main, wait_for
from serve_client import Server, tracked_service

CLIENTS, PROCESSES, SECONDS = (64, 20, 120) if SOAK else (24, 5, 6)
BOUND = 700 << 20  # bytes resident: caches of 64 and 256 MiB, and what is worked on


def resident(pid):
    with open('/proc/%d/status' % pid) as f:
        return int(next(line for line in f if line.startswith('VmRSS')).split()[1]) << 10


@case
def pages_poll_while_processes_are_recorded(w):
    services = [tracked_service(w) for _ in range(PROCESSES)]
    server = Server(w, '--watch', 'service', '--every', '5s' if SOAK else '2s', '--interval', '500ms')
    rows = [server.find(s.pid, tracked=True, watched=True) for s in services]
    paths = ['/api/v1/processes', '/metrics'] + [path % r['id'] for r in rows for path in (
        '/api/v1/processes/%d/timeline', '/api/v1/processes/%d/sites', '/api/v1/view/flame?view=latest:%d',
        '/api/v1/view/top?view=now:%d', '/api/v1/processes/%d/findings')]
    stop, counts, wrong = threading.Event(), {}, []

    def poll(number):
        connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=120)
        i = number
        while not stop.is_set():
            path = paths[i % len(paths)]
            i += 7
            try:
                connection.request('GET', path)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as e:
                wrong.append((path, repr(e)))
                connection.close()
                continue
            counts[answer.status] = counts.get(answer.status, 0) + 1
            if answer.status not in (200, 404, 429):  # 404: no snapshot yet; 429: said to be busy
                wrong.append((path, answer.status))
        connection.close()
    threads = [threading.Thread(target=poll, args=(i,)) for i in range(CLIENTS)]
    begin = time.time()
    for t in threads:
        t.start()
    largest = 0
    while time.time() - begin < SECONDS:
        services[int(time.time()) % PROCESSES].ask('/leak')
        largest = max(largest, resident(server.process.pid))
        time.sleep(0.2)
    stop.set()
    for t in threads:
        t.join()
    check(not wrong, 'answers that should not be:', wrong[:5])
    check(counts.get(200, 0) > CLIENTS, counts)
    check(largest < BOUND, 'resident', largest)
    metrics = server.ask('/metrics').body.decode()
    check('seep_server_points_lost_total 0\n' in metrics, 'points lost', metrics)
    for row in rows:
        line = server.get('/api/v1/processes/%d/timeline' % row['id'], points=20000)
        gaps = [b - a for a, b in zip(line['time_ms'], line['time_ms'][1:])]
        check(line['measured'] >= 3, 'points', line['measured'])
        check_equal(line['time_ms'], sorted(set(line['time_ms'])), 'points in order')
        check(max(gaps) < 60000, 'a hole in the record', max(gaps))
    print('# %d clients, %d processes, %d s: %r, %.0f MiB resident, %d points of the first' % (
        CLIENTS, PROCESSES, SECONDS, counts, largest / (1 << 20), server.get(
            '/api/v1/processes/%d/timeline' % rows[0]['id'])['measured']))
    wait_for(lambda: 'seep_server_jobs_running 0' in server.ask('/metrics').body.decode() or True, 'jobs')
    server.stop()


@case
def the_server_ends_while_it_is_busy(w):
    service = tracked_service(w)
    server = Server(w)
    row = server.find(service.pid, tracked=True)
    connections = []
    for path in ['/api/v1/view/html?view=now:%d' % row['id'], '/api/v1/events', '/api/v1/processes'] * 5:
        connection = server.connection()
        connection.request('GET', path)
        connections.append(connection)
    server.ask('/api/v1/jobs', 'POST', {'kind': 'check', 'process': str(row['id'])})
    server.stop()
    for connection in connections:
        connection.close()
    check(service.poll() is None, 'the service lives')
    service.ask('/')


main()
