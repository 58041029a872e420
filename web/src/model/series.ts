// SPDX-License-Identifier: Apache-2.0
// Timelines: adding a point, the point at a moment, sparklines, what is stacked on what.
import { SERIES, type Point, type Timeline } from '../api/types';

/** With the point at its end; the given one stays as it is.  Points that are older than the end are left out. */
export function append(t: Timeline, p: Point): Timeline {
	const last = t.time_ms[t.time_ms.length - 1];
	if (last !== undefined && p.time_ms <= last) return t;
	const out = { ...t, to_ms: p.time_ms, measured: t.measured + 1, time_ms: [...t.time_ms, p.time_ms] };
	for (const s of SERIES) out[s] = [...(t[s] ?? []), p[s] ?? null];
	return out;
}

/** The place of the last time at or before t; -1: all are later. */
export function before(times: ArrayLike<number>, t: number): number {
	let low = 0, high = times.length;
	while (low < high) {
		const mid = (low + high) >> 1;
		if (times[mid] <= t) low = mid + 1;
		else high = mid;
	}
	return low - 1;
}

/** The value at t, or at the nearest point before; null: none. */
export function at(times: ArrayLike<number>, values: ArrayLike<number | null>, t: number): number | null {
	for (let i = before(times, t); i >= 0; i--) if (values[i] !== null && values[i] !== undefined) return values[i];
	return null;
}

/** An SVG path of a row of values in a box; gaps where null. "": fewer than two values. */
export function sparkPath(values: ArrayLike<number | null>, width: number, height: number): string {
	let low = Infinity, high = -Infinity, n = 0;
	for (let i = 0; i < values.length; i++) {
		const v = values[i];
		if (v === null || v === undefined) continue;
		low = Math.min(low, v);
		high = Math.max(high, v);
		n++;
	}
	if (n < 2) return '';
	// what hardly moves is not made to look as if it did
	if (high - low < high * 0.02) low = high - Math.max(high * 0.02, 1);
	const x = (i: number) => 1 + (i / (values.length - 1)) * (width - 2), y = (v: number) => height - 1.5 - ((v - low) / (high - low)) * (height - 3);
	let out = '', pen = false;
	for (let i = 0; i < values.length; i++) {
		const v = values[i];
		if (v === null || v === undefined) {
			pen = false;
			continue;
		}
		out += `${pen ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
		pen = true;
	}
	return out;
}

/** Sums of the series up to and with each: what to draw so that each lies on those below. */
export function stack(series: ArrayLike<number | null>[], length: number): (number | null)[][] {
	const out: (number | null)[][] = [];
	let below: (number | null)[] = new Array(length).fill(null);
	for (const s of series) {
		const sums: (number | null)[] = new Array(length);
		for (let i = 0; i < length; i++) {
			const v = s[i];
			sums[i] = v === null || v === undefined ? below[i] : (below[i] ?? 0) + v;
		}
		out.push(sums);
		below = sums;
	}
	return out;
}
