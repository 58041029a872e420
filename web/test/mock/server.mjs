// SPDX-License-Identifier: Apache-2.0
// A server that speaks docs/API.md about processes that never were, for the page's tests.
//
//     node test/mock/server.mjs [PORT]      prints its address
//
// It serves web/dist under the policy that the real server sets, so that whatever the page may not do fails here, too.
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flame, large, random, select, service } from './data.mjs';

const here = dirname(fileURLToPath(import.meta.url)), DIST = join(here, '..', '..', 'dist');
export const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const MiB = 1 << 20;

class Refusal extends Error {
	constructor(status, code, message, hint = null) {
		super(message);
		Object.assign(this, { status, body: { error: { code, message, hint } } });
	}
}
const missing = what => new Refusal(404, 'not_found', `there is no ${what}`, 'GET /api/v1/processes lists them.');

// ---- processes --------------------------------------------------------------------------------------

function makeProcesses(now) {
	const base = (id, pid, name, more) => ({
		id, pid, name, command: `./${name}`, exe: `/srv/${name}`, uid: 1000, user: 'www', state: 'running', started_ms: now - 3600e3, ended_ms: null, end: null, tracked: false, mode: null, period: null,
		attached: false, active: false, allocator: null, watched: false, recorded: id !== null, snapshots: 0, label: null, inuse_bytes: null, inuse_blocks: null, alloc_bytes: null,
		rss_bytes: 50 * MiB, pss_bytes: null, swap_bytes: 0, growth: null, rss_growth: null, cgroup_bytes: null, cgroup_limit_bytes: null, ...more,
	});
	const list = [
		base(1, 4711, 'service', { command: './service --port 8080', tracked: true, mode: 'full', period: 0, active: true, allocator: 'glibc', watched: true, cgroup_limit_bytes: 512 * MiB, span: 3600, every: 120, tree: service() }),
		base(2, 5120, 'bigd', { command: '/opt/bigd/bin/bigd --config /etc/bigd.conf --shards 12', tracked: true, mode: 'sampled', period: 524288, active: true, allocator: 'jemalloc', watched: true, label: 'canary', span: 7 * 86400, every: 86400, lazy: () => large(50000), user: 'bigd' }),
		base(3, 3999, 'importer', { command: './importer --all', state: 'killed', ended_ms: now - 600e3, end: "The kernel's out-of-memory killer struck while it ran.", mode: 'full', allocator: 'glibc', span: 1800, every: 300, tree: large(300, 5, 900) }),
		base(4, 6001, 'fresh', { command: './fresh', tracked: true, mode: 'full', period: 0, active: true, allocator: 'mimalloc', attached: true, span: 0, every: 0, tree: large(3, 5, 9) }),
		base(null, 4242, '<img src=x onerror=alert(1)>', { command: '<img src=x onerror="document.title=1">\n\u001b[31mred\u202eevil', rss_bytes: 3 * MiB, allocator: 'glibc' }),
	];
	const r = random(3), names = ['nginx', 'postgres', 'python3', 'redis-server', 'systemd-journald', 'dockerd', 'node', 'java', 'sshd', 'cron'];
	for (let i = 0; i < 140; i++) list.push(base(null, 800 + i * 37, names[Math.floor(r() * names.length)], { rss_bytes: Math.floor(Math.exp(13 + r() * 8)), rss_growth: r() < 0.2 ? r() * 3000 : 0, allocator: ['glibc', 'jemalloc', 'tcmalloc', null][Math.floor(r() * 4)], user: r() < 0.5 ? 'root' : 'www', started_ms: now - r() * 9e8 }));
	return list;
}

