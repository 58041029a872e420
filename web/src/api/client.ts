// SPDX-License-Identifier: Apache-2.0
// Asking the server.  Every failure becomes a Trouble: what failed and what to do next, in words.

const ROOT = '/api/v1/';

export class Trouble extends Error {
	constructor(readonly code: string, message: string, readonly hint: string | null, readonly status = 0) {
		super(message);
	}
}

const HINTS: Record<number, string> = {
	401: 'Open the address that seep serve printed at its start: it has the token in it.',
	429: 'It is tried again when you reload.',
};

export const offline = () => new Trouble('offline', 'The server does not answer.', 'Is seep serve still running? This page goes on by itself when it is back.');

async function troubleOf(r: Response): Promise<Trouble> {
	try {
		const { error } = await r.json();
		return new Trouble(String(error.code), String(error.message), error.hint ?? HINTS[r.status] ?? null, r.status);
	} catch {
		return new Trouble('http', `The server answered with status ${r.status}.`, HINTS[r.status] ?? null, r.status);
	}
}

async function ask(path: string, init: RequestInit): Promise<Response> {
	let r: Response;
	try {
		r = await fetch(ROOT + path, { credentials: 'same-origin', ...init });
	} catch (e) {
		if ((e as Error).name === 'AbortError') throw e;
		throw offline();
	}
	if (!r.ok) throw await troubleOf(r);
	return r;
}

export const get = async <T>(path: string, signal?: AbortSignal): Promise<T> => {
	const r = await ask(path, { signal });
	try {
		return (await r.json()) as T;
	} catch (e) {
		if ((e as Error).name === 'AbortError') throw e;
		throw new Trouble('damaged', 'The server broke off in the middle of its answer.', 'Reload.');
	}
};

export const getText = async (path: string, signal?: AbortSignal): Promise<string> => (await ask(path, { signal })).text();

/** Anything that changes something: the header is what a foreign page could not send. */
export const send = async <T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T | null> => {
	const init: RequestInit = { method, headers: { 'X-Seep': '1', 'Content-Type': 'application/json' } };
	if (body !== undefined) init.body = body instanceof Blob ? body : JSON.stringify(body);
	const r = await ask(path, init);
	return r.status === 204 ? null : ((await r.json()) as T);
};

export const query = (parameters: Record<string, string | number | boolean | null | undefined | string[]>): string => {
	const q = new URLSearchParams();
	for (const [key, value] of Object.entries(parameters)) {
		if (Array.isArray(value)) for (const v of value) q.append(key, v);
		else if (value !== null && value !== undefined && value !== '' && value !== false) q.set(key, value === true ? '1' : String(value));
	}
	return q.toString();
};

export const link = (path: string) => ROOT + path;
