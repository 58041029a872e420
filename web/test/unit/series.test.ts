// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { Point, Timeline } from '../../src/api/types';
import { append, at, before, sparkPath, stack } from '../../src/model/series';

const line = (): Timeline => ({ from_ms: 0, to_ms: 2000, resolution_ms: 1000, measured: 3, time_ms: [0, 1000, 2000], inuse: [1, 2, 3], alloc: [1, 2, 3], rss: [5, null, 7], pss: [null, null, null], swap: [0, 0, 0], retained: [null, null, null], cgroup: [null, null, null], threads: [1, 1, 1], gaps: [], split: null, marks: [] });
const point = (time_ms: number): Point => ({ process: 1, time_ms, inuse: 9, alloc: 9, rss: 9, pss: null, swap: 0, retained: null, cgroup: null, threads: 2 });

describe('a timeline', () => {
	it('takes a point at its end, as a new one', () => {
		const t = line(), more = append(t, point(3000));
		expect(more.time_ms).toEqual([0, 1000, 2000, 3000]);
		expect(more.inuse).toEqual([1, 2, 3, 9]);
		expect(more).toMatchObject({ to_ms: 3000, measured: 4 });
		expect(t.time_ms.length).toBe(3);
	});
	it('takes no point that is not newer', () => {
		const t = line();
		expect(append(t, point(2000))).toBe(t);
		expect(append(t, point(500))).toBe(t);
	});
	it('finds what was at a moment, past what is not known', () => {
		expect([-1, 0, 999, 1000, 9999].map(t => before(line().time_ms, t))).toEqual([-1, 0, 0, 1, 2]);
		expect(at(line().time_ms, line().rss, 1500)).toBe(5);
		expect(at(line().time_ms, line().rss, 2500)).toBe(7);
		expect(at(line().time_ms, line().pss, 2500)).toBeNull();
		expect(at([], [], 1)).toBeNull();
	});
});

describe('stacked series', () => {
	it('lie on each other, also where one is not known', () => expect(stack([[1, 2, null], [10, null, 30]], 3)).toEqual([[1, 2, null], [11, 2, 30]]));
});

describe('a sparkline', () => {
	it('fills its box', () => {
		const d = sparkPath([0, 5, 10], 100, 20);
		expect(d).toBe('M1.0 18.5L50.0 10.0L99.0 1.5');
	});
	it('does not make noise look like growth, and breaks where nothing is known', () => {
		const ys = [...sparkPath([1000, 1001, 1000], 100, 20).matchAll(/ ([\d.]+)/g)].map(m => Number(m[1]));
		expect(Math.max(...ys) - Math.min(...ys)).toBeLessThan(2);
		expect(sparkPath([1, null, 2, 3], 100, 20).match(/M/g)).toHaveLength(2);
		expect(sparkPath([1], 100, 20)).toBe('');
		expect(sparkPath([null, null], 100, 20)).toBe('');
	});
});
