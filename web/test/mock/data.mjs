// SPDX-License-Identifier: Apache-2.0
// Processes that never were: call trees of a realistic shape and size, with values that are functions of time, so
// that every snapshot, difference and course of a site agree with each other.

/** A small deterministic generator (mulberry32). */
export function random(seed) {
	let a = seed >>> 0;
	return () => {
		a = (a + 0x6d2b79f5) >>> 0;
		let t = Math.imul(a ^ (a >>> 15), a | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

const WORDS = ['session', 'buffer', 'request', 'parse', 'render', 'page', 'cache', 'index', 'query', 'row', 'plan', 'node', 'table', 'stream', 'packet', 'frame', 'codec', 'pool', 'task', 'queue', 'event', 'timer', 'socket', 'route', 'token', 'user', 'policy', 'shard', 'block', 'commit', 'log', 'merge'];
const VERBS = ['new', 'open', 'alloc', 'insert', 'append', 'grow', 'clone', 'build', 'decode', 'load', 'read', 'create', 'push', 'resize', 'intern', 'copy'];
export const LIBC = '/lib/x86_64-linux-gnu/libc.so.6', CXX = '/usr/lib/x86_64-linux-gnu/libstdc++.so.6';

/** Frames as columns; frame 0 stands for everything. */
export class Names {
	strings = [''];
	ids = new Map([['', 0]]);
	frames = { function: [0], file: [0], line: [0], module: [0], flags: [0], address: [null] };
	frameIds = new Map();

	string(s) {
		if (!this.ids.has(s)) {
			this.ids.set(s, this.strings.length);
			this.strings.push(s);
		}
		return this.ids.get(s);
	}

	frame(fn, file, line, module, flags = 0) {
		const key = `${fn}|${file}|${line}|${module}|${flags}`;
		let id = this.frameIds.get(key);
		if (id === undefined) {
			id = this.frames.function.length;
			this.frameIds.set(key, id);
			const f = this.frames;
			f.function.push(this.string(fn));
			f.file.push(this.string(file));
			f.line.push(line);
			f.module.push(this.string(module));
			f.flags.push(flags);
			f.address.push(fn ? null : '0x1a2b3c');
		}
		return id;
	}
}

/** A process: names, a trie of frames, sites at its nodes with their course. */
class Tree {
	names = new Names();
	parent = [0];
	frame = [0];
	kids = new Map();
	sites = []; // {node, site, at(t): bytes, size, born}

	child(parent, frame) {
		const key = parent * 1e6 + frame;
		let id = this.kids.get(key);
		if (id === undefined) {
			id = this.parent.length;
			this.kids.set(key, id);
			this.parent.push(parent);
			this.frame.push(frame);
		}
		return id;
	}

	/** frames: root first */
	add(frames, at, more = {}) {
		let node = 0;
		for (const f of frames) node = this.child(node, f);
		this.sites.push({ node, site: (this.sites.length + 0x17d43aae).toString(16).padStart(16, '0'), at, size: 1024, kind: 'heap', thread: 1, leak: null, evidence: null, ...more });
	}
}

const MiB = 1 << 20;

/** The example service of the project, with its leak. */
export function service() {
	const t = new Tree(), m = '/srv/service/service', f = (fn, file, line, flags = 0) => t.names.frame(fn, file ? `/srv/service/src/${file}` : '', line, m, flags);
	const start = [t.names.frame('__clone3', '', 0, LIBC, 4), t.names.frame('start_thread', '', 0, LIBC, 4)], worker = f('worker', 'service.c', 146), serve = f('serve', 'service.c', 129);
	t.add([...start, worker, serve, f('handle_leak', 'service.c', 50), f('session_open', 'session.c', 26), f('session_buffer_new', 'session.c', 13, 1)], s => Math.floor(s / 36) * MiB + MiB, { size: MiB, leak: 'definite', verdict: 'growing', evidence: 'grew in 30 of 30 steps, by 96.0 MiB in 58 min; nothing was ever freed', frees: 0 });
	t.add([...start, worker, serve, f('handle_cache', 'service.c', 61), f('cache_page', 'cache.c', 63), f('render_page', 'cache.c', 19)], s => Math.min(128, s / 4) * 32768, { size: 32768, verdict: 'slowing', evidence: 'grew in 9 of 30 steps, in none of the last 12', leak: 'reachable' });
	t.add([...start, worker, serve, f('handle_cache', 'service.c', 61), f('cache_page', 'cache.c', 62), t.names.frame('strdup', '', 0, LIBC, 4)], s => Math.min(128, s / 4) * 24, { size: 24, verdict: 'slowing', leak: 'reachable' });
	t.add([...start, f('burst_worker', 'burst.c', 36), f('job_new', 'burst.c', 20)], s => (s % 600 < 60 ? 12 * MiB : 163840), { verdict: 'jumpy', evidence: 'up and down by 11.8 MiB, without a direction', leak: 'reachable' });
	t.add([t.names.frame('_start', '', 0, m, 4), t.names.frame('__libc_start_main', '', 0, LIBC, 4), f('main', 'service.c', 211)], () => 1152, { size: 288, verdict: 'steady', leak: 'reachable' });
	t.add([t.names.frame('_start', '', 0, m, 4), t.names.frame('__libc_start_main', '', 0, LIBC, 4), f('main', 'service.c', 205), f('listen_on', 'service.c', 168)], () => 4096, { size: 4096, verdict: 'steady', leak: 'reachable' });
	const r = random(7), metrics = t.names.frame('std::__detail::_Map_base<std::basic_string<char, std::char_traits<char>, std::allocator<char> >, std::pair<std::basic_string<char> const, metrics::Counter> >::operator[]', '/usr/include/c++/12/bits/hashtable_policy.h', 715, m, 1);
	for (let i = 0; i < 60; i++) {
		const w = WORDS[i % WORDS.length], size = 16 << Math.floor(r() * 8), n = Math.floor(1 + r() * 400), grow = r() < 0.06 ? r() * 300 : 0;
		t.add([...start, worker, serve, f(`handle_${w}`, 'service.c', 60 + i), f(`metrics::${w}_count(std::string_view, int)`, 'metrics.cc', 20 + i), metrics], s => Math.round(size * n + grow * s), { size, verdict: grow ? 'growing' : 'steady', leak: 'reachable', evidence: grow ? `grew in 26 of 30 steps, ${Math.round(grow)} B/s` : null });
	}
	return t;
}

/** sites sites, about as many nodes as wanted: fan-out falls with the depth, as in a real program. */
export function large(sites, seed = 11, wanted = 100000) {
	const t = new Tree(), r = random(seed), m = '/opt/bigd/bin/bigd', libs = [m, m, m, '/opt/bigd/lib/libquery.so.3', '/opt/bigd/lib/libnet.so.1', '/opt/bigd/lib/libstore.so.7', CXX];
	const pool = [];
	for (let i = 0; i < 9000; i++) {
		const w = WORDS[Math.floor(r() * WORDS.length)], u = WORDS[Math.floor(r() * WORDS.length)], v = VERBS[Math.floor(r() * VERBS.length)], module = libs[Math.floor(r() * libs.length)];
		pool.push(t.names.frame(r() < 0.5 ? `${w}_${u}_${v}` : `bigd::${w}::${u[0].toUpperCase()}${u.slice(1)}<${w}::Policy>::${v}(${u}::Handle const&, unsigned long)`, `/build/bigd/src/${w}/${u}.cc`, 10 + Math.floor(r() * 900), module, module === CXX ? 4 : r() < 0.15 ? 1 : 0));
	}
	const spine = [t.names.frame('__clone3', '', 0, LIBC, 4), t.names.frame('start_thread', '', 0, LIBC, 4), t.names.frame('bigd::Worker::run()', '/build/bigd/src/worker.cc', 88, m)];
	// stacks share their outer part with one before; how much decides how many nodes there are
	const kept = [], shareTo = wanted / sites;
	for (let i = 0; i < sites; i++) {
		let stack;
		if (kept.length && r() < 0.97) {
			const old = kept[Math.floor(r() * kept.length)], fresh = 1 + Math.floor(r() * (2 * shareTo - 1));
			stack = [...old.slice(0, Math.max(3, old.length - Math.floor(r() * 6))), ...Array.from({ length: fresh }, () => pool[Math.floor(r() * pool.length)])].slice(0, 40);
		} else stack = [...spine, ...Array.from({ length: 4 + Math.floor(r() * 14) }, () => pool[Math.floor(r() * pool.length)])];
		if (kept.length < 4000) kept.push(stack);
		else if (r() < 0.2) kept[Math.floor(r() * 4000)] = stack;
		const level = Math.exp(6 + r() * 7), kind = r(), grow = kind < 0.02 ? level / 40000 : kind < 0.04 ? -level / 900000 : 0;
		t.add(stack, s => Math.max(0, Math.round(level + grow * s)), { size: 16 << Math.floor(r() * 7), thread: 1 + Math.floor(r() * 12), verdict: grow > 0 ? 'growing' : grow < 0 ? 'shrinking' : 'steady', leak: grow > 0 && r() < 0.3 ? 'definite' : 'reachable' });
	}
	const leak = [...spine, t.names.frame('bigd::net::Session::accept()', '/build/bigd/src/net/session.cc', 41, m), t.names.frame('bigd::net::Session::remember(Token const&)', '/build/bigd/src/net/session.cc', 77, m), t.names.frame('token_clone', '/build/bigd/src/net/token.c', 23, m)];
	t.add(leak, s => Math.round(s * 4096), { size: 4096, verdict: 'growing', leak: 'definite', evidence: 'grew in 6 of 6 steps, 4.00 KiB/s; nothing was ever freed' });
	return t;
}

const test = list => {
	const res = list.map(x => new RegExp(x));
	return s => res.some(re => re.test(s));
};

/** Values of the sites at a moment (seconds since the start), filtered as the API's views are. */
export function select(t, s, sBase, q) {
	const { names: n, frame, parent } = t, matches = list => {
		const fits = test(list);
		return f => fits(n.strings[n.frames.function[f]]) || fits(n.strings[n.frames.file[f]]) || fits(n.strings[n.frames.module[f]]);
	};
	const any = (node, fits) => {
		for (let i = node; i; i = parent[i]) if (fits(frame[i])) return true;
		return false;
	};
	const rules = [];
	if (q.focus?.length) rules.push(node => any(node, matches(q.focus)));
	if (q.ignore?.length) rules.push(node => !any(node, matches(q.ignore)));
	if (q.module) rules.push(node => any(node, f => n.strings[n.frames.module[f]].endsWith(q.module)));
	const hide = q.hide?.length ? matches(q.hide) : null, perBlock = q.value === 'blocks';
	const rows = [];
	for (const site of t.sites) {
		if (q.kind && !q.kind.split(',').includes(site.kind)) continue;
		if (q.thread && String(site.thread + 4710) !== q.thread) continue;
		if (rules.some(rule => !rule(site.node))) continue;
		const scale = perBlock ? 1 / site.size : 1;
		let value = Math.round(site.at(s) * scale), base = sBase === null ? null : Math.round(site.at(sBase) * scale);
		if (q.value === 'growth') {
			value = Math.max(0, value - (base ?? 0));
			base = null;
		} else if (q.value === 'leaked') {
			if (!['definite', 'indirect', 'possible'].includes(site.leak ?? '')) continue;
			base = null;
		} else if (q.window) {
			value = Math.max(0, value - (base ?? 0));
			base = null;
		}
		if (!value && !base) continue;
		rows.push({ site, value, base });
	}
	return { rows, hide };
}

/** As /view/flame answers; stacks: lists of frames, root first. */
export function flame(t, { rows, hide }, { leaf = false, pick = null } = {}) {
	const parent = [0], frame = [0], value = [0], base = [0], kids = new Map(), diff = rows.some(r => r.base !== null);
	for (const { site, value: v, base: b } of rows) {
		const stack = [];
		for (let i = site.node; i; i = t.parent[i]) if (!hide || !hide(t.frame[i])) stack.push(t.frame[i]);
		if (!leaf) stack.reverse();
		const path = pick ? pick(stack) : stack;
		if (!path) continue;
		let at = 0;
		value[0] += v;
		base[0] += b ?? 0;
		for (const f of path) {
			const key = at * 1e6 + f;
			let k = kids.get(key);
			if (k === undefined) {
				k = parent.length;
				kids.set(key, k);
				parent.push(at);
				frame.push(f);
				value.push(0);
				base.push(0);
			}
			at = k;
			value[at] += v;
			base[at] += b ?? 0;
		}
	}
	// into the order of a walk, children largest first
	const below = parent.map(() => []);
	for (let i = 1; i < parent.length; i++) below[parent[i]].push(i);
	for (const list of below) list.sort((a, b) => Math.max(value[b], base[b]) - Math.max(value[a], base[a]) || a - b);
	const order = [], place = new Int32Array(parent.length), todo = [0];
	while (todo.length) {
		const i = todo.pop();
		place[i] = order.length;
		order.push(i);
		for (let k = below[i].length - 1; k >= 0; k--) todo.push(below[i][k]);
	}
	return { parent: order.map(i => place[parent[i]]), frame: order.map(i => frame[i]), value: order.map(i => value[i]), base: diff ? order.map(i => base[i]) : null };
}
