// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { Damaged, Frames } from '../../src/model/frames';
import { CallTree, layOut, search, type RawTree } from '../../src/model/tree';

//  0 all 100 ─ 1 main 90 ─┬ 2 a 60 ─┬ 3 x 40      before:  100, 100, 20, 20, 0, 80
//                         │         └ 4 y 15
//                         └ 5 b 30
const raw = (more: Partial<RawTree['nodes']> = {}): RawTree => ({
	strings: ['', 'main', 'a', 'x', 'y', 'ns::b()', '/src/f.c', '/lib/m.so'],
	frames: { function: [0, 1, 2, 3, 4, 5], file: [0, 6, 6, 6, 0, 0], line: [0, 1, 2, 3, 0, 0], module: [0, 7, 7, 7, 7, 7], flags: [0, 0, 0, 1, 0, 4], address: [null, null, null, null, null, null] },
	nodes: { parent: [0, 0, 1, 2, 2, 1], frame: [0, 1, 2, 3, 4, 5], value: [100, 90, 60, 40, 15, 30], base: null, ...more },
});

describe('a tree', () => {
	const t = new CallTree(raw());
	it('knows subtrees, depths and what a node has itself', () => {
		expect([...t.end]).toEqual([6, 6, 5, 4, 5, 6]);
		expect([...t.depth]).toEqual([0, 1, 2, 3, 3, 2]);
		expect(t.rows).toBe(4);
		expect([0, 1, 2, 3, 5].map(i => t.self(i))).toEqual([10, 0, 5, 40, 30]);
		expect(t.path(4)).toEqual([0, 1, 2, 4]);
		expect(t.within(4, 2)).toBe(true);
		expect(t.within(5, 2)).toBe(false);
	});
	it('lays children side by side within their parent', () => {
		const { left, width } = layOut(t, 'value');
		expect([...left]).toEqual([0, 0, 0, 0, 40, 60]);
		for (let i = 1; i < t.n; i++) expect(left[i] + width[i]).toBeLessThanOrEqual(left[t.parent[i]] + width[t.parent[i]]);
	});
	it('finds by function, file and module, each stack counted once', () => {
		const { width } = layOut(t, 'value');
		expect(search(t, '', width)).toBeNull();
		const a = search(t, '^a$', width)!;
		expect([...a.hit]).toEqual([0, 0, 1, 0, 0, 0]);
		expect(a).toMatchObject({ boxes: 1, share: 0.6 });
		expect(search(t, 'f\\.c', width)).toMatchObject({ boxes: 3, share: 0.9 });
		expect(search(t, 'ns::b(', width)).toMatchObject({ boxes: 1, share: 0.3 }); // no regular expression: as text
		expect(search(t, 'nothing', width)).toMatchObject({ boxes: 0, share: 0 });
	});
	it('names a node the same in another tree, where its path is the same', () => {
		const other = new CallTree({ ...raw(), nodes: { parent: [0, 0, 1, 1, 3], frame: [0, 1, 5, 2, 4], value: [9, 9, 5, 4, 4], base: null } });
		expect(other.byHash(t.hash(4))).toBe(4);
		expect(other.byHash(t.hash(3))).toBe(0); // not there
		expect(t.byHash('zz')).toBe(0);
		expect(new Set([1, 2, 3, 4, 5].map(i => t.hash(i))).size).toBe(5);
	});
	it('follows a stack as far as it is there', () => {
		expect(t.follow([{ name: 'x', at: 'f.c:3' }, { name: 'a', at: 'f.c:2' }, { name: 'main', at: 'f.c:1' }])).toBe(3);
		expect(t.follow([{ name: 'q', at: '' }, { name: 'a', at: 'f.c:2' }, { name: 'main', at: 'f.c:1' }])).toBe(2);
	});
});

describe('a difference', () => {
	const t = new CallTree(raw({ base: [100, 100, 20, 20, 0, 80] }));
	it('tells change from movement', () => {
		expect(t.change(0)).toBe(0); // grew as much as it shrank
		expect(t.change(2)).toBe(40);
		expect(t.change(5)).toBe(-50);
		expect(t.moved[3]).toBe(20);
		expect(t.moved[2]).toBe(20 + 15 + 5);
		expect(t.moved[5]).toBe(50);
		expect(t.moved[0]).toBe(40 + 50 + 10);
	});
	it('has widths of each side and of what moved', () => {
		expect(layOut(t, 'base').width[5]).toBe(80);
		expect(layOut(t, 'value').width[5]).toBe(30);
		expect([...layOut(t, 'change').left]).toEqual([0, 0, 0, 0, 20, 40]);
	});
});

describe('damaged answers', () => {
	const bad = (nodes: Partial<RawTree['nodes']>) => () => new CallTree(raw(nodes));
	it('are refused, not drawn', () => {
		expect(bad({ parent: [0, 0, 1, 2, 9, 1] })).toThrow(Damaged);
		expect(bad({ parent: [0, 0, 3, 2, 2, 1] })).toThrow(/before its parent/);
		expect(bad({ parent: [0, 0, 1, 2, 0, 2] })).toThrow(Damaged); // not the order of a walk
		expect(bad({ frame: [0, 1, 2, 3, 4, 6] })).toThrow(/nodes.frame\[5\] is 6/);
		expect(bad({ frame: [0, 1, 2, 3, 4, 1.5] })).toThrow(Damaged);
		expect(bad({ value: [1] })).toThrow(Damaged);
		expect(bad({ base: [1] })).toThrow(Damaged);
		expect(() => new Frames(['a', 3 as never], raw().frames)).toThrow(Damaged);
		expect(() => new Frames([''], raw().frames)).toThrow(/frames.function/);
	});
	it('are not believed deep ones either: a chain of 200,000 calls is laid out without recursion', () => {
		const n = 200000, chain = Array.from({ length: n }, (_, i) => Math.max(0, i - 1)), ones = new Array(n).fill(1);
		const t = new CallTree({ ...raw(), nodes: { parent: chain, frame: ones, value: ones, base: null } });
		expect(t.rows).toBe(n);
		expect(layOut(t, 'value').left[n - 1]).toBe(0);
	});
});
