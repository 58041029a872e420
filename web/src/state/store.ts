// SPDX-License-Identifier: Apache-2.0
// What the page knows of the server, and what of it is fetched when.  Views read; they fetch nothing
// themselves but what only they show.
import { batch, computed, effect, signal } from '@preact/signals';
import { get, query, send, Trouble } from '../api/client';
import type { About, Findings, FunctionView, Job, Point, Process, ProcessDetail, Server, Snapshot, Timeline } from '../api/types';
import { CallTree, type RawTree } from '../model/tree';
import { append } from '../model/series';
import { connection, follow, on } from './live';
import { resource } from './resource';
import { route } from './route';
import { viewParameters } from './url';

export const server = resource<Server>(signal('server'));
export const processes = resource<{ now_ms: number; processes: Process[] }>(signal('processes'));

/** The server's clock less ours: ages are told by its. */
export const skew = computed(() => {
	const s = server.answer.value.data;
	return s ? s.now_ms - Date.now() : 0;
});
export const serverNow = () => Date.now() + skew.peek();

// ---- one process -----------------------------------------------------------------------------------

export const process = computed(() => route.value.p);
const path = (what: string) => computed(() => (process.value ? `processes/${encodeURIComponent(process.value)}${what}` : null));

export const detail = resource<ProcessDetail>(path(''));
export const snapshots = resource<{ snapshots: Snapshot[] }>(path('/snapshots?limit=2000'));
export const findings = resource<Findings>(path('/findings'));
export const timeline = resource<Timeline>(path('/timeline?points=12000'));

/** The snapshots of this process, newest first; none while they are not known. */
export const shots = computed(() => snapshots.answer.value.data?.snapshots ?? []);
export const hasShots = computed(() => shots.value.length > 0);

/** Points that came since the timeline was fetched are put to its end. */
let pending: Point[] = [];
function flush() {
	const answer = timeline.answer.peek();
	if (!answer.data || !pending.length) return;
	const data = pending.reduce(append, answer.data);
	pending = [];
	timeline.answer.value = { ...answer, data };
}

/** The newest figures of the process. */
export const latestPoint = signal<Point | null>(null);

// ---- views ------------------------------------------------------------------------------------------

/** The parameters of the views, or null where there is nothing to look at yet. */
export const parameters = computed(() => {
	const s = route.value;
	if (!s.p || (snapshots.answer.value.loading && !snapshots.answer.value.data)) return null;
	return viewParameters(s, hasShots.value);
});

/** Counts up when something new is to be seen under the same address: now, latest, the newest check. */
export const version = signal(0);

const stays = (key: string) => !/(now|latest|baseline|first|process)[:=]/.test(decodeURIComponent(key)) && !key.includes('leaked') && !key.includes('growth');
const TREES = ['flame', 'icicle', 'down', 'up'];

const treeKey = computed(() => {
	const s = route.value, p = parameters.value;
	if (!p || !TREES.includes(s.show)) return null;
	version.value;
	return 'view/flame?' + query({ ...p, lines: true, most: 100000, direction: s.show === 'up' ? 'leaf' : '' });
});
export interface TreeView {
	tree: CallTree;
	about: About;
}
export const treeView = resource<TreeView>(treeKey, {
	convert: ((raw: RawTree & { about: About }) => ({ tree: new CallTree(raw), about: raw.about })) as never,
	stays,
});

export const functionView = resource<FunctionView>(
	computed(() => {
		const s = route.value, p = parameters.value;
		if (!p || s.show !== 'callers' || !s.fn) return null;
		return 'view/function?' + query({ ...p, function: s.fn, in: s.in, most: 50000 });
	}),
	{ stays },
);

export function refreshViews() {
	version.value++;
	for (const r of [treeView, functionView]) r.reload();
}

/** What shows the latest is shown anew when there is a later one; not more often than one can read. */
const PATIENCE = 5000;
let newerTimer = 0;
function newer() {
	const { view, to } = route.peek();
	if (newerTimer || to || (view && view !== 'latest')) return;
	newerTimer = window.setTimeout(() => {
		newerTimer = 0;
		if (document.visibilityState === 'visible') {
			refreshViews();
			findings.reload();
		}
	}, PATIENCE);
}

