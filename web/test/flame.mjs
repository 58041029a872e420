// SPDX-License-Identifier: Apache-2.0
// How quick a flame graph page of `seep export` is, in a headless Chromium that draws in software:
//
//     node test/flame.mjs FILE.flame.html [REPEAT]
//
// Medians, and the extremes.  "First paint" is the browser's own figure, from the beginning of the navigation; the others are
// from the event until the frame after the one that drew.
import { pathToFileURL } from 'node:url';
import { launch, open } from './browser.mjs';

const [file, repeat] = [process.argv[2], Number(process.argv[3] ?? 7)];
if (!file) {
	console.error('usage: node test/flame.mjs FILE.flame.html [REPEAT]');
	process.exit(2);
}
const browser = await launch();
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const report = (name, list) => console.log(`${name.padEnd(40)} ${median(list).toFixed(1).padStart(7)} ms  (${Math.min(...list).toFixed(1)} – ${Math.max(...list).toFixed(1)})`);

const paints = [], loads = [];
let page;
for (let i = 0; i < repeat; i++) {
	if (page) await page.context().close();
	page = await open(browser, pathToFileURL(file).href);
	paints.push(await page.evaluate(async () => {
		for (;;) {
			const found = performance.getEntriesByName('first-contentful-paint')[0];
			if (found) return found.startTime;
			await new Promise(r => setTimeout(r, 4));
		}
	}));
	loads.push(await page.evaluate(() => performance.getEntriesByType('navigation')[0].domInteractive));
}
await page.evaluate(() => {
	window.timed = act => new Promise(done => {
		const begin = performance.now();
		act();
		requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin), 0));
	});
	window.press = key => document.getElementById('canvas').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
	window.look = text => {
		const field = document.getElementById('search');
		field.value = text;
		field.dispatchEvent(new Event('input', { bubbles: true }));
	};
});
const nodes = await page.evaluate(() => JSON.parse(document.getElementById('data').textContent).parent.length);
console.log(`${nodes} boxes; Chromium ${browser.version()}`);
report('until its script has run', loads);
report('first paint', paints);
async function many(prepare, act) {
	const out = [];
	for (let i = 0; i < repeat; i++) {
		await page.evaluate(prepare, i);
		out.push(await page.evaluate(act, i));
	}
	return out;
}
report('search', await many(() => timed(() => look('')), i => timed(() => look(['function_1', 'leaf_9', '7', 'n_12', '_3.*4$', 'none', 'o'][i % 7]))));
await page.evaluate(() => timed(() => press('Escape')));
report('select, and zoom in', await many(async () => {
	await timed(() => press('Escape'));
	await timed(() => press('ArrowDown'));
}, () => timed(() => {
	press('ArrowDown');
	press('Enter');
})));
report('zoom out', await many(async () => {
	await timed(() => press('ArrowDown'));
	await timed(() => press('Enter'));
}, () => timed(() => press('Escape'))));
report('hover', await many(() => undefined, i => timed(() => {
	const c = document.getElementById('canvas'), r = c.getBoundingClientRect();
	c.dispatchEvent(new MouseEvent('mousemove', { clientX: r.left + 60 + i * 90, clientY: r.top + 25 + (i % 3) * 20, bubbles: true }));
})));
await browser.close();
