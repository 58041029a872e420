# SPDX-License-Identifier: Apache-2.0
"""One leak seen by preloading, by injecting and from outside; and what seep does with programs of every kind."""
import json
import os

from attach_tools import CALLS, Calls, Spoken, attach, counts_agree, detach, less
from harness import (SOAK, Skip, case, check, check_between, check_equal, main, need_program, need_target)

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../targets')
ROUNDS = 4000 if SOAK else 800


def need_bpf(w):
    t = Calls(w)
    run = w.seep('attach', '--bpf', '--ledger-dir=' + w.ledgers, str(t.pid))
    if run.status:
        raise Skip(' '.join(run.stderr.split())[:200])
    detach(w, t.pid)
    t.end()


def report_and_detach(w, t, a):
    """What is counted inside is there at once; from outside when whoever counts has ended."""
    report = w.report(a['ledger']) if a['path'] == 'inject' else None
    detach(w, t.pid)
    return report or w.report(a['ledger'])


def three_ways(w, tell, full):
    """A report of the same program's same work by each way, and its truth."""
    options = ('--full',) if full else ('--sample=64K',)
    found = {}
    t = Calls(w, env=w.tracked_environment('' if full else 'sample=65536'))
    truth = t.tell(tell)
    found['preload'] = w.report(w.ledger(t.pid)), truth
    t.end()
    for way in ('inject', 'bpf'):
        t = Calls(w)
        a = attach(w, t.pid, '--' + way, *options, path=way)
        truth = t.tell(tell)
        found[way] = report_and_detach(w, t, a), truth
        t.end()
    return found


def own_frames(report, name):
    """The program's own part of the stacks: what stands around it differs by way (the tracker's frames, libc's)."""
    return sorted({tuple(f for f in stack if f in CALLS or f in ('main', 'round_of_calls'))
                   for stack in report.stacks(name)})


@case
def one_leak_three_ways(w):
    need_bpf(w)
    found = three_ways(w, 20, True)
    wanted = found['preload'][0]
    for way, (report, truth) in found.items():
        counts_agree(report, truth, CALLS, way)
        check_equal(report.losses, {}, 'losses of ' + way)
        for name in CALLS:
            check_equal(own_frames(report, name), own_frames(wanted, name), 'stacks of %s by %s' % (name, way))
            check_equal(report.values(name).inuse_bytes, wanted.values(name).inuse_bytes, 'in use by ' + way)


@case
def one_leak_three_ways_sampled(w):
    need_bpf(w)
    for way, (report, truth) in three_ways(w, ROUNDS, False).items():
        check(report.sampled and report.period == 65536, way, 'is not sampled')
        for name in ('make_plain', 'make_zeroed', 'make_aligned', 'make_posix', 'make_c11', 'make_deep', 'make_threaded'):
            values, true = report.values(name), truth[name]['alloc_bytes']
            # an interval is two standard errors: five of them fail one run in a million
            slack = max(2.5 * values.squares ** 0.5, 8 * 65536)
            check_between(values.alloc_bytes, true - slack, true + slack, '%s by %s' % (name, way))


# ---- kinds of programs -----------------------------------------------------------------

def build(w, *command):
    run = w.bare(list(command), deadline=300, env=dict(os.environ, GOCACHE=w.file('gocache'), GOFLAGS='-mod=mod', GO111MODULE='off'))
    if run.status:
        raise Skip('cannot build it here: ' + ' '.join(run.stderr.split())[-200:])


def calls_of(w, path, path_taken, reason=None):
    t = Calls(w, path=path)
    before = t.tell(2)
    a = attach(w, t.pid, '--full', path=path_taken)
    if reason:
        check(reason in a['reason'], 'reason', a)
    t.tell('free')
    truth = less(t.tell(20), before)
    report = report_and_detach(w, t, a)
    counts_agree(report, truth, CALLS, path)
    check_equal(report.losses, {}, 'losses')
    t.end()
    return report


@case
def a_static_program(w):
    need_bpf(w)
    calls_of(w, need_target('attach_calls_static'), 'bpf', 'statically linked')


