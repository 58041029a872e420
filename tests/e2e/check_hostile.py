# SPDX-License-Identifier: Apache-2.0
"""What seep check cannot do it says, with status 2, and does no harm: processes of others, that end, are stopped or
traced, have 32 bits or no heap it knows; files that are no cores, or pieces of one."""
import os
import random
import shutil
import signal
import struct
import subprocess
import time

from harness import (SEEP, SOAK, Skip, allow_cores, case, check, check_equal, main, need_program, need_root,
                     need_target, parse_checks, process_state, truth_total, wait_for)


def refused(run, *words):
    check_equal(run.status, 2, 'status %s' % run.describe())
    check(run.stderr.startswith('seep check:'), 'message', repr(run.stderr))
    for word in words:
        alternatives = word if isinstance(word, tuple) else (word,)
        check(any(a.lower() in run.stderr.lower() for a in alternatives), 'the message names', word, ':',
              repr(run.stderr))


def orderly(run, what):
    """Either it worked or it says why not; no crash."""
    check(run.status in (0, 2), what, 'ended with', run.describe())
    if run.status == 2:
        check(run.stderr.startswith('seep check:'), what, 'message', repr(run.stderr))
    else:
        parse_checks(run.stdout)


@case
def somebody_elses_process(w):
    need_root()
    setpriv = need_program('setpriv')
    process = w.hold('check_definite')
    os.chmod(w.path, 0o755)
    copy = w.file('seep')
    shutil.copy(SEEP, copy)
    os.chmod(copy, 0o755)
    for option in ('--clone', '--no-clone'):
        run = w.bare([setpriv, '--reuid=65534', '--regid=65534', '--clear-groups', copy, 'check', option,
                      str(process.pid)])
        refused(run, ('permi', 'allowed'), ('CAP_SYS_PTRACE', 'root', 'user'))
        check_equal(process_state(process.pid), 'S', 'the target waits as before')
    w.release(process)


@case
def without_the_capability(w):
    """As root in a container has it: the uid is 0, CAP_SYS_PTRACE is not there, and the target has more."""
    need_root()
    setpriv = need_program('setpriv')
    process = w.hold('check_definite')
    run = w.bare([setpriv, '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace', SEEP, 'check', str(process.pid)])
    refused(run, 'CAP_SYS_PTRACE')
    check_equal(process_state(process.pid), 'S', 'the target waits as before')
    w.release(process)


@case
def a_process_that_ends_meanwhile(w):
    rng, done = random.Random(1), 0
    for number in range(60 if SOAK else 25):
        process = w.start([need_target('heartbeat'), w.file('b%d' % number), '4', '20000'], stdin=subprocess.PIPE)
        process.stdout.readline()
        option = '--clone' if number % 2 else '--no-clone'
        seep = w.start([SEEP, 'check', '--json', option, str(process.pid)])
        time.sleep(rng.random() * 0.05)  # any moment will do
        process.kill()
        run = w.finish(seep, deadline=30)
        orderly(run, 'round %d %s' % (number, option))
        done += run.status == 0
        check_equal(w.finish(process).status, -signal.SIGKILL, 'status of the target')


@case
def processes_that_are_not_there(w):
    with open('/proc/sys/kernel/pid_max') as f:
        absent = int(f.read()) + 7
    refused(w.seep('check', str(absent)), str(absent))
    refused(w.seep('check', '0'))
    refused(w.seep('check', '-5'))
    refused(w.seep('check', '99999999999999999999'))
    refused(w.seep('check', 'no-program-has-this-name'), 'no-program-has-this-name')
    refused(w.seep('check', '/no/such/file'), '/no/such/file')
    refused(w.seep('check'))
    refused(w.seep('check', '1', '2', '3'))


@case
def a_zombie(w):
    process = w.start(['/bin/true'])
    wait_for(lambda: process_state(process.pid) == 'Z', 'it to end')
    refused(w.seep('check', str(process.pid)), ('ended', 'zombie', 'exited'))