// ---- jobs -------------------------------------------------------------------------------------------

export const jobs = signal<Map<number, Job>>(new Map());

export function noteJob(job: Job) {
	const next = new Map(jobs.peek());
	next.set(job.id, job);
	jobs.value = next;
}

export const ended = (job: Job) => job.state === 'done' || job.state === 'failed' || job.state === 'cancelled';

export async function startJob(kind: string, who: string, options: Record<string, unknown>): Promise<Job> {
	const job = (await send<Job>('POST', 'jobs', { kind, process: who, options }))!;
	noteJob(job);
	void watchJob(job.id);
	return job;
}

/** Events tell of a job's end; where they are lost, it is asked for. */
async function watchJob(id: number) {
	for (let wait = 700; ; wait = Math.min(wait * 1.5, 5000)) {
		await new Promise(r => setTimeout(r, wait));
		const known = jobs.peek().get(id);
		if (!known || ended(known)) return;
		try {
			const job = await get<Job>(`jobs/${id}`);
			const before = jobs.peek().get(id);
			noteJob(job);
			if (ended(job)) {
				if (!before || !ended(before)) jobEnded(job);
				return;
			}
		} catch (e) {
			if (e instanceof Trouble && e.status === 404) return;
		}
	}
}

function jobEnded(job: Job) {
	if (job.state !== 'done') return;
	detail.reload();
	processes.reload();
	if (job.kind === 'snapshot') {
		snapshots.reload();
		refreshViews();
	}
	if (['check', 'doctor', 'trim'].includes(job.kind)) {
		findings.reload();
		timeline.reload();
		if (job.kind === 'check') refreshViews();
	}
	if (job.kind === 'attach' || job.kind === 'detach') timeline.reload();
}

// ---- events -----------------------------------------------------------------------------------------

const mine = (id: number | null) => id !== null && (process.peek() === String(id) || detail.answer.peek().data?.process.id === id);

export function start() {
	follow(() => process.value);
	let helloBefore = false;
	on('hello', () => {
		if (helloBefore) {
			server.reload();
			processes.reload();
			if (process.peek()) for (const r of [detail, snapshots, findings, timeline]) r.reload();
		}
		helloBefore = true;
	});
	on('processes', () => {
		processes.reload();
		if (process.peek()) detail.reload();
	});
	on('point', point => {
		if (!mine(point.process)) return;
		pending.push(point);
		batch(() => {
			latestPoint.value = point;
			flush();
		});
	});
	on('snapshot', s => {
		if (!mine(s.process)) return;
		const answer = snapshots.answer.peek();
		if (!answer.data) return;
		const others = answer.data.snapshots.filter(o => o.id !== s.id);
		snapshots.answer.value = { ...answer, data: { snapshots: 'deleted' in s ? others : [s, ...others].sort((a, b) => b.time_ms - a.time_ms) } };
		if ('deleted' in s) return;
		addMark(s);
		newer();
	});
	on('finding', f => {
		if (mine(f.process)) findings.reload();
	});
	on('job', job => {
		const before = jobs.peek().get(job.id);
		noteJob(job);
		if (ended(job) && before && !ended(before)) jobEnded(job);
	});
	effect(() => {
		process.value;
		pending = [];
		latestPoint.value = null;
	});
	// the list has no events for its figures
	setInterval(() => {
		if (!process.peek() && document.visibilityState === 'visible' && connection.peek() !== 'lost') processes.reload();
	}, 5000);
	// while the server is away
	setInterval(() => {
		if (connection.peek() === 'lost' && server.answer.peek().trouble) server.reload();
	}, 5000);
}

function addMark(s: Snapshot) {
	const answer = timeline.answer.peek();
	if (!answer.data || answer.data.marks.some(m => m.kind === 'snapshot' && m.id === s.id)) return;
	const marks = [...answer.data.marks, { time_ms: s.time_ms, kind: 'snapshot', id: s.id, text: s.label ?? s.reason }];
	timeline.answer.value = { ...answer, data: { ...answer.data, marks } };
}
