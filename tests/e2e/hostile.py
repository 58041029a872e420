# SPDX-License-Identifier: Apache-2.0
"""A ledger is hostile input: cut short, with bytes changed, rewritten while it is read, seep says so
or reports what is left; it never crashes and never takes long."""
import os
import random
import threading

from harness import SOAK, case, check, check_equal, main, need_target

ROUNDS = 400 if SOAK else 60


def real_ledger(w):
    run = w.preload('fiber_swapcontext')
    check_equal(run.status, 0, 'status %s' % run.describe())
    return w.ledger(run.pid)


def data_extents(f, size):
    """The parts of a sparse file that are there."""
    extents, pos = [], 0
    while pos < size:
        try:
            start = os.lseek(f.fileno(), pos, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(f.fileno(), start, os.SEEK_HOLE)
        extents.append((start, end))
        pos = end
    return extents


def sparse_copy(source, to):
    size = os.path.getsize(source)
    with open(source, 'rb') as a, open(to, 'wb') as b:
        b.truncate(size)
        for start, end in data_extents(a, size):
            a.seek(start)
            b.seek(start)
            b.write(a.read(end - start))


def survives(w, path, what):
    for options in ((), ('--json',)):
        run = w.seep('report', *options, path, deadline=30)
        check(run.status in (0, 2), what, 'seep report', *options, 'ended with', run.describe())
        if run.status == 2:
            check(run.stderr.startswith('seep report:'), what, 'message', repr(run.stderr))


@case
def ledgers_cut_short(w):
    path = real_ledger(w)
    size = os.path.getsize(path)
    rng = random.Random(1)
    cuts = [0, 1, 7, 8, 100, 4095, 4096, 8191, 8192, 8193] + [rng.randrange(size) for _ in range(20)]
    for cut in cuts:
        copy = w.file('cut.ledger')
        sparse_copy(path, copy)
        os.truncate(copy, cut)
        survives(w, copy, 'cut at %d:' % cut)


@case
def ledgers_with_changed_bytes(w):
    path = real_ledger(w)
    with open(path, 'rb') as f:
        extents = data_extents(f, os.path.getsize(path))
    rng = random.Random(2)
    for number in range(ROUNDS):
        copy = w.file('changed.ledger')
        sparse_copy(path, copy)
        with open(copy, 'r+b') as f:
            for _ in range(rng.choice((1, 4, 64))):
                # The header's page half of the time: that is where the offsets are.
                start, end = (0, 8192) if rng.random() < 0.5 else rng.choice(extents)
                f.seek(rng.randrange(start, end))
                f.write(rng.choice((b'\xff', b'\0', b'\x80', b'\xff' * 8, b'\xff' * 7 + b'\x7f',
                                    bytes([rng.randrange(256)]))))
        survives(w, copy, 'change %d:' % number)


@case
def not_a_ledger_at_all(w):
    for name, content in (('empty', b''), ('text', b'hello\n' * 5000), ('zeros', bytes(100000)),
                          ('elf', open('/bin/true', 'rb').read())):
        path = w.file(name + '.ledger')
        with open(path, 'wb') as f:
            f.write(content)
        run = w.seep('report', path)
        check_equal(run.status, 2, '%s %s' % (name, run.describe()))
        check(run.stderr.startswith('seep report:') and path in run.stderr, run.stderr)
    for path in (w.path, '/dev/null', '/no/such/file', '999999999'):
        run = w.seep('report', path)
        check_equal(run.status, 2, '%s %s' % (path, run.describe()))
        check(run.stderr.startswith('seep report:'), run.stderr)


@case
def snapshots_cut_and_changed(w):
    path = w.file('a.seep')
    run = w.seep('run', '-o', path, '--', need_target('fiber_swapcontext'))
    check_equal(run.status, 0, run.describe())
    with open(path, 'rb') as f:
        whole = f.read()
    rng = random.Random(3)
    for number in range(ROUNDS):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[rng.randrange(len(data)):]
        else:
            for _ in range(rng.choice((1, 8))):
                data[rng.randrange(len(data))] = rng.randrange(256)
        copy = w.file('changed.seep')
        with open(copy, 'wb') as f:
            f.write(data)
        survives(w, copy, 'snapshot change %d:' % number)


@case
def rewritten_while_being_read(w):
    path = real_ledger(w)
    copy = w.file('moving.ledger')
    sparse_copy(path, copy)
    with open(path, 'rb') as f:
        extents = data_extents(f, os.path.getsize(path))
    stop = threading.Event()

    def rewrite():
        rng = random.Random(4)
        fd = os.open(copy, os.O_RDWR)
        original = os.open(path, os.O_RDONLY)
        size = os.path.getsize(path)
        while not stop.is_set():
            start, end = rng.choice(extents)
            at, n = rng.randrange(start, end), rng.randrange(1, 64)
            true = os.pread(original, n, at)
            os.pwrite(fd, bytes([rng.randrange(256)]) * n, at)
            os.pwrite(fd, true, at)  # healed at once: readers get past the header most of the time
            if rng.random() < 0.01:
                os.ftruncate(fd, rng.randrange(size))  # a reader that mapped it would get SIGBUS
                os.ftruncate(fd, size)
                for start, end in extents:
                    os.pwrite(fd, os.pread(original, end - start, start), start)
        os.close(original)
        os.close(fd)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for number in range(ROUNDS // 2):
            survives(w, copy, 'reading %d of a moving file:' % number)
    finally:
        stop.set()
        writer.join()


main()
