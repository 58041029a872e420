// SPDX-License-Identifier: Apache-2.0
// Rows of a long list, fetched in pages as they come into view.
import { signal } from '@preact/signals';
import { get, Trouble } from '../api/client';

export interface Paged<Row, Head> {
	key: string; // of what these rows are; ''
	total: number;
	head: Head | null;
	rows: Map<number, Row>;
	trouble: Trouble | null;
	loading: boolean;
}

const SIZE = 100;

/**
 * convert: an answer to its rows and what it says besides.  The old rows stay until the first page of a new
 * key is there.
 */
export class Pages<Raw, Row, Head> {
	readonly state = signal<Paged<Row, Head>>({ key: '', total: 0, head: null, rows: new Map(), trouble: null, loading: false });
	private asked = new Set<number>();
	private wanted = '';
	private abort = new AbortController();

	constructor(private convert: (raw: Raw) => { total: number; head: Head; rows: Row[] }) {}

	/** path: with a question mark in it; null: nothing. */
	show(path: string | null, again = false) {
		if (path === this.wanted && !again) return;
		this.abort.abort();
		this.abort = new AbortController();
		this.asked.clear();
		this.wanted = path ?? '';
		if (!path) this.state.value = { key: '', total: 0, head: null, rows: new Map(), trouble: null, loading: false };
		else {
			this.state.value = { ...this.state.peek(), loading: true, trouble: null };
			void this.fetch(0);
		}
	}

	range = (from: number, to: number) => {
		const { key, total } = this.state.peek();
		if (!key || key !== this.wanted) return;
		for (let page = Math.floor(from / SIZE); page * SIZE < Math.min(to, total); page++) if (!this.asked.has(page)) void this.fetch(page);
	};

	private async fetch(page: number) {
		const key = this.wanted, { signal } = this.abort;
		this.asked.add(page);
		try {
			const { total, head, rows } = this.convert(await get<Raw>(`${key}&limit=${SIZE}&offset=${page * SIZE}`, signal));
			if (signal.aborted) return;
			const old = this.state.peek(), all = old.key === key ? new Map(old.rows) : new Map<number, Row>();
			rows.forEach((r, i) => all.set(page * SIZE + i, r));
			this.state.value = { key, total, head: page === 0 ? head : old.head, rows: all, trouble: null, loading: false };
		} catch (e) {
			if (signal.aborted) return;
			this.asked.delete(page);
			const trouble = e instanceof Trouble ? e : new Trouble('page', String(e), null);
			this.state.value = { ...this.state.peek(), loading: false, trouble, ...(page === 0 ? { key, rows: new Map(), total: 0 } : {}) };
		}
	}
}
