// SPDX-License-Identifier: Apache-2.0
// The frames of an answer: columns of numbers into one list of strings (docs/API.md, "flame").
// All of it is checked once, on arrival; afterwards every index may be trusted.

export const INLINED = 1; // into its caller
export const ALLOCATOR = 2;
export const LIBRARY = 4;

import { clean } from './format';

export interface RawFrames {
	function: number[];
	file: number[];
	line: number[];
	module: number[];
	flags: number[];
	address: (string | null)[];
}

/** What came is not what docs/API.md says: shown as an error, never drawn. */
export class Damaged extends Error {}

export function demand(ok: boolean, what: string): asserts ok {
	if (!ok) throw new Damaged(`the server's answer is damaged: ${what}`);
}

/** Whole numbers in [low, high), as many as wanted. */
export function column(values: ArrayLike<number> | undefined | null, length: number, low: number, high: number, what: string): Int32Array {
	demand(!!values && values.length === length, `${what} has ${values ? values.length : 'no'} entries, not ${length}`);
	const out = new Int32Array(length);
	for (let i = 0; i < length; i++) {
		const v = values[i];
		if (!(v >= low && v < high) || v !== Math.floor(v)) demand(false, `${what}[${i}] is ${v}`);
		out[i] = v;
	}
	return out;
}

export class Frames {
	readonly count: number;
	private fn: Int32Array;
	private fileOf: Int32Array;
	private lineOf: Int32Array;
	private moduleOf: Int32Array;
	readonly flags: Int32Array;
	private address: (string | null)[];

	/** For people; what the server is asked about are the ones it sent. */
	readonly strings: string[];

	constructor(private sent: string[], raw: RawFrames) {
		demand(Array.isArray(sent) && sent.every(s => typeof s === 'string'), 'strings');
		const strings = (this.strings = sent.map(clean));
		demand(!!raw && Array.isArray(raw.function), 'frames');
		const n = (this.count = raw.function.length);
		this.fn = column(raw.function, n, 0, strings.length, 'frames.function');
		this.fileOf = column(raw.file, n, 0, strings.length, 'frames.file');
		this.lineOf = column(raw.line, n, 0, 2 ** 31, 'frames.line');
		this.moduleOf = column(raw.module, n, 0, strings.length, 'frames.module');
		this.flags = column(raw.flags, n, 0, 65536, 'frames.flags');
		this.address = raw.address ?? [];
	}

	/** "" where neither name nor address is known. */
	name(f: number): string {
		const name = this.strings[this.fn[f]];
		if (name) return name;
		const address = this.address[f];
		return address ? `?? ${address}` : '';
	}

	sentName(f: number): string {
		return this.sent[this.fn[f]];
	}

	sentFile(f: number): string {
		return this.sent[this.fileOf[f]];
	}

	sentModule(f: number): string {
		return this.sent[this.moduleOf[f]];
	}

	/** The file's whole path, or "". */
	file(f: number): string {
		return this.strings[this.fileOf[f]];
	}

	line(f: number): number {
		return this.lineOf[f];
	}

	module(f: number): string {
		return this.strings[this.moduleOf[f]];
	}

	/** A number that frames of one module share. */
	moduleId(f: number): number {
		return this.moduleOf[f];
	}

	functionId(f: number): number {
		return this.fn[f];
	}

	/** session.c:13, or "" */
	at(f: number): string {
		const file = this.file(f), line = this.lineOf[f];
		if (!file) return '';
		const short = file.slice(file.lastIndexOf('/') + 1);
		return line ? `${short}:${line}` : short;
	}

	/** Which frames have a string that fits: a regular expression, or, if it is none, plain text. */
	matching(wanted: string): Uint8Array {
		const test = matcher(wanted), hit = this.strings.map(test), out = new Uint8Array(this.count);
		for (let f = 0; f < this.count; f++) {
			const address = this.address[f];
			out[f] = hit[this.fn[f]] || hit[this.fileOf[f]] || hit[this.moduleOf[f]] || (address && test(address)) ? 1 : 0;
		}
		return out;
	}
}

export function matcher(wanted: string): (s: string) => boolean {
	try {
		const re = new RegExp(wanted, 'i');
		return s => s !== '' && re.test(s);
	} catch {
		const plain = wanted.toLowerCase();
		return s => s.toLowerCase().includes(plain);
	}
}
