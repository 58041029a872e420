# SPDX-License-Identifier: Apache-2.0
"""The page of seep serve in a real browser: somebody looks for the leak of the example service, which leaks all the while, and
finds the line. The walk is web/test/walk.mjs, which the page's own tests do against a server that never was.
"""
import os
import subprocess
import threading

from harness import Skip, case, check, main, need_program, wait_for
from serve_client import Server, embedded, packages, tracked_service

SNAPSHOTS = 9  # verdicts need some


@case
def somebody_finds_the_leaking_line(w):
    need_program('chromium', 'chromium-browser', 'google-chrome')
    node, folder = need_program('node'), packages()
    service = tracked_service(w)
    server = Server(w, '--watch', str(service.pid), '--every', '1s')
    embedded(server)
    process = server.find(service.pid, tracked=True)['id']
    ended = threading.Event()

    def traffic():
        for i in range(100000):
            if ended.is_set():
                return
            service.ask('/leak')
            service.ask('/cache?key=%d' % (i % 20))
            ended.wait(0.25)

    service.ask('/burst')
    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        wait_for(lambda: len(server.get('/api/v1/processes/%d/snapshots' % process)['snapshots']) >= SNAPSHOTS, 'snapshots')
        walk = subprocess.run([node, os.path.join(folder, 'test', 'walk.mjs'), server.url.rstrip('/'), str(process), 'session_buffer_new',
                               'session.c:13'], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=840)
    finally:
        ended.set()
        thread.join()
    print('\n'.join('# ' + line for line in walk.stdout.splitlines()), flush=True)
    if '# SKIP' in walk.stdout:
        raise Skip(walk.stdout.split('# SKIP', 1)[1].strip())
    check(walk.returncode == 0 and '\nnot ok' not in '\n' + walk.stdout, walk.stdout[-6000:], walk.stderr[-2000:])
    check(walk.stdout.count('\nok') + walk.stdout.startswith('ok') >= 20, 'steps of the walk', walk.stdout)


if __name__ == '__main__':
    main()
