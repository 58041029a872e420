// SPDX-License-Identifier: Apache-2.0
// What the server tells by itself.  EventSource reconnects alone; after that nothing is known to be
// current, so whoever listens to `hello` fetches anew.
import { effect, signal } from '@preact/signals';
import type { Job, Point, Snapshot } from '../api/types';
import { link, query } from '../api/client';

export type Connection = 'connecting' | 'live' | 'lost';
export const connection = signal<Connection>('connecting');

interface Events {
	hello: { now_ms: number; started_ms: number };
	point: Point;
	processes: Record<string, never>;
	snapshot: Snapshot | { id: number; process: number; deleted: true };
	finding: { process: number; kind: string; id: number };
	job: Job;
}

type Listener<K extends keyof Events> = (data: Events[K]) => void;
const listeners: { [K in keyof Events]: Set<Listener<K>> } = {
	hello: new Set(), point: new Set(), processes: new Set(), snapshot: new Set(), finding: new Set(), job: new Set(),
};

export function on<K extends keyof Events>(kind: K, listener: Listener<K>): () => void {
	listeners[kind].add(listener);
	return () => listeners[kind].delete(listener);
}

export const tell = <K extends keyof Events>(kind: K, data: Events[K]) => listeners[kind].forEach(l => l(data));

let source: EventSource | null = null;

function open(process: string) {
	source?.close();
	source = new EventSource(link('events' + (process ? '?' + query({ process }) : '')));
	for (const kind of Object.keys(listeners) as (keyof Events)[])
		source.addEventListener(kind, event => {
			connection.value = 'live';
			try {
				tell(kind, JSON.parse((event as MessageEvent).data));
			} catch {
				// half a message: the next one, or a reload, says it again
			}
		});
	source.onerror = () => (connection.value = 'lost');
}

/** Follows the process that is shown. */
export const follow = (process: () => string) =>
	effect(() => {
		open(process());
	});