@case
def a_kernel_thread(w):
    for name in sorted(os.listdir('/proc')):
        if name.isdigit() and int(name) > 1:
            try:
                with open('/proc/%s/stat' % name) as f:
                    flags = int(f.read().rsplit(')', 1)[1].split()[6])
            except OSError:
                continue
            if flags & 0x200000:  # PF_KTHREAD
                need_root()
                refused(w.seep('check', name), 'kernel')
                return
    raise Skip('no kernel threads are visible')


@case
def a_name_that_is_not_unique(w):
    copy = w.file('twins')
    shutil.copy(need_target('leak_commands'), copy)
    first = w.start([copy], stdin=subprocess.PIPE)
    check_equal(w.seep('check', 'twins').status, 0, 'one of that name')
    second = w.start([copy], stdin=subprocess.PIPE)
    wait_for(lambda: os.readlink('/proc/%d/exe' % second.pid) == copy, 'the second to run')
    refused(w.seep('check', 'twins'), str(first.pid), str(second.pid))


@case
def a_program_of_32_bits(w):
    source, program = w.file('small.c'), w.file('small')
    with open(source, 'w') as f:
        f.write('void _start(void)\n{\n\tfor (;;)\n\t\t__asm__ volatile("int $0x80" : : "a"(29));\n}\n')
    built = w.bare([need_program('gcc'), '-m32', '-O1', '-ffreestanding', '-nostdlib', '-static',
                    '-fno-stack-protector', '-fno-pie', '-no-pie', source, '-o', program])
    if built.status:
        raise Skip('gcc -m32 does not work here: %s' % built.stderr.splitlines()[-1:])
    try:
        process = w.start([program])
    except OSError as e:
        raise Skip('this kernel runs no 32-bit programs: %s' % e) from None
    wait_for(lambda: process_state(process.pid) == 'S', 'it to wait')
    for option in ('--clone', '--no-clone'):
        refused(w.seep('check', option, str(process.pid)), ('32-bit', '32 bit'))
        wait_for(lambda: process_state(process.pid) == 'S', 'it to wait again')


@case
def a_program_without_libc(w):
    """No heap that seep knows: it says so, and finds nothing."""
    source, program = w.file('bare.c'), w.file('bare')
    with open(source, 'w') as f:
        f.write('void _start(void)\n{\n\tfor (;;)\n\t\t__asm__ volatile("syscall" : : "a"(34) : "rcx", "r11");\n}\n')
    built = w.bare([need_program('gcc'), '-O1', '-ffreestanding', '-nostdlib', '-static', '-fno-pie', '-no-pie', source,
                    '-o', program])
    if built.status:
        raise Skip('gcc cannot build it: %s' % built.stderr.splitlines()[-1:])
    process = w.start([program])
    wait_for(lambda: process_state(process.pid) == 'S', 'it to wait')
    for option in ('--clone', '--no-clone'):
        found = w.check(process.pid, option)
        check_equal((found.classes, found.data['allocator'] or ''), ({}, ''), 'nothing found')
        check(found.completeness['notes'], 'it says that it knows no allocator there')


@case
def a_stopped_process_stays_stopped(w):
    process = w.hold('check_definite')
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: process_state(process.pid) == 'T', 'it to stop')
    for option in ('--clone', '--no-clone', '--clone'):
        found = w.check(process.pid, option)
        check_equal(found.classes, truth_total(process.truths['main'], 'hold', True), option)
        wait_for(lambda: process_state(process.pid) == 'T', 'it to be stopped again', 10)
    os.kill(process.pid, signal.SIGCONT)
    w.release(process)