@case
def a_static_program_without_symbols(w):
    t = Calls(w, path=need_target('attach_calls_stripped'))
    run = attach(w, t.pid, status=2)
    check('no malloc can be found' in run.stderr and 'strip' in run.stderr or 'statically linked' in run.stderr,
          run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    t.tell(1)
    t.end()


@case
def another_allocator_as_a_library(w):
    for name in ('libjemalloc.so.2', 'libtcmalloc_minimal.so.4', 'libmimalloc.so.2.0'):
        library = '/usr/lib/x86_64-linux-gnu/' + name
        if not os.path.exists(library):
            raise Skip('%s is not installed' % library)
        t = Calls(w, env=dict(os.environ, LD_PRELOAD=library))
        before = t.tell(2)
        a = attach(w, t.pid, '--full', path='inject')
        t.tell('free')
        truth, report = less(t.tell(20), before), w.report(a['ledger'])
        counts_agree(report, truth, CALLS, name)
        check(name.split('.')[0] in report.allocator, 'allocator', report.allocator)
        detach(w, t.pid)
        t.end()


@case
def an_allocator_linked_in(w):
    need_bpf(w)
    archive = '/usr/lib/x86_64-linux-gnu/libjemalloc.a'
    if not os.path.exists(archive):
        raise Skip('%s is not installed' % archive)
    build(w, need_program('gcc'), '-O2', '-g', '-fomit-frame-pointer', '-D_GNU_SOURCE', '-fno-builtin-malloc', '-o', w.file('calls'),
          os.path.join(SOURCES, 'attach_calls.c'), archive, '-lpthread', '-ldl', '-lm', '-lstdc++')
    calls_of(w, w.file('calls'), 'bpf', 'brings its own malloc')


def leaks_of(w, command, function, lines=(10, 10), size=1000):
    """A program that leaks as many blocks as it is told to, by injecting: lines[0] before, lines[1] seen."""
    t = Spoken(w, command)
    t.say(lines[0])
    t.expect('done')
    a = attach(w, t.pid, '--full', path='inject')
    t.say(lines[1])
    t.expect('done')
    report = w.report(a['ledger'])
    values = report.values(function)
    check_equal((values.inuse, values.inuse_bytes), (lines[1], lines[1] * size), 'in use under %s of %s' % (
        function, [s for s in report.stacks(None)][:5]))
    run = w.seep('top', '--once', '--json', '--by', 'function', str(t.pid))
    check(any(function in (r['name'] or '') for r in json.loads(run.stdout)['rows']), 'rows of top', run.stdout[:500])
    detach(w, t.pid)
    t.say(lines[0])
    t.expect('done')
    check_equal(w.report(a['ledger']).values(function).inuse, lines[1], 'recorded after detaching')
    t.process.stdin.close()
    check_equal(t.process.wait(30), 0, 'status of the target')


RUST = '''
use std::io::{self, BufRead, Write};
#[inline(never)]
fn leak_in_rust(n: usize) {
    for i in 0..n {
        let mut v: Vec<u8> = Vec::with_capacity(1000);
        v.push(i as u8);
        std::mem::forget(v);
    }
}
fn main() {
    println!("ready");
    io::stdout().flush().unwrap();
    let worker = std::thread::spawn(|| {
        for line in io::stdin().lock().lines() {
            leak_in_rust(line.unwrap().trim().parse().unwrap());
            println!("done");
            io::stdout().flush().unwrap();
        }
    });
    worker.join().unwrap();
}
'''

GO = '''
package main

/*
#include <stdlib.h>
static void *volatile sink;
__attribute__((noinline)) void leak_in_c(int n) {
	for (int i = 0; i < n; i++)
		sink = malloc(1000);
}
*/
import "C"
import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

func main() {
	go func() {
		for i := 0; ; i++ {
			_ = make([]byte, i%5000)
		}
	}()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, _ := strconv.Atoi(lines.Text())
		C.leak_in_c(C.int(n))
		fmt.Println("done")
	}
}
'''


@case
def a_program_in_rust(w):
    with open(w.file('leak.rs'), 'w') as f:
        f.write(RUST)
    build(w, need_program('/usr/bin/rustc', 'rustc'), '-O', '-g', '--edition', '2021', '-o', w.file('leak'), w.file('leak.rs'))
    leaks_of(w, [w.file('leak')], 'leak_in_rust')


@case
def a_program_in_go_that_calls_c(w):
    os.mkdir(w.file('go'))
    with open(w.file('go/leak.go'), 'w') as f:
        f.write(GO)
    build(w, need_program('go'), 'build', '-o', w.file('leak'), w.file('go/leak.go'))
    leaks_of(w, [w.file('leak')], 'leak_in_c')


@case
def a_program_in_go_alone(w):
    """Its runtime has an allocator of its own, which collects garbage: there is no malloc to look at."""
    os.mkdir(w.file('go'))
    with open(w.file('go/wait.go'), 'w') as f:
        f.write('package main\nimport ("bufio"; "fmt"; "os")\nfunc main() { fmt.Println("ready"); '
                'bufio.NewReader(os.Stdin).ReadString(10) }\n')
    build(w, need_program('go'), 'build', '-o', w.file('wait'), w.file('go/wait.go'))
    t = Spoken(w, [w.file('wait')])
    run = attach(w, t.pid, status=2)
    check('no malloc' in run.stderr or 'statically linked' in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    t.end()


if __name__ == '__main__':
    main()
