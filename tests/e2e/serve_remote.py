# SPDX-License-Identifier: Apache-2.0
"""seep serve and seep view from another machine: played by an address that is not loopback, in a network of its own."""
import ctypes
import gzip
import subprocess
import threading

from harness import case, check, check_equal, main, need_program, need_root, need_target
from serve_client import Server, tracked_target, view

ADDRESS = '10.77.0.1'
CLONE_NEWNET = 0x40000000


def elsewhere(run):
    """Calls run() in a thread that has a network namespace of its own, with all that it starts."""
    ip, failed = need_program('ip'), []

    def thread():
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), 'unshare')
            subprocess.run([ip, 'link', 'set', 'lo', 'up'], check=True)
            subprocess.run([ip, 'address', 'add', ADDRESS + '/32', 'dev', 'lo'], check=True)
            run()
        except BaseException as e:  # pylint: disable=broad-except
            failed.append(e)
    t = threading.Thread(target=thread)
    t.start()
    t.join()
    if failed:
        raise failed[0]


def packed(server, path, bearer, **headers):
    answer = server.ask(path, headers={**bearer, 'Accept-Encoding': 'br, gzip', **headers})
    check_equal(answer.status, 200, path)
    check_equal((answer.headers['Content-Encoding'], answer.headers['Vary']), ('gzip', 'Accept-Encoding'), path)
    return answer


def look(w, target):
    server = Server(w, '--listen', ADDRESS, '--remote')
    server.host = ADDRESS
    check_equal(len(server.token), 32, 'a token, asked for or not')
    check_equal(server.ask('/api/v1/processes').status, 401, 'without it')
    bearer = {'Authorization': 'Bearer ' + server.token}
    check_equal(server.ask('/api/v1/processes', headers={**bearer, 'Host': 'evil.example'}).status, 403, 'DNS rebinding')
    plain_ask = server.ask
    server.ask = lambda path, *a, **k: plain_ask(path, *a, **{**k, 'headers': {**bearer, **(k.get('headers') or {})}})
    process = server.find(target.pid, tracked=True)['id']
    shot = server.snapshot(process)

    flame = '/api/v1/view/flame?lines=1&view=%d' % shot
    plain = plain_ask(flame, headers=bearer)
    check_equal(plain.headers['Content-Encoding'], None, 'nothing asked for')
    check(len(plain.body) > 50000, 'an answer worth packing', len(plain.body))
    small = packed(server, flame, {})
    print('# %d bytes, packed %d' % (len(plain.body), len(small.body)))
    check(len(small.body) < len(plain.body) / 3, len(small.body))
    check_equal(gzip.decompress(small.body), plain.body, 'the same answer')
    check(small.headers['ETag'] != plain.headers['ETag'], 'tags', small.headers['ETag'])
    for answer, headers in ((small, {'Accept-Encoding': 'gzip'}), (plain, {})):
        again = server.ask(flame, headers={**headers, 'If-None-Match': answer.headers['ETag']})
        check_equal(again.status, 304, 'asked for again')
    check_equal(server.ask(flame, headers={'Accept-Encoding': 'gzip;q=0'}).headers['Content-Encoding'], None, 'not wanted')

    # from here, by way of `seep view`: it hands on what the browser can take and what came
    proxy = view(w, '%s:%d' % (ADDRESS, server.port), '--target-token', server.token)
    check_equal(gzip.decompress(packed(proxy, flame, {}).body), plain.body, 'through seep view')
    check_equal(proxy.ask(flame).body, plain.body, 'through seep view, plain')
    server.stop()


@case
def another_machine(w):
    need_root()
    target = tracked_target(w, need_target('million_sites'), '1500', '5000', 'hold')
    elsewhere(lambda: look(w, target))


@case
def this_machine_gets_it_plain(w):
    target = tracked_target(w, need_target('million_sites'), '1500', '5000', 'hold')
    server = Server(w)
    process = server.find(target.pid, tracked=True)['id']
    answer = server.ask('/api/v1/view/flame?lines=1&view=%d' % server.snapshot(process), headers={'Accept-Encoding': 'gzip'})
    check_equal((answer.status, answer.headers['Content-Encoding']), (200, None), 'nothing to be won')
    check(len(answer.body) > 50000, len(answer.body))


if __name__ == '__main__':
    main()
