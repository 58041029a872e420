# SPDX-License-Identifier: Apache-2.0
"""Causes that need more than a malloc and a free: fastbins, huge pages, a runtime's own heap; each named first, its bytes
within 2 % of what the target knows."""
import json
import os
import subprocess

from doctor_look import Target, classes, doctor, near
from harness import Skip, case, check, check_equal, main, need_program


def first(d, cause, what):
    names = [v['cause'] for v in d['verdicts']]
    check(names and names[0] == cause, what, 'verdicts', names, 'wanted first', cause)
    v = d['verdicts'][0]
    check(v['evidence'] and v['remedies'] and v['title'], what, v)
    check_equal(sum(classes(d).values()), d['facts']['rss'], what + ': sum of the classes')
    check(classes(d)['unclassified'] <= d['facts']['rss'] * 0.01, what, 'not classified', classes(d)['unclassified'])
    return v


@case
def fastbins(w):
    t = Target(w, 'fastbins')
    if t.truth['cause'] != 'fastbins':
        raise Skip('this C library has no fastbins')
    d = doctor(w, t.truth['pid'])
    v = first(d, 'fastbins', 'fastbins')
    freed, rss = t.truth['classes']['cached'], d['facts']['rss']
    near(classes(d)['cached'], freed, rss, 'what was freed')
    near(v['bytes'], freed, rss, 'bytes of the verdict')
    near(d['facts']['fastbins'], freed, rss, 'what of it is in fastbins')
    # Seven of each of nine sizes are in the tcache.
    check_equal(d['facts']['tcache'], sum(7 * (32 + 16 * k) for k in range(9)), 'what of it is in the tcache')
    t.end(w)


@case
def mmap_threshold(w):
    t = Target(w, 'mmap_threshold')
    d = doctor(w, t.truth['pid'])
    v = first(d, 'mmap-threshold', 'mmap_threshold')
    freed, rss = t.truth['classes']['free_bins'], d['facts']['rss']
    near(classes(d)['free_bins'], freed, rss, 'what was freed')
    near(v['bytes'], freed, rss, 'bytes of the verdict')
    check(d['facts']['mmap_threshold'] > 31 << 20, 'mmap_threshold', d['facts']['mmap_threshold'])
    commands = [r['command'] for r in v['remedies']]
    check('seep trim %d' % t.truth['pid'] in commands, 'remedies', commands)
    # The same bytes are not claimed twice.
    check(not [c for c in d['verdicts'] if c['cause'] in ('heap-holes', 'pinned-top', 'heap-top')], d['verdicts'])
    t.end(w)


@case
def small_blocks_under_a_high_threshold(w):
    """Large free chunks, but of small blocks that were merged: with another threshold they would be there as well."""
    t = Target(w, 'holes_raised')
    d = doctor(w, t.truth['pid'])
    v = first(d, 'heap-holes', 'holes_raised')
    check(d['facts']['mmap_threshold'] > 31 << 20, 'mmap_threshold', d['facts']['mmap_threshold'])
    near(v['bytes'], t.truth['classes']['free_bins'], d['facts']['rss'], 'bytes of the verdict')
    check('mmap-threshold' not in [c['cause'] for c in d['verdicts']], d['verdicts'])
    t.end(w)


