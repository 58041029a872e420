// SPDX-License-Identifier: Apache-2.0
// The whole state of the page, and its place in the address: what you see is what a link shows to
// others.  Defaults are left out, so that addresses stay short; what an address says in error is left out, too.

export const DISPLAYS = ['sites', 'flame', 'icicle', 'top', 'up', 'down', 'callers', 'dot', 'source', 'findings'] as const;
export type Display = (typeof DISPLAYS)[number];

export const VALUES = ['in_use', 'allocated', 'blocks', 'growth', 'leaked'] as const;
export type Value = (typeof VALUES)[number];

export const GROUPS = ['function', 'module', 'thread', 'kind', 'site'] as const;
export type Group = (typeof GROUPS)[number];

export interface State {
	p: string; // PROCESS of the API; '': the list of processes
	show: Display;
	view: string; // snapshot's number, or now, latest, baseline, first; '': latest, or now where there is none
	base: string; // likewise; '': none
	from: number; // a window, ms; 0: none
	to: number;
	value: Value;
	focus: string;
	ignore: string;
	hide: string;
	module: string;
	thread: string;
	kind: string; // '': heap and mmap
	class: string;
	norm: boolean;
	noise: boolean;
	q: string; // what is looked for, not filtered by
	width: 'change' | 'value' | 'base'; // of boxes in a difference
	z: string; // zoomed into: a node's hash
	fn: string; // callers, callees
	in: string; // its module
	file: string; // source
	line: number;
	by: Group; // top
	sort: string;
	t0: number; // part of the timeline that is shown, ms; 0: all
	t1: number;
	theme: '' | 'dark' | 'light';
	palette: '' | 'safe' | 'redgreen';
	list: string; // filter of the list of processes
}

export const DEFAULTS: State = {
	p: '', show: 'sites', view: '', base: '', from: 0, to: 0, value: 'in_use', focus: '', ignore: '', hide: '', module: '', thread: '',
	kind: '', class: '', norm: false, noise: false, q: '', width: 'change', z: '', fn: '', in: '', file: '', line: 0, by: 'function', sort: '',
	t0: 0, t1: 0, theme: '', palette: '', list: '',
};

const ONE_OF: Partial<Record<keyof State, readonly string[]>> = {
	show: DISPLAYS, value: VALUES, by: GROUPS, width: ['change', 'value', 'base'], theme: ['dark', 'light'], palette: ['safe', 'redgreen'],
};
const MOMENT = /^(\d{1,12}|now|latest|baseline|first)$/;

export function parse(search: string): State {
	const q = new URLSearchParams(search), s: State = { ...DEFAULTS }, out = s as unknown as Record<string, unknown>;
	for (const key of Object.keys(DEFAULTS) as (keyof State)[]) {
		const text = q.get(key);
		if (text === null || text.length > 2000) continue;
		const standard = DEFAULTS[key];
		if (typeof standard === 'number') {
			const v = Number(text);
			if (Number.isFinite(v) && v >= 0) out[key] = Math.round(v);
		} else if (typeof standard === 'boolean') out[key] = text === '1';
		else if (ONE_OF[key]) {
			if (ONE_OF[key]!.includes(text)) out[key] = text;
		} else if (key === 'view' || key === 'base') {
			if (MOMENT.test(text)) out[key] = text;
		} else out[key] = text;
	}
	if (!(s.to > s.from)) s.from = s.to = 0;
	if (!(s.t1 > s.t0)) s.t0 = s.t1 = 0;
	return s;
}

export function write(s: State): string {
	const q = new URLSearchParams();
	for (const key of Object.keys(DEFAULTS) as (keyof State)[]) {
		const v = s[key];
		if (v !== DEFAULTS[key]) q.set(key, v === true ? '1' : String(v));
	}
	// readable where it may be
	const text = q.toString().replace(/%3A/g, ':').replace(/%2F/g, '/').replace(/%2C/g, ',');
	return text ? '?' + text : '';
}

/** The parameters that all views of the API have in common. */
export function viewParameters(s: State, latest: boolean): Record<string, string | number | boolean | string[]> {
	const moment = (v: string) => (/^\d+$/.test(v) ? v : `${v}:${s.p}`);
	const out: Record<string, string | number | boolean | string[]> = {};
	if (s.value === 'leaked') out.view = moment(s.view && s.view !== 'now' ? s.view : 'latest');
	else if (s.to) Object.assign(out, { process: s.p, from: s.from, to: s.to });
	else {
		out.view = moment(s.view || (latest ? 'latest' : 'now'));
		if (s.base) out.base = moment(s.base);
	}
	if (s.value !== 'in_use') out.value = s.to && s.value !== 'blocks' && s.value !== 'leaked' ? 'in_use' : s.value;
	for (const key of ['focus', 'ignore', 'hide', 'module', 'thread', 'kind'] as const) if (s[key]) out[key] = s[key];
	if (s.value === 'leaked' && s.class) out.class = s.class;
	if (s.norm && s.base && !s.to) out.normalize = true;
	if (s.noise) out.noise = true;
	return out;
}
