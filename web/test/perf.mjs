// SPDX-License-Identifier: Apache-2.0
// How quick the page is, in a headless Chromium that draws in software, with 50,000 sites, 100,000 nodes and a week of
// one-minute points:
//
//     npm run perf            prints the figures, ends with 1 when a limit is passed
//
// Each figure is the median of several; "paint" is the end of the frame after the one that drew.  What the mock server
// takes to make an answer is not counted (it keeps it); sending, parsing and drawing it are.
import { launch, open } from './browser.mjs';
import { startServer } from './mock/server.mjs';

const server = await startServer(), browser = await launch(), REPEAT = Number(process.argv[2] ?? 7);
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
let over = 0;
function report(name, list, limit, unit = 'ms') {
	const m = median(list), bad = limit !== null && m > limit;
	if (bad) over = 1;
	console.log(`${name.padEnd(58)} ${m.toFixed(1).padStart(8)} ${unit}  (${Math.min(...list).toFixed(1)} – ${Math.max(...list).toFixed(1)})${limit === null ? '' : `  limit ${limit}${bad ? '  PASSED OVER' : ''}`}`);
}

const page = await open(browser, `${server.url}/?p=2&show=icicle&view=2006`);
await page.waitForFunction(() => /in use/.test(document.querySelector('.picture-told')?.textContent ?? ''), null, { timeout: 120000 });
/** In the page: from before act() until the frame after done() has been painted. */
await page.evaluate(() => {
	window.painted = () => new Promise(r => requestAnimationFrame(() => setTimeout(r, 0)));
	window.timed = async (act, done) => {
		await new Promise(r => setTimeout(r, 120));
		const begin = performance.now();
		act();
		while (!done()) await new Promise(r => { const c = new MessageChannel(); c.port1.onmessage = r; c.port2.postMessage(0); });
		await painted();
		return performance.now() - begin;
	};
	window.press = (key, on = document.body) => on.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
	window.canvas = () => document.querySelector('.picture canvas');
	window.told = () => document.querySelector('.picture-told').textContent;
	window.set = (e, v) => {
		Object.getOwnPropertyDescriptor(e.constructor.prototype, 'value').set.call(e, v);
		e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input', { bubbles: true }));
	};
	window.stale = () => !!document.querySelector('.stale');
});
const many = async (work, n = REPEAT) => {
	const out = [];
	for (let i = 0; i < n; i++) out.push(await page.evaluate(work, i));
	return out;
};
const nodes = await page.evaluate(async () => (await (await fetch('/api/v1/view/flame?view=2006&lines=1&most=100000')).json()).nodes.parent.length);
console.log(`icicle of ${nodes} nodes; Chromium ${browser.version()}, ${(await import('node:os')).cpus().length} processors`);

// the tree is there, the tab is changed: layout and paint of all of it
report('first paint of the icicle, data there', await many(async () => {
	press('1');
	await timed(() => undefined, () => document.querySelector('.tr'));
	return timed(() => press('3'), () => canvas() && told().includes('in use'));
}), 150);
// not kept by the page: fetched, parsed, checked, laid out, painted
report('the same, with fetching and parsing it', await many(async i => {
	press('1');
	await timed(() => undefined, () => document.querySelector('.tr'));
	set(document.querySelector('#view'), ['2005', '2006'][i % 2]);
	await timed(() => undefined, () => !stale());
	const t = await timed(() => press('3'), () => canvas() && told().includes('in use') && !stale());
	return t;
}, 2), null);
await page.evaluate(async () => {
	set(document.querySelector('#view'), '2006');
	await timed(() => press('3'), () => canvas() && told().includes('in use') && !stale());
});
report('zoom in', await many(async () => {
	canvas().focus();
	press('Escape', canvas());
	await painted();
	for (const k of ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowDown']) press(k, canvas());
	await painted();
	const before = location.search;
	return timed(() => press('Enter', canvas()), () => location.search !== before);
}), 50);
report('zoom out to the whole', await many(async () => {
	press('Enter', canvas());
	await painted();
	if (!location.search.includes('z=')) {
		for (const k of ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowDown']) press(k, canvas());
		press('Enter', canvas());
		await painted();
	}
	return timed(() => press('Escape', canvas()), () => !location.search.includes('z='));
}), 50);
report('search (from the last key, without the wait for more keys)', await many(async i => {
	const wait = 60, word = ['session', 'cache', 'alloc', 'query', 'Handle', 'token', 'grow'][i % 7];
	return (await timed(() => set(document.querySelector('#filter-q'), word), () => location.search.includes(`q=${word}`))) - wait;
}), 50);
await page.evaluate(() => set(document.querySelector('#filter-q'), ''));
report('hover', await many(async i => {
	const r = canvas().getBoundingClientRect(), before = told();
	return timed(() => canvas().dispatchEvent(new MouseEvent('mousemove', { clientX: r.left + 60 + i * 90, clientY: r.top + 25 + (i % 3) * 20, bubbles: true })), () => told() !== before || true);
}), 50);

// another base each time, so that nothing is kept by the page; the server has made them before
for (const base of [2000, 2001, 2002, 2003, 2004, 2005]) await page.evaluate(b => fetch(`/api/v1/view/flame?view=2006&base=${b}&lines=1&most=100000`).then(r => r.arrayBuffer()), base);
report('diff of two snapshots of 50,001 sites, click to paint', await many(async i => {
	await timed(() => set(document.querySelector('#base'), ''), () => !stale() && !told().includes('change'));
	return timed(() => set(document.querySelector('#base'), String(2000 + (i % 6))), () => told().includes('change') && !stale());
}, Math.min(REPEAT, 6)), 300);
report('the same, back to one the page has kept', await many(async () => {
	await timed(() => set(document.querySelector('#base'), '2004'), () => told().includes('change') && !stale());
	await timed(() => set(document.querySelector('#base'), '2005'), () => told().includes('change') && !stale());
	return timed(() => set(document.querySelector('#base'), '2004'), () => told().includes('change') && !stale());
}, 3), 300);

// sites: scrolling is a frame
await page.evaluate(async () => {
	set(document.querySelector('#base'), '');
	press('1');
	await timed(() => undefined, () => document.querySelectorAll('.tr .fn').length > 10);
});
report('scrolling the table of sites, per frame', await page.evaluate(async () => {
	const t = document.querySelector('.table'), out = [];
	for (let i = 0; i < 60; i++) {
		t.scrollTop += 140;
		const begin = performance.now();
		await painted();
		out.push(performance.now() - begin);
	}
	return out;
}), 50);

// the timeline: a week of minutes
const points = await page.evaluate(async () => (await (await fetch('/api/v1/processes/2/timeline?points=12000')).json()).time_ms.length);
report(`panning the timeline of ${points} points, per frame`, await page.evaluate(async () => {
	const chart = document.querySelector('.chart'), out = [];
	chart.focus();
	press('+', chart);
	press('+', chart);
	await painted();
	for (let i = 0; i < 40; i++) {
		const begin = performance.now();
		press(i < 20 ? 'ArrowLeft' : 'ArrowRight', chart);
		await painted();
		out.push(performance.now() - begin);
	}
	return out;
}), 50);
const loads = [];
for (let i = 0; i < 3; i++) {
	const p = await open(browser, `${server.url}/?p=1`);
	await p.waitForSelector('.tr');
	loads.push(await p.evaluate(() => performance.now()));
	await p.context().close();
}
report('page opened until the sites are there (small process)', loads, null);
await browser.close();
await server.close();
process.exit(over);