@case
def a_traced_process(w):
    strace = need_program('strace')
    process = w.hold('check_definite')
    tracer = w.start([strace, '-o', w.file('trace'), '-p', str(process.pid)])
    wait_for(lambda: 'TracerPid:\t%d\n' % tracer.pid in open('/proc/%d/status' % process.pid).read(),
             'strace to attach')
    for option in ('--clone', '--no-clone'):
        refused(w.seep('check', option, str(process.pid)), str(tracer.pid))
    check_equal(tracer.poll(), None, 'strace traces on')
    tracer.send_signal(signal.SIGINT)
    tracer.wait(30)
    wait_for(lambda: process_state(process.pid) == 'S', 'it to wait again')
    check_equal(w.check(process.pid).classes, truth_total(process.truths['main'], 'hold', True), 'afterwards')
    w.release(process)


@case
def a_process_in_gdb(w):
    gdb = need_program('gdb')
    process = w.hold('check_definite')
    tracer = w.start([gdb, '-q', '-nx', '-p', str(process.pid)], stdin=subprocess.PIPE)
    wait_for(lambda: process_state(process.pid) == 't', 'gdb to have stopped it')
    refused(w.seep('check', str(process.pid)), ('gdb', 'trace'))
    check_equal(process_state(process.pid), 't', 'it is still in gdb\'s hands')
    w.finish(tracer, stdin='detach\nquit\n')
    wait_for(lambda: process_state(process.pid) == 'S', 'it to wait again')
    w.release(process)


@case
def a_java_program(w):
    """What Java keeps, seep cannot see: the C heap is checked, and it says what is not."""
    keytool = need_program('keytool')
    process = w.start([keytool, '-J-Xmx64m', '-genkeypair', '-keyalg', 'RSA', '-keystore', w.file('keys')],
                      stdin=subprocess.PIPE)
    name = 'libjvm.so'
    wait_for(lambda: name in open('/proc/%d/maps' % process.pid).read(), 'the virtual machine to be there')
    wait_for(lambda: 'password' in os.read(process.stderr.fileno(), 4096).decode(), 'keytool to ask')
    for option in ('--clone', '--no-clone'):
        run = w.check_run(process.pid, option, deadline=120)
        check_equal(run.status, 0, run.describe())
        found = parse_checks(run.stdout)[0]
        check(any('java' in n.lower() or 'jvm' in n.lower() for n in found.completeness['notes']),
              'a note says that it is Java', found.completeness['notes'])
    check_equal(process.poll(), None, 'it runs on')


@case
def a_go_program(w):
    go = need_program('go')
    source = w.file('a.go')
    with open(source, 'w') as f:
        f.write('package main\nimport ("bufio"; "os")\nfunc main() { bufio.NewReader(os.Stdin).ReadString(10) }\n')
    check_equal(w.bare([go, 'build', '-o', w.file('a'), source], deadline=300).status, 0, 'go build')
    process = w.start([w.file('a')], stdin=subprocess.PIPE)
    found = w.check(process.pid)
    check(any('go' in n.lower() for n in found.completeness['notes']), found.completeness['notes'])


# ---- cores ----------------------------------------------------------------------------------

def real_core(w, name='check_indirect'):
    process = w.hold(name, preexec_fn=allow_cores)
    truth = process.truths['main']
    return w.core_of(process), truth


@case
def files_that_are_no_cores(w):
    for name, content in (('empty', b''), ('text', b'hello\n' * 5000), ('zeros', bytes(100000)),
                          ('short', b'\x7fELF'), ('program', open('/bin/true', 'rb').read())):
        path = w.file(name)
        with open(path, 'wb') as f:
            f.write(content)
        refused(w.seep('check', path), name)
    refused(w.seep('check', w.path))
    refused(w.seep('check', '/dev/null'))
    refused(w.seep('check', '--watch=1s', w.file('text')))


