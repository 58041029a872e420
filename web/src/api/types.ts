// SPDX-License-Identifier: Apache-2.0
// What docs/API.md says, as types.  Members that the page does not use are left out.
import type { RawFrames } from '../model/frames';

type N = number | null;

export interface Server {
	seep: string;
	hostname: string;
	user: string;
	uid: number;
	now_ms: number;
	auth: 'none' | 'token';
	watching: string[];
	every_s: N;
	store: { path: string; bytes: number; limit_bytes: number; oldest_ms: N; error: string | null };
}

export type ProcessState = 'running' | 'exited' | 'killed' | 'execed' | 'file';

export interface Process {
	id: N;
	pid: number;
	name: string;
	command: string;
	user: string | null;
	state: ProcessState;
	started_ms: N;
	ended_ms: N;
	end: string | null;
	tracked: boolean;
	mode: 'full' | 'sampled' | null;
	period: N;
	attached: boolean;
	active: boolean;
	allocator: string | null;
	watched: boolean;
	recorded: boolean;
	snapshots: number;
	label: string | null;
	inuse_bytes: N;
	inuse_blocks: N;
	alloc_bytes: N;
	rss_bytes: N;
	pss_bytes: N;
	swap_bytes: N;
	growth: N;
	rss_growth: N;
	cgroup_bytes: N;
	cgroup_limit_bytes: N;
}

export interface Option {
	name: string;
	title: string;
	type: 'bool' | 'text' | 'size' | 'seconds' | 'choice';
	default: string | number | boolean | null;
	choices: string[] | null;
}

export interface Action {
	kind: string;
	title: string;
	available: boolean;
	why_not: string | null;
	account: string[];
	changes_target: boolean;
	needs_dry_run: boolean;
	options: Option[];
}

export interface ProcessDetail {
	process: Process;
	baseline: N;
	first_ms: N;
	last_ms: N;
	watch: { every_s: number } | null;
	threads: N;
	cgroup: string | null;
	ledger_bytes: N;
	latest: { snapshot: N; check: N; doctor: N; trim: N };
	actions: Action[];
	pprof: string[];
}

export interface Mark {
	time_ms: number;
	kind: string;
	id: N;
	text: string | null;
}

export const SERIES = ['inuse', 'alloc', 'rss', 'pss', 'swap', 'retained', 'cgroup', 'threads'] as const;
export type Series = (typeof SERIES)[number];

export type Timeline = Record<Series, N[]> & {
	from_ms: number;
	to_ms: number;
	resolution_ms: number;
	measured: number;
	time_ms: number[];
	gaps: [number, number][];
	split: { keys: string[]; titles: string[]; time_ms: number[]; values: N[][]; total: N[] } | null;
	marks: Mark[];
};

export type Point = Record<Series, N> & { process: number; time_ms: number };

export interface Snapshot {
	id: number;
	process: number;
	time_ms: number;
	reason: string | null;
	label: string | null;
	pinned: boolean;
	baseline: boolean;
	format: string;
	sampled: boolean;
	inuse_bytes: N;
	inuse_blocks: N;
	rss_bytes: N;
	sites: N;
}

export interface About {
	process: N;
	command: string;
	title: string;
	view: { snapshot?: N; check?: N; time_ms: N; label: string | null; reason: string | null } | null;
	base: { snapshot?: N; time_ms: N; label: string | null; reason: string | null } | null;
	window: { from_ms: number; to_ms: number; exact: boolean; how: 'blocks' | 'growth'; asked_to_ms: number } | null;
	value: string;
	unit: 'bytes' | 'blocks';
	diff: boolean;
	sampled: boolean;
	period: N;
	normalize: boolean;
	total: number;
	base_total: N;
	low: N;
	high: N;
	elapsed_ns: N;
	sites: number;
	left_out: number;
	warnings: string[];
}

export interface TopRow {
	rank: number;
	name: string;
	module: string | null;
	file: string | null;
	line: N;
	self: number;
	total: number;
	self_base: N;
	total_base: N;
	blocks: N;
	blocks_base: N;
	alloc_bytes: N;
	alloc_blocks: N;
	freed_blocks: N;
	low: N;
	high: N;
	noise: boolean;
	oldest_age_ns: N;
	kind: string | null;
	tid: N;
	ended: boolean | null;
	site: string | null;
	stack: number[] | null;
	look_here: N;
}

export interface Top {
	about: About;
	by: string;
	rows_total: number;
	strings: string[];
	frames: RawFrames;
	rows: TopRow[];
}

export type Verdict = 'growing' | 'slowing' | 'steady' | 'shrinking' | 'jumpy' | 'new' | 'unknown';

export interface SiteRow {
	site: string;
	rank: number;
	kind: string;
	stack: number[];
	look_here: N;
	inuse_bytes: number;
	inuse_blocks: N;
	alloc_bytes: N;
	alloc_blocks: N;
	freed_blocks: N;
	base_bytes: N;
	share: N;
	low: N;
	high: N;
	oldest_age_ns: N;
	growth: N;
	verdict: Verdict;
	evidence: string | null;
	leak: string | null;
	leaked_bytes: N;
	history: N[] | null;
}

export interface Sites {
	about: About;
	rows_total: number;
	strings: string[];
	frames: RawFrames;
	history: { time_ms: number[]; snapshots: number[] } | null;
	rows: SiteRow[];
}

export interface FunctionView {
	about: About;
	function: string;
	module: string | null;
	self: number;
	total: number;
	self_base: N;
	total_base: N;
	strings: string[];
	frames: RawFrames;
	callers: Nodes;
	callees: Nodes;
}

export interface Nodes {
	parent: number[];
	frame: number[];
	value: number[];
	base: number[] | null;
}

export interface Source {
	about: About;
	file: string;
	readable: boolean;
	why_not: string | null;
	first: number;
	lines: string[];
	total_lines: number;
	changed: boolean;
	hot: { line: number[]; self: number[]; total: number[]; self_base: number[] | null; total_base: number[] | null };
}

export type Document = any; // of seep doctor, check, trim: each card looks for what it needs

export interface GrowthSite {
	site: string;
	function: string | null;
	file: string | null;
	line: N;
	growth: N;
	inuse_bytes: N;
	verdict: Verdict;
	evidence: string | null;
}

export interface Findings {
	process: number;
	doctor: { id: number; time_ms: number; document: Document } | null;
	check: { id: number; time_ms: number; document: Document } | null;
	trim: { id: number; time_ms: number; dry_run: boolean; document: Document } | null;
	growth: { verdict: Verdict; evidence: string | null; rate: N; since_ms: N; sites: GrowthSite[] } | null;
}

export interface Job {
	id: number;
	kind: string;
	process: N;
	pid: N;
	state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
	progress: N;
	message: string | null;
	created_ms: N;
	started_ms: N;
	ended_ms: N;
	command: string | null;
	account: string[];
	result: any;
	error: { code: string; message: string; hint: string | null } | null;
}