@case
def huge_pages(w):
    t = Target(w, 'huge')
    if t.truth['cause'] != 'huge-pages':
        raise Skip('the kernel gave no huge pages: transparent_hugepage is "never", or memory is in pieces')
    for options in ((), ('--no-clone',)):
        d = doctor(w, t.truth['pid'], *options)
        table, rss = t.truth['classes']['anonymous'], d['facts']['rss']
        v = first(d, 'huge-pages', 'huge pages')
        near(classes(d)['anonymous'], table, rss, 'the table')
        # All but the page of each 2 MiB that has the byte.
        near(v['bytes'], table - table // (2 << 20) * 4096, rss, 'bytes of the verdict')
        check_equal(v['problem'], True, 'a problem')
    t.end(w)


JAVA = '''
import java.lang.management.*;
public class Held {
    static byte[][] held = new byte[100][];
    public static void main(String[] args) throws Exception {
        long other = 0;
        for (int i = 0; i < held.length; i++) held[i] = new byte[1 << 20];
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans())
            if (pool.getType() != MemoryType.HEAP) other += pool.getUsage().getCommitted();
        System.out.println(other);
        System.in.read();
    }
}
'''


def runtime(w, command, name):
    """A program over a runtime, which says a figure when its heap is there: the figure, the first verdict, the look."""
    process = w.start(command, stdin=subprocess.PIPE)
    line = process.stdout.readline()
    check(line, name, 'said nothing and ended:', process.poll())
    d = doctor(w, process.pid)
    check_equal(d['runtime'], name, 'runtime')
    v = first(d, 'runtime-heap', name)
    check(name in v['title'], 'title', v['title'])
    check(w.finish(process, stdin='\n').status == 0, name, 'ended with', process.poll())
    return json.loads(line), v, d


@case
def java_heap(w):
    heap = 512 << 20
    java, javac = need_program('java'), need_program('javac')
    with open(w.file('Held.java'), 'w') as f:
        f.write(JAVA)
    check_equal(w.bare([javac, '-d', w.path, w.file('Held.java')], deadline=300).status, 0, 'javac')
    for collector in ('Serial', 'G1'):
        # All of the heap is touched when it starts: what it was given is resident.
        other, v, d = runtime(w, [java, '-XX:+Use%sGC' % collector, '-Xms512m', '-Xmx512m', '-XX:+AlwaysPreTouch',
                                  '-XX:-UsePerfData', '-cp', w.path, 'Held'], 'Java')
        if collector == 'Serial':
            near(v['bytes'], heap + other, d['facts']['rss'], 'heap, code and classes')
        else:  # whose tables beside the heap take a tenth of it at most
            check(heap <= v['bytes'] - other <= heap * 1.1, collector, v['bytes'], 'heap', heap, 'other', other)
        check(any('jcmd %d' % d['process']['pid'] in (r['command'] or '') for r in v['remedies']), v['remedies'])


# What Go counts of its tables is not all resident.  But for a little data, all that is anonymous is its own.
GO = '''
package main

import ("fmt"; "os"; "runtime"; "strings")

var held [][]byte

func main() {
	for i := 0; i < 256; i++ {
		b := make([]byte, 1<<20)
		for k := range b { b[k] = 1 }
		held = append(held, b)
	}
	runtime.GC()
	text, _ := os.ReadFile("/proc/self/status")
	var kb int
	fmt.Sscanf(strings.SplitN(string(text), "RssAnon:", 2)[1], "%d", &kb)
	fmt.Println(kb * 1024)
	os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(held)
}
'''


@case
def go_heap(w):
    """It has no library that would tell: static, and stripped as well."""
    go = need_program('go')
    with open(w.file('held.go'), 'w') as f:
        f.write(GO)
    run = w.bare([go, 'build', '-ldflags=-s -w', '-o', w.file('held'), w.file('held.go')], deadline=300,
                 env=dict(os.environ, GOCACHE=w.file('cache'), GOFLAGS='-p=2', GO111MODULE='off'))
    check_equal(run.status, 0, 'go build ' + run.describe())
    held, v, d = runtime(w, [w.file('held')], 'Go')
    check(v['bytes'] >= 256 << 20, 'what the program holds', v['bytes'])
    near(v['bytes'], held, d['facts']['rss'], "Go's heap and what it needs for it")


NODE = '''
const held = [], fs = require('fs'), v8 = require('v8');
for (let i = 0; i < 256; i++) held.push(new Array(131072).fill(i + 0.5));
gc();
fs.writeSync(1, v8.getHeapStatistics().total_physical_size + '\\n');
fs.readSync(0, Buffer.alloc(1));
if (!held.length) process.exit(1);
'''


@case
def node_heap(w):
    heap, v, d = runtime(w, [need_program('node'), '--expose-gc', '-e', NODE], 'Node')
    near(v['bytes'], heap, d['facts']['rss'], "V8's heap")


PYTHON = '''
import os, re, sys
held = [[float(i)] for i in range(1000000)]
at = os.memfd_create('stats')
os.dup2(at, 2)
sys._debugmallocstats()
os.lseek(at, 0, 0)
said = os.read(at, 1 << 20).decode().replace(',', '')
arenas = int(re.search(r'arenas \\* \\d+ bytes/arena *= *(\\d+)', said)[1])
unused = int(re.search(r'unused pools \\* \\d+ bytes *= *(\\d+)', said)[1])
print(arenas - unused, flush=True)
sys.stdin.read(1)
'''


@case
def python_heap(w):
    arenas, v, d = runtime(w, ['/usr/bin/python3', '-c', PYTHON], 'Python')
    near(v['bytes'], arenas, d['facts']['rss'], 'arenas of its objects')


if __name__ == '__main__':
    main()