@case
def cores_of_another_machine(w):
    core, _ = real_core(w)
    with open(core, 'rb') as f:
        whole = f.read()
    for offset, value, words in ((4, b'\x01', ('32',)), (5, b'\x02', ('endian', 'byte order', 'machine')),
                                 (18, struct.pack('<H', 8), ('machine', 'x86-64', 'architecture')),
                                 (16, struct.pack('<H', 2), ('core',))):
        data = bytearray(whole)
        data[offset:offset + len(value)] = value
        path = w.file('changed')
        with open(path, 'wb') as f:
            f.write(data)
        refused(w.seep('check', path), tuple(words))


@case
def cores_cut_short(w):
    core, truth = real_core(w)
    size = os.path.getsize(core)
    found = w.check(core)
    check_equal(found.classes, truth_total(truth, 'hold', True), 'the whole core')
    check(found.completeness['complete'], 'the whole core is complete', found.completeness)
    rng = random.Random(2)
    cuts = [0, 1, 16, 63, 64, 65, 120, 1000, 4096] + [rng.randrange(size) for _ in range(200 if SOAK else 40)]
    for cut in cuts:
        path = w.file('cut')
        shutil.copy(core, path)
        os.truncate(path, cut)
        run = w.check_run(path, deadline=30)
        orderly(run, 'cut at %d of %d' % (cut, size))
        if run.status == 0:
            c = parse_checks(run.stdout)[0].completeness
            check(c['notes'] and not c['complete'], 'cut at %d of %d: it says what is missing' % (cut, size), c)


@case
def cores_as_systemd_keeps_them(w):
    """Packed with zstd: the same verdict; cut short, an error or a report that says so, as quickly."""
    core, truth = real_core(w)
    packed = w.file('core.check_indirect.0.zst')
    done = w.bare([need_program('zstd'), '-q', '-1', '-o', packed, core])
    check_equal(done.status, 0, done.describe())
    check(os.path.getsize(packed) < os.path.getsize(core) / 4, 'it is packed', os.path.getsize(packed))
    for command in (packed, [packed, need_target('check_indirect')]):
        found = w.check(command)
        check_equal(found.classes, truth_total(truth, 'hold', True), 'classes')
        check(found.completeness['complete'], 'complete', found.completeness)
    size = os.path.getsize(packed)
    for cut in (3, 4, 17, size // 3, size // 2, size - 1):
        shutil.copy(packed, w.file('cut.zst'))
        os.truncate(w.file('cut.zst'), cut)
        run = w.check_run(w.file('cut.zst'), deadline=30)
        orderly(run, 'packed, cut at %d of %d' % (cut, size))
        if run.status == 0:
            check(not parse_checks(run.stdout)[0].completeness['complete'], 'cut at %d: it says so' % cut)


@case
def cores_with_changed_bytes(w):
    core, _ = real_core(w)
    with open(core, 'rb') as f:
        whole = f.read()
    phoff, = struct.unpack_from('<Q', whole, 32)
    headers = phoff + 56 * struct.unpack_from('<H', whole, 56)[0]
    rng = random.Random(3)
    for number in range(400 if SOAK else 60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 4, 32))):
            # Headers and notes half of the time, the heap and the rest else.
            at = rng.randrange(headers + 8192) if number % 2 else rng.randrange(len(data))
            piece = rng.choice((b'\xff', b'\0', b'\xff' * 8, b'\xff' * 7 + b'\x7f', bytes([rng.randrange(256)])))
            data[at:at + len(piece)] = piece
        path = w.file('changed')
        with open(path, 'wb') as f:
            f.write(data[:len(whole)])
        orderly(w.check_run(path, deadline=60), 'change %d' % number)


@case
def a_core_with_the_wrong_executable(w):
    core, truth = real_core(w)
    right = w.check([core, need_target('check_indirect')])
    check_equal(right.classes, truth_total(truth, 'hold', True), 'with its executable')
    run = w.check_run([core, '/bin/true'])
    orderly(run, 'with another program')
    run = w.check_run([core, '/no/such/program'])
    orderly(run, 'with a program that is not there')


main()
