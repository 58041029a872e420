// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { bytes, clean, clock, count, duration, growth, percent, shortName, signed } from '../../src/model/format';

describe('bytes', () => {
	it.each([
		[0, '0 B'], [1, '1 B'], [1023, '1023 B'], [1024, '1.00 KiB'], [1048575, '1.00 MiB'], [1023.4 * 1024, '1023 KiB'], [1048576, '1.00 MiB'],
		[26219648, '25.0 MiB'], [2 ** 30 * 9.996, '10.0 GiB'], [-1536, '−1.50 KiB'], [2 ** 63, '8.00 EiB'], [null, '–'], [undefined, '–'], [NaN, '–'],
	])('%s is %s', (v, text) => expect(bytes(v)).toBe(text));
});

describe('changes', () => {
	it('have a sign, and none when nothing changed', () => {
		expect(signed(1024)).toBe('+1.00 KiB');
		expect(signed(-1024)).toBe('−1.00 KiB');
		expect(signed(0)).toBe('±0');
		expect(signed(12, count)).toBe('+12');
		expect(signed(null)).toBe('–');
	});
	it('are told in the unit of time that reads best', () => {
		expect(growth(4096)).toBe('+4.00 KiB/s');
		expect(growth(100)).toBe('+5.86 KiB/min');
		expect(growth(0.5)).toBe('+1.76 KiB/h');
		expect(growth(-3000)).toBe('−2.93 KiB/s');
		expect(growth(0)).toBe('±0');
	});
});

describe('counts and shares', () => {
	it('groups thousands', () => expect(count(1234567)).toBe('1,234,567'));
	it('writes no minus before zero', () => expect(count(-0.2)).toBe('0'));
	it.each([[0.5, '50.0 %'], [0.0004, '<0.1 %'], [0, '0.0 %'], [-0.25, '−25.0 %'], [20, '>1000 %'], [null, '–']])('%s is %s', (v, text) => expect(percent(v)).toBe(text));
});

describe('times', () => {
	it.each([[0.0000005, '1 µs'], [0.25, '250 ms'], [2.345, '2.3 s'], [59.9, '59 s'], [61, '1m01s'], [3599, '59m59s'], [3600, '1h00m'], [90000, '1d01h'], [-5, '0 µs']])('%s s is %s', (v, text) => expect(duration(v)).toBe(text));
	it('names the day when it is another one', () => {
		const now = new Date(2026, 10, 28, 12, 0, 0).getTime() / 1000;
		expect(clock(now - 3600, now)).toBe('11:00:00');
		expect(clock(now - 86400, now)).toBe('11-27 12:00:00');
		expect(clock(now - 365 * 86400, now)).toBe('2025-11-28 12:00:00');
	});
});

describe('names', () => {
	it.each([
		['main', 'main'], ['ns::Type<int, char>::method(int, std::string const&)', 'method'], ['void f<int>(int)', 'f'],
		['std::vector<int>::operator[](unsigned long)', 'std::vector<int>::operator[](unsigned long)'], ['?? 0x1234', '?? 0x1234'], ['(anonymous namespace)::g()', 'g'], ['<lambda>', '<lambda>'],
	])('%s is short for %s', (long, short) => expect(shortName(long)).toBe(short));
	it('show what could fool a reader', () => {
		expect(clean('a\u001b[31mb\nc\u202ed')).toBe('a\\x1b[31mb\\x0ac\\x202ed');
		expect(clean('<b>&amp; süß 中')).toBe('<b>&amp; süß 中');
	});
});
