// SPDX-License-Identifier: Apache-2.0
// Numbers for people, as the command line writes them: binary units, three digits, and what is not known is a dash.

export const NONE = '–';
const MINUS = '−';
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

const three = (v: number) => (v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0));

export type Maybe = number | null | undefined;
const known = (v: Maybe): v is number => v !== null && v !== undefined && Number.isFinite(v);

export function bytes(v: Maybe): string {
	if (!known(v)) return NONE;
	let a = Math.abs(v), u = 0;
	// 1023.5 KiB would be written as 1024 KiB
	for (; a >= 1023.5 && u < UNITS.length - 1; u++) a /= 1024;
	const digits = u ? three(a) : String(Math.round(a));
	return (v < 0 && digits !== '0' ? MINUS : '') + digits + ' ' + UNITS[u];
}

export function count(v: Maybe): string {
	if (!known(v)) return NONE;
	const digits = Math.round(Math.abs(v)).toLocaleString('en-US');
	return (v < 0 && digits !== '0' ? MINUS : '') + digits;
}

/** A change: always with its sign, nothing is ±0. */
export const signed = (v: Maybe, write: (v: number) => string = bytes): string =>
	!known(v) ? NONE : v > 0 ? '+' + write(v) : v < 0 ? write(v) : '±0';

/** Of a whole; shares too small for a digit are not shown as nothing. */
export function percent(share: Maybe): string {
	if (!known(share)) return NONE;
	const a = Math.abs(share) * 100, sign = share < 0 ? MINUS : '';
	if (a > 0 && a < 0.05) return '<0.1 %';
	return sign + (a >= 1000 ? '>1000' : a.toFixed(1)) + ' %';
}

export const rate = (perSecond: Maybe): string => (known(perSecond) ? signed(perSecond, bytes) + '/s' : NONE);

/**
 * A growth in the unit of time in which it is best read: what leaks a few bytes a second is better
 * told by the hour.
 */
export function growth(perSecond: Maybe): string {
	if (!known(perSecond)) return NONE;
	const a = Math.abs(perSecond);
	if (a < 1e-9) return '±0';
	if (a >= 1024) return signed(perSecond) + '/s';
	if (a * 60 >= 1024) return signed(perSecond * 60) + '/min';
	return signed(perSecond * 3600) + '/h';
}

/** 1.2 s, 4m05s, 3h12m, 5d07h */
export function duration(seconds: Maybe): string {
	if (!known(seconds)) return NONE;
	const s = Math.max(0, seconds), two = (v: number) => String(Math.floor(v)).padStart(2, '0');
	if (s < 1e-3) return Math.round(s * 1e6) + ' µs';
	if (s < 1) return Math.round(s * 1e3) + ' ms';
	if (s < 10) return s.toFixed(1) + ' s';
	if (s < 60) return Math.floor(s) + ' s';
	if (s < 3600) return Math.floor(s / 60) + 'm' + two(s % 60) + 's';
	if (s < 86400) return Math.floor(s / 3600) + 'h' + two((s % 3600) / 60) + 'm';
	return Math.floor(s / 86400) + 'd' + two((s % 86400) / 3600) + 'h';
}

export const ago = (seconds: Maybe): string => (known(seconds) ? (seconds < 2 ? 'now' : duration(seconds) + ' ago') : NONE);

const pad = (v: number) => String(v).padStart(2, '0');

/** Local time, to the second; with the day where it is not today's. */
export function clock(seconds: Maybe, now = Date.now() / 1000): string {
	if (!known(seconds)) return NONE;
	const t = new Date(seconds * 1000), today = new Date(now * 1000);
	const time = `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
	if (t.toDateString() === today.toDateString()) return time;
	const day = `${pad(t.getMonth() + 1)}-${pad(t.getDate())} ${time}`;
	return t.getFullYear() === today.getFullYear() ? day : `${t.getFullYear()}-${day}`;
}

export const base = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export const plural = (n: number, one: string, many = one + 's'): string => `${count(n)} ${n === 1 ? one : many}`;

/**
 * A function's name without arguments, template arguments and namespaces: for places too narrow for
 * all of it.  Operators keep theirs.
 */
export function shortName(name: string): string {
	if (name.includes('operator') || name.startsWith('??')) return name;
	let flat = '', nested = 0;
	for (const c of name) {
		if (c === '<' || c === '(') nested++;
		if (!nested) flat += c;
		if ((c === '>' || c === ')') && nested) nested--;
	}
	const last = flat.trim().split('::').pop()!.split(' ').pop()!;
	return last || name;
}

/** Names come from other people's binaries: control characters and direction marks are shown, not obeyed. */
export const clean = (text: string): string =>
	text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, c => '\\x' + c.charCodeAt(0).toString(16).padStart(2, '0'));
