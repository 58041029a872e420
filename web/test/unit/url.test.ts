// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { DEFAULTS, parse, viewParameters, write, type State } from '../../src/state/url';

const state = (more: Partial<State>): State => ({ ...DEFAULTS, ...more });

describe('the address', () => {
	it('holds the whole state', () => {
		const s = state({
			p: 'pid:4711', show: 'icicle', view: '88', base: 'baseline', value: 'blocks', focus: 'a|b c&d=é', ignore: '^x', hide: 'std::', module: 'libfoo.so', thread: '4712', kind: 'heap', class: 'definite',
			norm: true, noise: true, q: '50%', width: 'base', z: 'deadbeef', fn: 'ns::f(int)', in: '/lib/x', file: '/src/a b.c', line: 13, by: 'module', sort: 'age', t0: 5, t1: 9, theme: 'dark', palette: 'redgreen', list: 'ngi',
		});
		expect(parse(write(s))).toEqual(s);
		for (const key of Object.keys(DEFAULTS) as (keyof State)[]) if (key !== 'from' && key !== 'to') expect(s[key], key).not.toEqual(DEFAULTS[key]);
		const w = state({ p: '1', from: 1000, to: 2000 });
		expect(parse(write(w))).toEqual(w);
	});
	it('is short, and empty by default', () => {
		expect(write(DEFAULTS)).toBe('');
		expect(write(state({ p: '12' }))).toBe('?p=12');
	});
	it('may be wrong without harm', () => {
		expect(parse('?show=nonsense&value=x&line=-3&t0=abc&view=../../etc&base=<script>&by=&from=9&to=3&norm=yes')).toEqual(DEFAULTS);
		expect(parse('?focus=' + 'x'.repeat(5000)).focus).toBe('');
	});
});

describe('the parameters of a view', () => {
	it('are of the latest snapshot, or of now where there is none', () => {
		expect(viewParameters(state({ p: '12' }), true)).toEqual({ view: 'latest:12' });
		expect(viewParameters(state({ p: 'pid:7' }), false)).toEqual({ view: 'now:pid:7' });
		expect(viewParameters(state({ p: '12', view: '88', base: 'baseline' }), true)).toEqual({ view: '88', base: 'baseline:12' });
	});
	it('of a window have no view and no base', () => {
		expect(viewParameters(state({ p: '12', view: '88', base: '80', from: 5, to: 9, value: 'growth', norm: true }), true)).toEqual({ process: '12', from: 5, to: 9, value: 'in_use' });
		expect(viewParameters(state({ p: '12', from: 5, to: 9, value: 'blocks' }), true)).toEqual({ process: '12', from: 5, to: 9, value: 'blocks' });
	});
	it('carry the filters that are set, and no others', () => {
		expect(viewParameters(state({ p: '1', focus: 'a', thread: 't', class: 'possible', norm: true }), true)).toEqual({ view: 'latest:1', focus: 'a', thread: 't' });
		expect(viewParameters(state({ p: '1', value: 'leaked', class: 'possible', base: '3' }), true)).toEqual({ view: 'latest:1', value: 'leaked', class: 'possible' });
		expect(viewParameters(state({ p: '1', base: '3', norm: true }), true)).toEqual({ view: 'latest:1', base: '3', normalize: true });
	});
});
