/* SPDX-License-Identifier: Apache-2.0 */
/* The script of report.html.  Names only ever become text (textContent), so none of them can become anything else. */
'use strict';
(() => {
const $ = id => document.getElementById(id);
const data = JSON.parse($('data').textContent), report = data.report, diff = 'seep_diff' in report;
const STEP = 25; /* rows shown at first, and more at a click */

/* ---- words ---- */
const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const three = v => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
function bytes(v) {
	let u = 0, a = Math.abs(v);
	for (; a >= 1023.5 && u < 6; u++) a /= 1024;
	return (v < 0 ? '−' : '') + (u ? three(a) : Math.round(a)) + ' ' + units[u];
}
const count = v => Math.round(v).toLocaleString('en-US').replace('-', '−');
const signed = (v, f) => (v > 0 ? '+' : '') + f(v);
const percent = r => r > 0 && r < 0.0005 ? '<0.1 %' : (r * 100).toFixed(1) + ' %';
function time(ns) {
	const s = ns / 1e9;
	if (s < 0.001) return three(ns / 1e3) + ' µs';
	if (s < 1) return three(ns / 1e6) + ' ms';
	if (s < 60) return three(s) + ' s';
	if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
	if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
	return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
}
const moment = ns => ns ? new Date(ns / 1e6).toISOString().replace('T', ' ').slice(0, 19) + ' UTC' : '';
const inBlocks = report.view.unit === 'blocks', amount = inBlocks ? count : bytes;
const valueNames = { in_use: 'in use', allocated: 'allocated', freed: 'freed', peak: 'at the peak' };
const base = path => path ? path.slice(path.lastIndexOf('/') + 1) : '';
const margin = (o, key) => o[key + '_high'] > o[key] || o[key + '_low'] < o[key] ?
	` (${bytes(o[key + '_low'])} to ${bytes(o[key + '_high'])})` : '';

function make(tag, text, className) {
	const e = document.createElement(tag);
	if (text !== undefined) e.textContent = text;
	if (className) e.className = className;
	return e;
}

/* ---- summary ---- */
function card(name, value, more, className) {
	const e = make('div', undefined, 'card');
	e.append(make('span', name), make('b', value, className), make('span', more));
	$('cards').append(e);
}
function fact(name, value) {
	if (value) $('facts').append(make('dt', name), make('dd', value));
}
const states = { running: 'still running', exited: 'ended', killed: 'was killed', execed: 'went on as another program', detached: 'detached from, went on' };
function summaryOfOne() {
	const p = report.process, t = report.totals, tracking = report.tracking, rss = report.resident || [];
	const highest = rss.reduce((most, r) => Math.max(most, r.bytes), 0);
	card('In use at the end', bytes(t.in_use.bytes), `in ${count(t.in_use.blocks)} blocks${margin(t.in_use, 'bytes')}`);
	card('Peak', bytes(t.peak.bytes), p.merged ? 'the sum of each process’s own' : `after ${time(t.peak.time_ns)}`);
	card('Allocated', bytes(t.allocated.bytes), `in ${count(t.allocated.blocks)} blocks${margin(t.allocated, 'bytes')}`);
	card('Freed', bytes(t.freed.bytes), `in ${count(t.freed.blocks)} blocks`);
	if (rss.length) card('Resident', bytes(highest), rss.length > 1 ? `at most; ${bytes(rss.at(-1).bytes)} at the last look` : 'when this was read');
	if (t.thread_stacks.live) card('Thread stacks', bytes(t.thread_stacks.reserved_bytes), `reserved, ${count(t.thread_stacks.live)} live` +
		(t.thread_stacks.unjoined ? `, ${count(t.thread_stacks.unjoined)} never joined` : ''));
	fact('Command', p.command);
	fact(p.merged ? 'Processes' : 'Process', p.merged ? `${count(p.merged)} together, the first with pid ${p.pid}` : `pid ${p.pid}, ${states[p.state] || p.state}`);
	fact('Started', moment(p.start_ns));
	fact('Tracked', `${time(p.duration_ns)}, ` + (tracking.mode === 'sampled' ? `sampled about once every ${bytes(tracking.period)} allocated; intervals hold in 95 % of all cases` : 'every block'));
	fact('Allocator', p.allocator);
	fact('Read from', p.source && `${p.source} (${p.format})`);
	fact('Tracker’s own', `${bytes(report.tracker.ledger_bytes)} of ledger and ${bytes(report.tracker.private_bytes)} inside the program, in none of these numbers`);
}
function summaryOfTwo() {
	const t = report.totals, first = report.sides[0], last = report.sides.at(-1);
	for (const [key, name] of [['in_use', 'In use'], ['allocated', 'Allocated']]) {
		const g = t[key];
		card(name + ': change', signed(g.growth_bytes, bytes) + (g.noise ? ' (may be noise)' : ''),
			`${bytes(g.before.bytes)} → ${bytes(g.after.bytes)}`, g.growth_bytes > 0 ? 'grew' : g.growth_bytes < 0 ? 'shrank' : '');
	}
	card('Grew', bytes(report.view.grown), 'what grew, together');
	card('Shrank', bytes(report.view.shrunk), 'what shrank, together');
	for (const [name, s] of [['Before', first], ['After', last]])
		fact(name, `${s.source} — ${s.command || s.exe || ''}, pid ${s.pid}${s.moment_ns ? ', ' + moment(s.moment_ns) : ''}`);
	if (report.elapsed_ns) fact('In between', time(report.elapsed_ns));
}
function notes() {
	const list = report.notes || [];
	if (!list.length) {
		$('notes-title').hidden = true;
		if (!diff) $('notes').replaceWith(make('p', report.tracking.mode === 'sampled' ? 'Nothing was lost beside what sampling leaves out.' : 'Complete: nothing was lost.', 'dim'));
		return;
	}
	if (diff) $('notes-title').textContent = 'Notes';
	for (const n of list) $('notes').append(make('li', (n.count ? count(n.count) + ' ' : '') + n.text, n.code === 'symbols' ? 'dim' : 'warn'));
}
function events() {
	const list = report.events || [];
	if (!list.length) return;
	$('events').hidden = false;
	$('events').firstChild.textContent = `${count(list.length)} event${list.length > 1 ? 's' : ''}`;
	for (const e of list.slice(0, 1000)) {
		const row = make('tr');
		row.append(make('td', time(e.time_ns), 'n'), make('td', e.kind), make('td', e.text || '', 'place'));
		$('events').querySelector('tbody').append(row);
	}
}

/* ---- tables: columns are [title, number of a row, text of a row, class] ---- */
const frames = report.frames || [];
const nameOf = f => f.function || (f.address ? '?? ' + f.address : '??');
const whereOf = f => (f.file ? base(f.file) + (f.line ? ':' + f.line : '') : '') + (f.module ? (f.file ? ' in ' : 'in ') + base(f.module) : '');
const placeOf = s => frames[s.stack[s.look_here ?? 0]];
const numeric = (title, value, text, className) => ({ title, value, text: text || (r => amount(value(r))), className: 'n ' + (className || ''), number: true });
const word = (title, value, className) => ({ title, value, text: value, className: className || '' });
const shareBar = (title, value) => ({ ...numeric(title, value, r => percent(value(r))), bar: true });
const changed = (title, value, f) => numeric(title, value, r => signed(value(r), f), 'change');
const sitePlace = { title: 'Allocated by', value: s => s.stack.length ? nameOf(placeOf(s)) : '(stack unknown)', place: s => s.stack.length ? whereOf(placeOf(s)) : '', className: 'place' };
const codePlace = { title: 'Function', value: r => r.name || '??', place: r => r.module ? 'in ' + base(r.module) : '', className: 'place' };
const modulePlace = { title: 'Module', value: r => r.name ? base(r.name) : '(unknown)', place: r => r.name || '', className: 'place' };
const stackText = s => s.stack.map(i => [frames[i].function, frames[i].file, frames[i].module].join('\n')).join('\n');
const rowText = r => [r.name, r.module, r.kind, r.tid].join('\n');
const value = valueNames[report.view.value] || report.view.value;
const title = value[0].toUpperCase() + value.slice(1);

const codeColumns = place => diff ? [
	changed('Change', r => r.growth, amount), changed('Own', r => r.self_growth, amount), numeric('Before', r => r.before), numeric('After', r => r.after), place,
] : [
	numeric(title, r => r.total), shareBar('Share', r => r.total_share), numeric('Own', r => r.self), numeric('Blocks', r => r.total_blocks, r => count(r.total_blocks)), place,
];
const tables = [
	{ name: 'Sites', rows: report.sites || [], text: stackText, rest: report.rest, columns: diff ? [
		changed('Change', s => s.growth, amount), inBlocks ? changed('Bytes', s => s.growth_bytes, bytes) : changed('Blocks', s => s.growth_blocks, count),
		numeric('Before', s => s.before), numeric('After', s => s.after), word('What', s => s.change), sitePlace,
	] : [
		inBlocks ? numeric(title, s => s.blocks, s => count(s.blocks)) : numeric(title, s => s.bytes, s => bytes(s.bytes)), shareBar('Share', s => s.share),
		inBlocks ? numeric('Bytes', s => s.bytes, s => bytes(s.bytes)) : numeric('Blocks', s => s.blocks, s => count(s.blocks)),
		numeric('Average', s => s.average_bytes, s => bytes(s.average_bytes)), numeric('Allocated', s => s.allocated.bytes, s => bytes(s.allocated.bytes)),
		numeric('Oldest', s => s.oldest_age_ns ?? -1, s => s.oldest_age_ns === null ? '' : time(s.oldest_age_ns)), word('Kind', s => s.kind), sitePlace,
	] },
	{ name: 'Functions', rows: data.functions.functions, text: rowText, rest: data.functions.rest, columns: codeColumns(codePlace), sort: 0 },
	{ name: 'Modules', rows: data.modules.modules, text: rowText, rest: data.modules.rest, columns: codeColumns(modulePlace), sort: 0 },
];
if (!diff) {
	tables.push({ name: 'Threads', rows: data.threads.threads, text: rowText, rest: data.threads.rest, columns: [
		numeric('In use', r => r.in_use, r => bytes(r.in_use)), shareBar('Share', r => r.share), numeric('Blocks', r => r.blocks, r => count(r.blocks)),
		numeric('Thread', r => r.tid ?? 0, r => r.tid ? String(r.tid) : ''), { title: 'Name', value: r => r.name || '(unknown)', place: r => r.ended ? 'ended' : '', className: 'place' },
	] });
	tables.push({ name: 'Sizes', rows: report.size_classes, text: () => '', order: 1, columns: [
		numeric('From', r => r.min_bytes, r => bytes(r.min_bytes)), numeric('To', r => r.max_bytes ?? Infinity, r => r.max_bytes === null ? '' : bytes(r.max_bytes)),
		numeric('Allocated', r => r.allocated_blocks, r => count(r.allocated_blocks)), numeric('Freed', r => r.freed_blocks, r => count(r.freed_blocks)),
		numeric('In use', r => r.in_use_blocks, r => count(r.in_use_blocks)), shareBar('Kept', r => r.kept), numeric('Bytes in use', r => r.in_use_bytes, r => bytes(r.in_use_bytes)),
		numeric('Bytes allocated', r => r.allocated_bytes, r => bytes(r.allocated_bytes)),
	] });
	tables.push({ name: 'Lifetimes', rows: report.lifetimes, text: () => '', order: 1, columns: [
		numeric('Freed blocks lived from', r => r.from_ns, r => r.from_ns ? time(r.from_ns) : '0'), numeric('To', r => r.to_ns ?? Infinity, r => r.to_ns === null ? '' : time(r.to_ns)),
		numeric('Blocks', r => r.blocks, r => count(r.blocks)), shareBar('Share', r => r.share),
	] });
}
const state = tables.map(t => ({ sort: 0, ascending: Boolean(t.order), shown: STEP }));
let current = 0;

function stackList(s) {
	const list = make('ol', undefined, 'stack');
	s.stack.forEach((number, i) => {
		const f = frames[number], item = make('li', undefined, i === s.look_here ? 'here' : ''), where = [];
		item.append(make('code', nameOf(f)));
		if (f.file) where.push(f.file + (f.line ? ':' + f.line : ''));
		if (f.module) where.push('in ' + f.module);
		if (f.inlined) where.push('(inlined)');
		item.append(make('span', ' ' + where.join(' ')));
		list.append(item);
	});
	if (!s.stack.length) list.append(make('li', 'The tracker found no stack.'));
	if (s.stack_cut) list.append(make('li', 'The outermost frames are missing.', 'dim'));
	return list;
}
function toggle(button, row, s, columns) {
	const open = button.getAttribute('aria-expanded') !== 'true';
	button.setAttribute('aria-expanded', open);
	button.textContent = open ? '▾' : '▸';
	row.classList.toggle('open', open);
	if (!open) { row.nextSibling.remove(); return; }
	const more = make('tr', undefined, 'open'), cell = make('td');
	cell.colSpan = columns;
	cell.append(stackList(s));
	if (s.stack.length) {
		const find = make('button', 'Find in the flame graph', 'screen');
		find.addEventListener('click', () => findInFlame(nameOf(placeOf(s))));
		cell.append(find);
	}
	more.append(cell);
	row.after(more);
}
function rowOf(t, r) {
	const row = make('tr', undefined, 'row');
	for (const c of t.columns) {
		const cell = make('td', undefined, c.className.trim());
		if (c.place) {
			if (r.stack) {
				const twist = make('button', '▸', 'twist');
				twist.setAttribute('aria-expanded', 'false');
				twist.setAttribute('aria-label', 'Stack of ' + c.value(r));
				twist.addEventListener('click', () => toggle(twist, row, r, t.columns.length));
				cell.append(twist);
			}
			cell.append(make('code', c.value(r)), make('small', c.place(r)));
		} else if (c.bar) {
			const track = make('span', undefined, 'share'), bar = make('i');
			bar.style.width = `max(1px, ${Math.min(c.value(r), 1) * 100}%)`;
			track.append(bar);
			cell.append(track, c.text(r));
		} else {
			cell.textContent = c.text(r);
			if (c.className.includes('change')) cell.classList.add(c.value(r) > 0 ? 'grew' : c.value(r) < 0 ? 'shrank' : 'same');
		}
		row.append(cell);
	}
	return row;
}
function tester(wanted) {
	try {
		const re = new RegExp(wanted, 'i');
		return s => re.test(s);
	} catch {
		const plain = wanted.toLowerCase();
		return s => s.toLowerCase().includes(plain);
	}
}
function show() {
	const t = tables[current], s = state[current], column = t.columns[s.sort], wanted = $('filter').value;
	const test = wanted && tester(wanted), rows = test ? t.rows.filter(r => test(t.text(r))) : t.rows.slice(), way = s.ascending ? 1 : -1;
	rows.sort((a, b) => {
		const x = column.value(a), y = column.value(b);
		return way * (column.number ? x - y : String(x).localeCompare(String(y)));
	});
	const head = make('tr');
	t.columns.forEach((c, i) => {
		const th = make('th', undefined, c.number ? 'n' : ''), button = make('button', c.title);
		th.scope = 'col';
		if (i === s.sort) th.setAttribute('aria-sort', s.ascending ? 'ascending' : 'descending');
		button.addEventListener('click', () => {
			s.ascending = i === s.sort ? !s.ascending : !c.number;
			s.sort = i;
			show();
			$('table').tHead.rows[0].cells[i].firstChild.focus();
		});
		th.append(button);
		head.append(th);
	});
	$('table').tHead.replaceChildren(head);
	$('table').tBodies[0].replaceChildren(...rows.slice(0, s.shown).map(r => rowOf(t, r)));
	$('count').textContent = test ? `${count(rows.length)} of ${count(t.rows.length)} rows` : `${count(rows.length)} row${rows.length === 1 ? '' : 's'}`;
	$('more').hidden = rows.length <= s.shown;
	$('rest').textContent = t.rest && t.rest.count ? `${count(t.rest.count)} smaller ones are not in this file` +
		(t.rest.value ? `; they hold ${amount(t.rest.value)} together.` : '.') : '';
	$('tools').hidden = !t.rows.length || !t.text(t.rows[0]);
	if (!t.rows.length) $('table').tBodies[0].append(make('tr')).append(make('td', diff ? 'Nothing changed.' : 'Nothing is known here.', 'dim'));
}
function choose(i) {
	current = i;
	[...$('tabs').children].forEach((b, k) => {
		b.setAttribute('aria-selected', k === i);
		b.tabIndex = k === i ? 0 : -1;
	});
	show();
}
tables.forEach((t, i) => {
	const tab = make('button', t.name);
	tab.setAttribute('role', 'tab');
	tab.addEventListener('click', () => choose(i));
	$('tabs').append(tab);
});
$('tabs').addEventListener('keydown', e => {
	const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
	if (!step) return;
	e.preventDefault();
	choose((current + step + tables.length) % tables.length);
	$('tabs').children[current].focus();
});
$('filter').addEventListener('input', () => { state[current].shown = STEP; show(); });
$('more').firstChild.addEventListener('click', () => { state[current].shown += 10 * STEP; show(); });

/* ---- the flame graph: the page that `--flame` writes, as it is, in a frame of its own ---- */
function findInFlame(name) {
	const inner = $('flame').contentDocument, field = inner && inner.getElementById('search');
	if (!field) return;
	field.value = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
	field.dispatchEvent(new Event('input'));
	$('flame-part').scrollIntoView();
}
$('flame').addEventListener('load', () => {
	const inner = $('flame').contentDocument, space = inner && inner.getElementById('space');
	/* as high as the graph is, within reason */
	if (space) $('flame').style.height = Math.min(Math.max(space.offsetHeight + 130, 240), Math.max(innerHeight * 0.8, 400)) + 'px';
	document.body.dataset.ready = Math.round(performance.now());
}, { once: true });

/* ---- the call graph ---- */
const graph = $('graph'), fit = $('graph-fit');
if (graph && fit) {
	fit.addEventListener('click', () => {
		const on = graph.classList.toggle('fit');
		fit.textContent = on ? 'Full size' : 'Fit to the page';
		fit.setAttribute('aria-pressed', on);
	});
}

/* ---- where we are ---- */
const links = [...document.querySelectorAll('nav a')], sections = links.map(a => document.querySelector(a.hash));
function where() {
	let at = 0;
	sections.forEach((s, i) => { if (s.getBoundingClientRect().top < innerHeight / 3) at = i; });
	if (innerHeight + scrollY >= document.documentElement.scrollHeight - 2) at = sections.length - 1;
	links.forEach((a, i) => i === at ? a.setAttribute('aria-current', 'true') : a.removeAttribute('aria-current'));
}
addEventListener('scroll', where, { passive: true });
addEventListener('keydown', e => {
	if (e.key !== '/' || e.ctrlKey || e.altKey || e.metaKey || e.target.tagName === 'INPUT') return;
	e.preventDefault();
	$('filter').focus();
	$('filter').select();
});

if (diff) summaryOfTwo(); else summaryOfOne();
notes();
events();
choose(0);
where();
$('flame').srcdoc = JSON.parse($('flame-data').textContent);
})();
