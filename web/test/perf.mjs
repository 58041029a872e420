// SPDX-License-Identifier: Apache-2.0
// How quick the page is, in a headless Chromium that draws in software, with 50,000 sites, 100,000 nodes and a week of
// one-minute points:
//
//     npm run perf            prints the figures, ends with 1 when a limit is passed
//
// On a busy machine look at the second column, the main thread's own processor time.
//
// Each figure is the median of several; "paint" is the end of the frame after the one that drew.  What the mock server
// takes to make an answer is not counted (it keeps it); sending, parsing and drawing it are.
import { launch, open } from './browser.mjs';
import { startServer } from './mock/server.mjs';

const server = await startServer(), browser = await launch(), REPEAT = Number(process.argv[2] ?? 7);
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
let over = 0;
function report(name, list, limit) {
	const m = median(list.map(l => l.wall)), cpu = list[0].cpu === undefined ? '' : `${median(list.map(l => l.cpu)).toFixed(1).padStart(7)} ms`, bad = limit !== null && m > limit;
	if (bad) over = 1;
	const walls = list.map(l => l.wall);
	console.log(`${name.padEnd(58)} ${m.toFixed(1).padStart(7)} ms ${cpu.padEnd(10)}  (${Math.min(...walls).toFixed(1)} – ${Math.max(...walls).toFixed(1)})${limit === null ? '' : `  limit ${limit}${bad ? '  PASSED OVER' : ''}`}`);
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
		while (!done() && performance.now() - begin < 20000) await new Promise(r => setTimeout(r, 4)); // looking all the time would cost what is measured
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
const session = await page.context().newCDPSession(page);
await session.send('Performance.enable', { timeDomain: 'threadTicks' });
const used = async () => (await session.send('Performance.getMetrics')).metrics.find(m => m.name === 'TaskDuration').value * 1000;
/** prepare is not measured; work gives the time from its act to the paint. */
async function many(prepare, work, n = REPEAT) {
	const out = [];
	for (let i = 0; i < n; i++) {
		await page.evaluate(prepare, i);
		const before = await used(), wall = await page.evaluate(work, i);
		out.push({ wall, cpu: (await used()) - before });
	}
	return out;
}
const nodes = await page.evaluate(async () => (await (await fetch('/api/v1/view/flame?view=2006&lines=1&most=100000')).json()).nodes.parent.length);
console.log(`icicle of ${nodes} nodes; Chromium ${browser.version()}, ${(await import('node:os')).cpus().length} processors`);

const toSites = async () => {
	press('1');
	await timed(() => undefined, () => document.querySelector('.tr'));
};
// the tree is there, the tab is changed: layout and paint of all of it
report('first paint of the icicle, data there', await many(toSites, () => timed(() => press('3'), () => canvas() && told().includes('in use'))), 150);
// not kept by the page: fetched, parsed, checked, laid out, painted
report('the same, with fetching and parsing it', await many(async i => {
	press('1');
	set(document.querySelector('#view'), String(2000 + i));
	await timed(() => undefined, () => document.querySelector('.tr') && !stale());
}, () => timed(() => press('3'), () => canvas() && told().includes('in use') && !stale()), 5), null);
await page.evaluate(async () => {
	set(document.querySelector('#view'), '2006');
	await timed(() => press('3'), () => canvas() && told().includes('in use') && !stale());
});
report('zoom in', await many(async i => {
	canvas().focus();
	press('Escape', canvas());
	await painted();
	for (let k = 0; k < 5 + (i % 3); k++) {
		press('ArrowDown', canvas());
		await painted();
	}
	window.before = location.search;
}, () => timed(() => press('Enter', canvas()), () => location.search !== before)), 50);
report('zoom out to the whole', await many(async () => {
	for (let k = 0; k < 6; k++) {
		press('ArrowDown', canvas());
		await painted();
	}
	press('Enter', canvas());
	await painted();
}, () => timed(() => press('Escape', canvas()), () => !location.search.includes('z='))), 50);
// the wait for more keys is not counted
report('search', (await many(() => undefined, i => timed(() => set(document.querySelector('#filter-q'), ['session', 'cache', 'alloc', 'query', 'Handle', 'token', 'grow'][i % 7]), () => location.search.includes(['session', 'cache', 'alloc', 'query', 'Handle', 'token', 'grow'][i % 7])))).map(l => ({ ...l, wall: l.wall - 60 })), 50);
await page.evaluate(() => set(document.querySelector('#filter-q'), ''));
report('hover', await many(() => new Promise(r => setTimeout(r, 150)), i => {
	const r = canvas().getBoundingClientRect();
	return timed(() => canvas().dispatchEvent(new MouseEvent('mousemove', { clientX: r.left + 60 + i * 90, clientY: r.top + 25 + (i % 3) * 20, bubbles: true })), () => true);
}), 50);

// another base each time, so that nothing is kept by the page; the server has made them before
for (const base of [2000, 2001, 2002, 2003, 2004, 2005]) await page.evaluate(b => fetch(`/api/v1/view/flame?view=2006&base=${b}&lines=1&most=100000`).then(r => r.arrayBuffer()), base);
const noBase = () => timed(() => set(document.querySelector('#base'), ''), () => !stale() && !told().includes('change'));
report('diff of two snapshots of 50,001 sites, click to paint', await many(noBase, i => timed(() => set(document.querySelector('#base'), String(2000 + (i % 6))), () => told().includes('change') && !stale()), 6), 300);
report('the same, of one that the page has kept', await many(noBase, () => timed(() => set(document.querySelector('#base'), '2005'), () => told().includes('change') && !stale())), 300);

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
		out.push({ wall: performance.now() - begin });
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
		out.push({ wall: performance.now() - begin });
	}
	return out;
}), 50);
const loads = [];
for (let i = 0; i < 3; i++) {
	const p = await open(browser, `${server.url}/?p=1`);
	await p.waitForSelector('.tr');
	loads.push({ wall: await p.evaluate(() => performance.now()) });
	await p.context().close();
}
report('page opened until the sites are there (small process)', loads, null);
await browser.close();
await server.close();
process.exit(over);
