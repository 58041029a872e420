// SPDX-License-Identifier: Apache-2.0
// Something fetched that the page depends on: what is asked for may change at any time, the old answer stays
// on the screen until the new one is there, and an answer that comes too late is thrown away.
import { effect, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import { get, Trouble } from '../api/client';

export interface Answer<T> {
	key: string; // what it answers; ''
	data: T | null;
	trouble: Trouble | null;
	loading: boolean;
}

const asTrouble = (e: unknown): Trouble =>
	e instanceof Trouble ? e : new Trouble('page', (e as Error).message || String(e), 'This is a fault of the page or of the server: reload; if it stays, report it.');

/** The last few answers of a kind, for going back and forth between views. */
class Recent {
	private kept = new Map<string, unknown>();

	constructor(private most: number) {}

	get(key: string): unknown {
		const v = this.kept.get(key);
		if (v !== undefined) {
			this.kept.delete(key);
			this.kept.set(key, v);
		}
		return v;
	}

	set(key: string, v: unknown) {
		this.kept.delete(key);
		this.kept.set(key, v);
		while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value!);
	}
}

export interface Resource<T> {
	answer: Signal<Answer<T>>;
	reload(): void;
	dispose(): void;
}

/**
 * key: the path to fetch, or null: nothing now.  stays: may its answer be kept (what it says never changes)?
 * convert: from what is fetched; runs once for each answer.  fetch: instead of GET and JSON.
 */
export function resource<T>(
	key: ReadonlySignal<string | null>,
	{ convert, stays, fetch, most = 6 }: { convert?: (raw: never) => T; stays?: (key: string) => boolean; fetch?: (key: string, signal: AbortSignal) => Promise<T>; most?: number } = {},
): Resource<T> {
	const answer = signal<Answer<T>>({ key: '', data: null, trouble: null, loading: false }), again = signal(0), recent = new Recent(most);
	let current: AbortController | null = null;
	const dispose = effect(() => {
		const path = key.value;
		again.value;
		current?.abort();
		const mine = (current = new AbortController());
		if (path === null) {
			answer.value = { key: '', data: null, trouble: null, loading: false };
			return;
		}
		const known = recent.get(path) as T | undefined;
		if (known !== undefined) {
			answer.value = { key: path, data: known, trouble: null, loading: false };
			return;
		}
		answer.value = { ...answer.peek(), trouble: null, loading: true };
		(fetch ? fetch(path, mine.signal) : get<never>(path, mine.signal).then(raw => (convert ? convert(raw) : (raw as T)))).then(
			data => {
				if (mine.signal.aborted) return;
				if (stays?.(path)) recent.set(path, data);
				answer.value = { key: path, data, trouble: null, loading: false };
			},
			e => {
				if (mine.signal.aborted) return;
				answer.value = { key: path, data: null, trouble: asTrouble(e), loading: false };
			},
		);
	});
	return {
		answer,
		reload: () => {
			again.value++;
		},
		dispose: () => {
			current?.abort();
			dispose();
		},
	};
}