export function startServer({ port = 0, host = '127.0.0.1', quiet = true } = {}) {
	const t0 = Date.now(), all = makeProcesses(t0), requests = [], jobs = [], streams = new Set(), cache = new Map();
	const findings = new Map(), state = { fail: null, extraShots: [], slow: 0 };

	const treeOf = p => (p.tree ??= p.lazy());
	const start = p => p.ended_ms ? p.ended_ms - p.span * 1000 : t0 - p.span * 1000; // of the recording
	const seconds = (p, ms) => (ms - start(p)) / 1000;
	const shotsOf = p => {
		const out = [];
		if (p.every) for (let s = 0, i = 0; s <= p.span; s += p.every, i++) out.push({ id: p.id * 1000 + i, time_ms: start(p) + s * 1000, reason: `every ${p.every}s`, label: i === 3 ? 'before deploy' : null, baseline: i === 1 });
		out.push(...state.extraShots.filter(s => s.process === p.id));
		return out.map(s => ({ process: p.id, pinned: false, format: 'seep snapshot', sampled: p.mode === 'sampled', period: p.period, state: 'running', ...s, inuse_bytes: p.span > 1e5 ? 3e9 : total(p, seconds(p, s.time_ms)), inuse_blocks: 1000, alloc_bytes: 1, alloc_blocks: 1, peak_bytes: 1, rss_bytes: 80 * MiB, sites: treeOf2(p), has_blocks: true, stored_bytes: 4096 })).reverse();
	};
	const treeOf2 = p => (p.lazy && !p.tree ? 50001 : treeOf(p).sites.length);
	const total = (p, s) => treeOf(p).sites.reduce((sum, x) => sum + x.at(s), 0);
	const find = id => {
		const p = all.find(p => String(p.id) === id || `pid:${p.pid}` === id);
		if (!p) throw missing(`process ${id}`);
		return p;
	};
	const publicly = p => {
		const { tree, lazy, span, every, ...rest } = p, running = p.state === 'running';
		if (p.tracked || p.state === 'killed') {
			const s = seconds(p, running ? Date.now() : p.ended_ms);
			Object.assign(rest, { inuse_bytes: p.lazy ? 3.1e9 : total(p, s), inuse_blocks: 12345, alloc_bytes: 9e9, rss_bytes: p.lazy ? 3.4e9 : total(p, s) + 40 * MiB, growth: p.id === 4 ? null : p.lazy ? 4150 : 29127, rss_growth: 31000, snapshots: p.every ? shotsOf(p).length : 0, cgroup_bytes: p.cgroup_limit_bytes ? total(p, s) + 60 * MiB : null });
		}
		return rest;
	};

	// ---- views -------------------------------------------------------------------------------------
	function moment(text, what) {
		const m = /^(?:(\d+)|(now|latest|baseline|first):(.+))$/.exec(text ?? '');
		if (!m) throw new Refusal(400, 'bad_parameter', `${what}=${text} is no moment`);
		if (m[1]) {
			const p = find(String(Math.floor(Number(m[1]) / 1000) || 1)), s = shotsOf(p).find(s => s.id === Number(m[1]));
			if (!s) throw missing(`snapshot ${m[1]}`);
			return { p, ms: s.time_ms, shot: s };
		}
		const p = find(m[3]), shots = shotsOf(p);
		if (!p.tree && !p.lazy) throw new Refusal(404, 'no_snapshot', 'nothing is recorded of this process', 'Attach to it.');
		if (m[2] === 'now') return { p, ms: p.ended_ms ?? Date.now(), shot: null };
		if (!shots.length) throw new Refusal(404, 'no_snapshot', `nothing is recorded of process ${m[3]} yet`, 'POST /api/v1/jobs with kind snapshot takes one.');
		const s = m[2] === 'latest' ? shots[0] : m[2] === 'first' ? shots.at(-1) : shots.find(s => s.baseline) ?? shots.at(-1);
		return { p, ms: s.time_ms, shot: s };
	}
	function view(q) {
		const value = q.get('value') ?? 'in_use', options = { value, focus: q.getAll('focus'), ignore: q.getAll('ignore'), hide: q.getAll('hide'), module: q.get('module'), thread: q.get('thread'), kind: q.get('kind') };
		for (const key of ['focus', 'ignore', 'hide']) for (const re of options[key])
			try { new RegExp(re); } catch { throw new Refusal(400, 'bad_regex', `${key}: "${re}" is no regular expression`, 'Brackets and parentheses come in pairs; write \\( for a parenthesis itself.'); }
		let now, base = null, window = null;
		if (q.get('from') && !q.get('view')) {
			const p = find(q.get('process')), to = Number(q.get('to')), from = Number(q.get('from')), shots = shotsOf(p);
			const end = shots.reduce((b, s) => (Math.abs(s.time_ms - to) < Math.abs(b.time_ms - to) ? s : b));
			now = { p, ms: end.time_ms, shot: end };
			base = { ms: from };
			window = { from_ms: from, to_ms: end.time_ms, exact: true, how: 'blocks', asked_to_ms: to };
			options.window = true;
		} else {
			now = moment(q.get('view'), 'view');
			if (q.get('base')) base = moment(q.get('base'), 'base');
			else if (value === 'growth') base = moment(`baseline:${now.p.id}`, 'base');
		}
		const t = treeOf(now.p), chosen = select(t, seconds(now.p, now.ms), base ? seconds(now.p, base.ms) : null, options), sum = chosen.rows.reduce((s, r) => s + r.value, 0);
		let baseSum = chosen.rows.reduce((s, r) => s + (r.base ?? 0), 0);
		if (q.get('normalize') && baseSum) {
			for (const r of chosen.rows) r.base = Math.round((r.base * sum) / baseSum);
			baseSum = sum;
		}
		const told = m => ({ snapshot: m.shot?.id ?? null, time_ms: m.ms, label: m.shot?.label ?? null, reason: m.shot?.reason ?? null });
		return {
			p: now.p, t, chosen, about: {
				process: now.p.id, command: now.p.command, title: value, view: told(now), base: base?.p ? told(base) : null, window, value, unit: value === 'blocks' ? 'blocks' : 'bytes', diff: !!(base?.p && value !== 'growth'),
				sampled: now.p.mode === 'sampled', period: now.p.period, normalize: !!q.get('normalize'), total: sum, base_total: baseSum, low: null, high: null, elapsed_ns: null, sites: chosen.rows.length, left_out: 0, warnings: [],
			},
		};
	}
	const shared = t => ({ strings: t.names.strings, frames: t.names.frames });
	const stackOf = (t, node) => {
		const out = [];
		for (let i = node; i; i = t.parent[i]) out.push(t.frame[i]);
		return out;
	};
	/** Only the frames that rows name, as the real server does. */
	function trimmed(t, stacks) {
		const to = new Map([[0, 0]]), order = [0], strings = [''], ids = new Map([['', 0]]);
		const out = stacks.map(s => s.map(f => {
			if (!to.has(f)) {
				to.set(f, order.length);
				order.push(f);
			}
			return to.get(f);
		}));
		const str = s => {
			if (!ids.has(s)) {
				ids.set(s, strings.length);
				strings.push(s);
			}
			return ids.get(s);
		}, F = t.names.frames, S = t.names.strings;
		return { strings, stacks: out, frames: { function: order.map(f => str(S[F.function[f]])), file: order.map(f => str(S[F.file[f]])), line: order.map(f => F.line[f]), module: order.map(f => str(S[F.module[f]])), flags: order.map(f => F.flags[f]), address: order.map(f => F.address[f]) } };
	}
	const lookHere = (t, stack) => Math.max(0, stack.findIndex(f => !(t.names.frames.flags[f] & 6)));
	const age = (p, site) => Math.round((p.span || 60) * 0.97 * 1e9 * (0.3 + 0.7 * ((site.node * 7919) % 997) / 997));

	function top(q) {
		const v = view(q), { t, chosen, about } = v, by = q.get('by') ?? 'function', groups = new Map(), F = t.names.frames, S = t.names.strings;
		const entry = (key, make) => groups.get(key) ?? groups.set(key, { self: 0, total: 0, self_base: about.diff ? 0 : null, total_base: about.diff ? 0 : null, blocks: 0, oldest: 0, ...make() }).get(key);
		const add = (g, r, self) => {
			g.total += r.value;
			if (about.diff) g.total_base += r.base;
			if (!self) return;
			g.self += r.value;
			if (about.diff) g.self_base += r.base;
			g.blocks += Math.round(r.value / r.site.size);
			g.oldest = Math.max(g.oldest, age(v.p, r.site));
		};
		for (const r of chosen.rows) {
			const stack = stackOf(t, r.site.node);
			if (by === 'site') add(entry(r.site.site, () => ({ name: S[F.function[stack[lookHere(t, stack)]]], site: r.site.site, stack, look_here: lookHere(t, stack), kind: r.site.kind, module: S[F.module[stack[0]]] })), r, true);
			else if (by === 'thread') add(entry(r.site.thread, () => ({ name: r.site.thread === 1 ? 'main' : `worker-${r.site.thread}`, tid: 4710 + r.site.thread, ended: false })), r, true);
			else if (by === 'kind') add(entry(r.site.kind, () => ({ name: r.site.kind, kind: r.site.kind })), r, true);
			else {
				const seen = new Set();
				stack.forEach((f, i) => {
					const key = by === 'module' ? F.module[f] : F.function[f];
					if (seen.has(key)) return;
					seen.add(key);
					add(entry(key, () => ({ name: S[key], module: S[F.module[f]], file: by === 'module' ? null : S[F.file[f]] || null, line: by === 'module' ? null : F.line[f] || null })), r, i === 0);
				});
			}
		}
		const needle = (q.get('q') ?? '').toLowerCase(), rows = [...groups.values()].filter(g => !needle || g.name.toLowerCase().includes(needle)), sort = q.get('sort') ?? 'self';
		const key = { self: g => g.self, value: g => g.self, total: g => g.total, growth: g => g.self - (g.self_base ?? 0), blocks: g => g.blocks, age: g => g.oldest }[sort];
		rows.sort(sort === 'name' ? (a, b) => (a.name < b.name ? -1 : 1) : (a, b) => key(b) - key(a));
		const offset = Number(q.get('offset') ?? 0), part = rows.slice(offset, offset + Number(q.get('limit') ?? 200)), cut = trimmed(t, part.map(g => g.stack ?? []));
		return {
			about, by, rows_total: rows.length, strings: cut.strings, frames: cut.frames,
			rows: part.map((g, i) => ({ rank: offset + i + 1, name: g.name, module: g.module ?? null, file: g.file ?? null, line: g.line ?? null, self: g.self, total: g.total, self_base: g.self_base, total_base: g.total_base, blocks: g.blocks, blocks_base: null, alloc_bytes: g.self * 2, alloc_blocks: g.blocks * 2, freed_blocks: g.blocks, low: null, high: null, noise: false, oldest_age_ns: g.oldest || null, kind: g.kind ?? null, tid: g.tid ?? null, ended: g.ended ?? null, site: g.site ?? null, stack: g.stack ? cut.stacks[i] : null, look_here: g.look_here ?? null })),
		};
	}

	function sites(p, q) {
		const own = new URLSearchParams(q);
		if (!own.get('view')) own.set('view', `latest:${p.id}`);
		own.delete('from');
		const v = view(own), { t, chosen, about } = v, shots = shotsOf(p).slice(0, 40).reverse(), sum = about.total || 1, sort = q.get('sort') ?? 'inuse', courses = new Map();
		const course = r => courses.get(r) ?? courses.set(r, shots.map(s => r.site.at(seconds(p, s.time_ms)))).get(r);
		const rate = r => (shots.length > 1 ? (r.site.at(seconds(p, shots.at(-1).time_ms)) - r.site.at(seconds(p, shots[0].time_ms))) / ((shots.at(-1).time_ms - shots[0].time_ms) / 1000) : null);
		const rank = { inuse: r => r.value, growth: r => rate(r) ?? 0, change: r => r.value - (r.base ?? 0), blocks: r => r.value / r.site.size, age: r => age(p, r.site), alloc: r => r.value }[sort];
		const keyed = chosen.rows.map(r => [rank(r), r]).sort((a, b) => b[0] - a[0]), offset = Number(q.get('offset') ?? 0), part = keyed.slice(offset, offset + Number(q.get('limit') ?? 100)).map(k => k[1]);
		const stacks = part.map(r => stackOf(t, r.site.node)), cut = trimmed(t, stacks);
		return {
			about, rows_total: chosen.rows.length, strings: cut.strings, frames: cut.frames, history: { time_ms: shots.map(s => s.time_ms), snapshots: shots.map(s => s.id) },
			rows: part.map((r, i) => ({
				site: r.site.site, rank: offset + i + 1, kind: r.site.kind, stack: cut.stacks[i], look_here: lookHere(t, stacks[i]), inuse_bytes: r.value, inuse_blocks: Math.round(r.value / r.site.size), alloc_bytes: r.value * (r.site.frees === 0 ? 1 : 9), alloc_blocks: Math.round(r.value / r.site.size) * (r.site.frees === 0 ? 1 : 9),
				freed_blocks: r.site.frees ?? Math.round(r.value / r.site.size) * 8, base_bytes: r.base, share: r.value / sum, low: null, high: null, oldest_age_ns: age(p, r.site), growth: rate(r), verdict: shots.length < 4 ? 'unknown' : r.site.verdict ?? 'steady', evidence: r.site.evidence, leak: findings.get(p.id)?.check ? r.site.leak : null, leaked_bytes: r.site.leak === 'definite' ? r.value : 0, history: course(r),
			})),
		};
	}

	function timeline(p, q) {
		const from = Math.max(start(p), Number(q.get('from') ?? 0)), to = Math.min(p.ended_ms ?? Date.now(), Number(q.get('to') ?? 9e15)), step = p.span > 1e5 ? 60e3 : 2000, points = Math.min(20000, Number(q.get('points') ?? 600));
		const measured = Math.max(0, Math.floor((to - from) / step)), each = Math.max(1, Math.ceil(measured / points)), out = { process: p.id, from_ms: from, to_ms: to, resolution_ms: step * each, measured, time_ms: [], inuse: [], alloc: [], rss: [], pss: [], swap: [], retained: [], cgroup: [], threads: [], gaps: [], split: null, marks: [] };
		const r = random(9);
		for (let i = 0; i < measured; i += each) {
			const ms = from + i * step, s = seconds(p, ms), day = Math.sin((s / 86400) * 2 * Math.PI), use = p.lazy ? 2.6e9 + day * 4e8 + s * 1150 + r() * 4e7 : total(p, s);
			out.time_ms.push(ms);
			out.inuse.push(Math.round(use));
			out.alloc.push(Math.round(s * 3e6));
			out.rss.push(Math.round(use * 1.04 + 40 * MiB + (p.lazy ? 3e8 : 8 * MiB)));
			out.pss.push(null);
			out.swap.push(0);
			out.retained.push(null);
			out.cgroup.push(p.cgroup_limit_bytes ? Math.round(use + 60 * MiB) : null);
			out.threads.push(12);
		}
		for (const s of shotsOf(p)) out.marks.push({ time_ms: s.time_ms, kind: 'snapshot', id: s.id, text: s.label ?? s.reason });
		if (p.span) {
			out.marks.push({ time_ms: start(p) + p.span * 280, kind: 'check', id: 5, text: '24.0 MiB definitely lost' });
			const keys = ['in_use', 'overhead', 'free_in_heap', 'stacks', 'files', 'other'], times = [0.05, 0.25, 0.5, 0.75, 0.97].map(f => start(p) + f * p.span * 1000);
			const values = keys.map((k, i) => times.map(ms => {
				const use = p.lazy ? 2.6e9 + seconds(p, ms) * 1150 : total(p, seconds(p, ms));
				return Math.round([use, use * 0.03, p.lazy ? 2.6e8 : 6 * MiB, 2 * MiB, 24 * MiB, 9 * MiB][i]);
			}));
			out.split = { keys, titles: ['In use', 'Overhead', 'Free in the heap', 'Thread stacks', 'Files', 'Other'], time_ms: times, values, total: times.map((_, i) => values.reduce((s, v) => s + v[i], 0)) };
		}
		return out;
	}

	// ---- documents of seep itself ------------------------------------------------------------------
	const checkDocument = p => ({
		version: 1, checks: [{
			moment: 'clone', name: null, process: { pid: p.pid, exe: p.exe, command: p.command, time_ns: Date.now() * 1e6 }, allocator: 'glibc', layout: 'glibc 2.36',
			classes: { definite: { bytes: 96 * MiB, blocks: 96 }, indirect: { bytes: 0, blocks: 0 }, possible: { bytes: 0, blocks: 0 }, reachable: { bytes: 5 * MiB, blocks: 640 }, suppressed: { bytes: 0, blocks: 0 }, internal: { bytes: 3748, blocks: 8 } },
			frames: [{ function: 'session_buffer_new', file: '/srv/service/src/session.c', line: 13, module: '/srv/service/service', address: null, inlined: true }, { function: 'session_open', file: '/srv/service/src/session.c', line: 26, module: '/srv/service/service', address: null, inlined: false }],
			records: [{ class: 'definite', blocks: 96, bytes: 96 * MiB, indirect: { blocks: 0, bytes: 0 }, cycles: 0, min_size: MiB, max_size: MiB, stack: [0, 1], look_here: 0, before_tracking: false, content: 'zero', what: null, addresses: ['0x7ff2debe8010'], fingerprint: '17d43aae900c5701', suppression: null, known: false, persisted: 0 }],
			suppressions: [], completeness: { complete: true, ledger: true, sampled: false, recorded_blocks: 700, threads: 5, missed_threads: 0, root_bytes: 205824, scanned_bytes: 5 * MiB, unreadable_bytes: 0, stopped_ns: 756000, resident_bytes: 130 * MiB, checker_bytes: 2 * MiB, notes: [] },
		}],
	});
	const doctorDocument = () => JSON.parse(readFileSync(join(here, 'doctor.json'), 'utf8'));
	const trimDocument = (p, dry) => JSON.parse(readFileSync(join(here, dry ? 'trim-dry.json' : 'trim.json'), 'utf8'));
	const growthOf = p => (p.every ? { verdict: p.id === 3 ? 'steady' : 'growing', evidence: 'grew in 30 of 30 steps, by 100 MiB in 58 min', rate: 29127, since_ms: start(p) + p.every * 1000, sites: treeOf(p).sites.filter(s => s.verdict === 'growing').map(s => {
		const stack = stackOf(treeOf(p), s.node), f = stack[lookHere(treeOf(p), stack)], n = treeOf(p).names;
		const value = at => s.at(at), end = p.span;
		return { site: s.site, function: n.strings[n.frames.function[f]], file: n.strings[n.frames.file[f]], line: n.frames.line[f], growth: (value(end) - value(end / 2)) / (end / 2), inuse_bytes: value(end), verdict: s.verdict, evidence: s.evidence };
	}).sort((a, b) => b.growth - a.growth).slice(0, 10) } : null);
	for (const p of all.filter(p => p.id === 1 || p.id === 2)) findings.set(p.id, { doctor: { id: 9, time_ms: t0 - 300e3, document: doctorDocument() }, check: null, trim: null });

	// ---- jobs --------------------------------------------------------------------------------------
	const say = (event, data) => {
		for (const s of streams) s.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
	};
	const ACTIONS = p => [
		{ kind: 'snapshot', title: 'Snapshot', available: p.tracked, why_not: p.tracked ? null : 'It is not tracked: attach first.', account: ["Copies the tracker's books; the process does not notice."], changes_target: false, needs_dry_run: false, options: [{ name: 'label', title: 'Label', type: 'text', default: null, choices: null }, { name: 'pinned', title: 'Keep it when older ones are thinned out', type: 'bool', default: false, choices: null }] },
		{ kind: 'attach', title: 'Attach', available: p.state === 'running' && !p.tracked, why_not: p.tracked ? 'It is tracked already.' : null, account: ['Stops the process for some milliseconds.', 'Loads the tracker into it and turns the calls of malloc and free to it.', 'What was allocated before is counted, without stacks.'], changes_target: true, needs_dry_run: false, options: [{ name: 'sample', title: 'Sample each', type: 'size', default: 0, choices: null }] },
		{ kind: 'detach', title: 'Detach', available: p.attached, why_not: p.attached ? null : 'It was not attached to.', account: ['Restores every changed pointer; the library stays mapped and does nothing.'], changes_target: true, needs_dry_run: false, options: [] },
		{ kind: 'check', title: 'Leak check', available: p.state === 'running', why_not: 'It has ended.', account: ['Stops the process for about a millisecond while a copy-on-write clone of it is made.', 'Looks for lost blocks in the clone; the process runs on.'], changes_target: false, needs_dry_run: false, options: [] },
		{ kind: 'doctor', title: 'Doctor', available: p.state === 'running', why_not: 'It has ended.', account: ['Stops the process for about a millisecond while a copy-on-write clone of it is made.', 'Sorts all resident memory by cause.'], changes_target: false, needs_dry_run: false, options: [] },
		{ kind: 'trim', title: 'Trim', available: p.state === 'running', why_not: 'It has ended.', account: ['Looks which free pages the allocator keeps.', 'Gives them back to the system: the process runs on, and gets new pages when it needs them.'], changes_target: true, needs_dry_run: true, options: [{ name: 'dry_run', title: 'Dry run', type: 'bool', default: true, choices: null }] },
	];
	let nextJob = 1, nextShot = 900, nextFinding = 20;
	function postJob(body) {
		const p = find(String(body.process)), action = ACTIONS(p).find(a => a.kind === body.kind);
		if (!action) throw new Refusal(400, 'bad_parameter', `there is no job of kind ${body.kind}`);
		const running = jobs.find(j => j.kind === body.kind && j.pid === p.pid && ['queued', 'running'].includes(j.state));
		if (running) return [200, running];
		if (body.kind === 'trim' && !body.options.dry_run && !jobs.some(j => j.id === body.options.plan && j.state === 'done')) throw new Refusal(409, 'conflict', 'a trim needs its dry run first', 'POST it with dry_run, then with plan.');
		const job = { id: nextJob++, kind: body.kind, process: p.id, pid: p.pid, state: 'running', progress: 0, message: 'beginning', created_ms: Date.now(), started_ms: Date.now(), ended_ms: null, command: `seep ${body.kind} --json ${p.pid}`, account: action.account, result: null, error: null };
		jobs.unshift(job);
		const failing = state.fail === body.kind;
		let steps = 0;
		const timer = setInterval(() => {
			if (job.state !== 'running') return clearInterval(timer);
			steps++;
			job.progress = steps / 6;
			job.message = `reading ${steps * 20} MiB of blocks`;
			if (steps === 6) {
				clearInterval(timer);
				job.ended_ms = Date.now();
				if (failing) Object.assign(job, { state: 'failed', error: { code: 'no_permission', message: `process ${p.pid} may not be looked at: it runs as root`, hint: 'Run seep serve as root, or as the user of the process.' } });
				else {
					job.state = 'done';
					job.progress = 1;
					const f = findings.get(p.id) ?? findings.set(p.id, { doctor: null, check: null, trim: null }).get(p.id), id = nextFinding++;
					if (job.kind === 'snapshot') {
						const shot = { id: nextShot++, process: p.id, time_ms: Date.now(), reason: 'asked', label: body.options.label ?? null, baseline: false };
						state.extraShots.push(shot);
						job.result = { snapshot: shot.id };
						say('snapshot', shotsOf(p)[0]);
					} else if (job.kind === 'check') {
						f.check = { id, time_ms: Date.now(), document: checkDocument(p) };
						job.result = { check: id };
					} else if (job.kind === 'doctor') {
						f.doctor = { id, time_ms: Date.now(), document: doctorDocument() };
						job.result = { doctor: id };
					} else if (job.kind === 'trim') {
						f.trim = { id, time_ms: Date.now(), dry_run: !!body.options.dry_run, document: trimDocument(p, body.options.dry_run) };
						job.result = { trim: id };
					} else {
						p.tracked = p.attached = p.active = job.kind === 'attach';
						p.mode = p.tracked ? 'full' : null;
						Object.assign(p, { span: 0, every: 0, tree: p.tree ?? large(3, 5, 9) });
						job.result = { text: job.kind === 'attach' ? 'The tracker is in; 1,204 blocks from before have no stack.' : 'All pointers are as they were.' };
						say('processes', {});
					}
					if (['check', 'doctor', 'trim'].includes(job.kind)) say('finding', { process: p.id, kind: job.kind, id });
				}
			}
			say('job', job);
		}, 60);
		say('job', job);
		return [202, job];
	}

	// ---- routes ------------------------------------------------------------------------------------
	function api(method, path, q, body) {
		const parts = path.split('/').filter(Boolean).map(decodeURIComponent), [a, b, c] = parts;
		if (method !== 'GET' && method !== 'POST' && method !== 'DELETE') throw new Refusal(405, 'method_not_allowed', 'not here');
		if (a === 'server') return { seep: '0.1.0', api: 1, hostname: 'db7', user: 'www', uid: 1000, now_ms: Date.now(), started_ms: t0, auth: 'none', watching: ['service'], every_s: 60, interval_s: 2, commands: {}, store: { path: '/x', bytes: 1, limit_bytes: 2, oldest_ms: t0, error: null }, limits: {} };
		if (a === 'processes' && !b) return { now_ms: Date.now(), processes: all.map(publicly) };
		if (a === 'processes') {
			const p = find(b);
			if (!c) return { process: publicly(p), baseline: null, first_ms: start(p), last_ms: Date.now(), watch: p.watched ? { every_s: 60 } : null, threads: 8, cgroup: null, ledger_bytes: 1, latest: {}, actions: ACTIONS(p), pprof: [] };
			if (c === 'snapshots') return { snapshots: p.every || state.extraShots.some(s => s.process === p.id) ? shotsOf(p) : [] };
			if (c === 'timeline') return timeline(p, q);
			if (c === 'findings') return { process: p.id, ...(findings.get(p.id) ?? { doctor: null, check: null, trim: null }), growth: growthOf(p) };
			if (c === 'sites') return sites(p, q);
		}
		if (a === 'view' && b === 'flame') {
			const v = view(q);
			return { about: v.about, ...shared(v.t), nodes: flame(v.t, v.chosen, { leaf: q.get('direction') === 'leaf' }), cut: { nodes: 0, value: 0 } };
		}
		if (a === 'view' && b === 'top') return top(q);
		if (a === 'view' && b === 'function') {
			const v = view(q), { names: n } = v.t, fn = n.ids.get(q.get('function')), is = f => n.frames.function[f] === fn;
			if (fn === undefined) throw new Refusal(404, 'not_found', `no function ${q.get('function')} in this view`, 'Its whole name is needed.');
			const inner = flame(v.t, v.chosen, { pick: s => (s.findIndex(is) < 0 ? null : s.slice(s.findIndex(is))) }), outer = flame(v.t, v.chosen, { pick: s => (s.findIndex(is) < 0 ? null : s.slice(0, s.findIndex(is) + 1).reverse()) });
			// both have the function as node 0
			const shift = tree => (tree.parent.length < 2 ? tree : { parent: tree.parent.slice(1).map(p => Math.max(0, p - 1)), frame: tree.frame.slice(1), value: tree.value.slice(1), base: tree.base && tree.base.slice(1) });
			const callers = shift(outer), callees = shift(inner);
			return { about: v.about, function: q.get('function'), module: n.strings[n.frames.module[callees.frame[0]]], self: 0, total: callees.value[0], self_base: null, total_base: null, ...shared(v.t), callers, callees };
		}
		if (a === 'view' && b === 'source') {
			const v = view(q), { names: n } = v.t, hot = new Map();
			for (const r of v.chosen.rows) stackOf(v.t, r.site.node).forEach((f, i) => {
				if (n.strings[n.frames.file[f]] !== q.get('file')) return;
				const h = hot.get(n.frames.line[f]) ?? hot.set(n.frames.line[f], { self: 0, total: 0 }).get(n.frames.line[f]);
				h.total += r.value;
				if (i === 0) h.self += r.value;
			});
			if (!hot.size) throw new Refusal(404, 'no_source', `no stack of this view names ${q.get('file')}`);
			const lines = [...hot.keys()].sort((x, y) => x - y), mine = q.get('file').endsWith('session.c');
			return { about: v.about, file: q.get('file'), readable: mine, why_not: mine ? null : 'There is no such file on this machine.', first: 1, lines: mine ? readFileSync(join(here, 'session.c.txt'), 'utf8').split('\n') : [], total_lines: 60, changed: false, hot: { line: lines, self: lines.map(l => hot.get(l).self), total: lines.map(l => hot.get(l).total), self_base: null, total_base: null } };
		}
		if (a === 'jobs' && method === 'POST') return postJob(body);
		if (a === 'jobs' && b) {
			const job = jobs.find(j => String(j.id) === b);
			if (!job) throw missing(`job ${b}`);
			if (method === 'DELETE') {
				Object.assign(job, { state: 'cancelled', ended_ms: Date.now() });
				say('job', job);
			}
			return job;
		}
		if (a === 'jobs') return { jobs };
		throw missing(path);
	}
	function dot(q) {
		const v = view(q), { names: n } = v.t, most = Number(q.get('nodecount') ?? 80), node = new Map(), edge = new Map();
		for (const r of v.chosen.rows) {
			const seen = new Set(), stack = stackOf(v.t, r.site.node).map(f => n.frames.function[f]);
			stack.forEach((f, i) => {
				const x = node.get(f) ?? node.set(f, { self: 0, total: 0 }).get(f);
				if (!seen.has(f)) x.total += r.value;
				seen.add(f);
				if (!i) x.self += r.value;
				else edge.set(`${f} ${stack[i - 1]}`, (edge.get(`${f} ${stack[i - 1]}`) ?? 0) + r.value);
			});
		}
		const kept = [...node].sort((x, y) => y[1].total - x[1].total).slice(0, most), has = new Set(kept.map(k => k[0])), esc = s => s.replace(/[\\"]/g, '\\$&');
		return `digraph seep {\nnode [shape=box fontname="sans-serif" fontsize=11];\n${kept.map(([f, x]) => `n${f} [label="${esc(n.strings[f])}\\n${(x.total / MiB).toFixed(1)} MiB" style=filled fillcolor="#fdf0e0"];`).join('\n')}\n${[...edge].filter(([k]) => k.split(' ').every(f => has.has(Number(f)))).map(([k, w]) => `n${k.replace(' ', ' -> n')} [label="${(w / MiB).toFixed(1)}"];`).join('\n')}\n}\n`;
	}

	const server = createServer(async (req, res) => {
		const url = new URL(req.url, 'http://x'), body = [];
		for await (const chunk of req) body.push(chunk);
		requests.push(`${req.method} ${req.url}`);
		if (!quiet) console.error(req.method, req.url);
		const answer = (status, type, content, more = {}) => {
			res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(content), 'X-Content-Type-Options': 'nosniff', ...more });
			res.end(content);
		};
		if (url.pathname === '/api/v1/events') {
			res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
			res.write(`event: hello\ndata: ${JSON.stringify({ now_ms: Date.now(), started_ms: t0 })}\n\n`);
			streams.add(res);
			const p = all.find(p => String(p.id) === url.searchParams.get('process'));
			const timer = p?.tree && p.state === 'running' && p.tracked && setInterval(() => {
				const s = seconds(p, Date.now());
				res.write(`event: point\ndata: ${JSON.stringify({ process: p.id, time_ms: Date.now(), inuse: total(p, s), alloc: Math.round(s * 3e6), rss: total(p, s) + 48 * MiB, pss: null, swap: 0, retained: null, cgroup: null, threads: 4 })}\n\n`);
			}, 2000);
			res.on('close', () => {
				streams.delete(res);
				clearInterval(timer);
			});
			return;
		}
		if (url.pathname.startsWith('/api/v1/')) {
			try {
				if (req.method !== 'GET' && req.headers['x-seep'] !== '1') throw new Refusal(403, 'forbidden_origin', 'the header X-Seep is missing');
				const path = url.pathname.slice(8), key = req.url, stays = req.method === 'GET' && path.startsWith('view/') && !/now|latest|baseline/.test(decodeURIComponent(key));
				if (state.slow) await new Promise(r => setTimeout(r, state.slow));
				if (path === 'view/dot') return answer(200, 'text/vnd.graphviz', dot(url.searchParams));
				if (cache.has(key)) return answer(200, 'application/json', cache.get(key));
				if (/^view\/(pprof|folded|svg|html|text|speedscope|seep)$/.test(path)) return answer(200, 'application/octet-stream', 'data', { 'Content-Disposition': `attachment; filename="service.${path.slice(5)}"` });
				const out = api(req.method, path, url.searchParams, body.length ? JSON.parse(Buffer.concat(body).toString()) : null), [status, data] = Array.isArray(out) ? out : [200, out], text = Buffer.from(JSON.stringify(data));
				if (stays && text.length > 1e5) cache.set(key, text);
				answer(status, 'application/json', text);
			} catch (e) {
				if (!(e instanceof Refusal)) console.error(e);
				answer(e.status ?? 500, 'application/json', JSON.stringify(e.body ?? { error: { code: 'failed', message: String(e), hint: null } }));
			}
			return;
		}
		const file = join(DIST, normalize(url.pathname)), real = url.pathname !== '/' && file.startsWith(DIST) && existsSync(file);
		if (!real && extname(url.pathname)) return answer(404, 'text/plain', 'not found');
		const path = real ? file : join(DIST, 'index.html');
		res.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream', 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff' });
		createReadStream(path).pipe(res);
	});
	return new Promise(resolve => server.listen(port, host, () => resolve({
		url: `http://${host}:${server.address().port}`, requests, state, all,
		close: () => new Promise(done => {
			for (const s of streams) s.end();
			server.close(done);
			server.closeAllConnections();
		}),
	})));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await startServer({ port: Number(process.argv[2] ?? 0), quiet: false })).url);
