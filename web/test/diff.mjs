// SPDX-License-Identifier: Apache-2.0
// How long a difference takes over a real server, from the choice of a base to the paint of it:
//
//     node test/diff.mjs URL PROCESS VIEW BASE...     prints a line for each base, and the median
//
// VIEW and BASE are numbers of snapshots.  Neither the page nor the server should have compared them before: each base is
// one that has to be fetched, joined, laid out and drawn; so give each base once, to a server that has just been started.
import { launch, open } from './browser.mjs';

const [url, process_, view, ...bases] = process.argv.slice(2);
if (!bases.length) {
	console.error('usage: node test/diff.mjs URL PROCESS VIEW BASE...');
	process.exit(2);
}
const browser = await launch();
const page = await open(browser, `${url.replace(/\/$/, '')}/?p=${process_}&show=icicle&view=${view}`);
await page.waitForFunction(() => /in use/.test(document.querySelector('.picture-told')?.textContent ?? ''));
await page.evaluate(() => {
	window.told = () => document.querySelector('.picture-told').textContent;
	window.stale = () => !!document.querySelector('.stale');
	window.choose = async (base, done) => {
		const select = document.querySelector('#base');
		if (![...select.options].some(o => o.value === base)) throw new Error(`snapshot ${base} is none of this process`);
		performance.clearResourceTimings();
		Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(select, base);
		const begin = performance.now();
		select.dispatchEvent(new Event('change', { bubbles: true }));
		while (!done()) {
			if (performance.now() - begin > 60000) throw new Error(`nothing is drawn of base ${base}: "${told()}"`);
			await new Promise(r => setTimeout(r, 4)); // looking all the time would cost what is measured
		}
		await new Promise(r => requestAnimationFrame(() => setTimeout(r, 0)));
		const ms = performance.now() - begin, asked = performance.getEntriesByType('resource').find(e => e.name.includes('view/flame'));
		return { ms, first: asked ? asked.responseStart - begin : 0, last: asked ? asked.responseEnd - begin : 0, bytes: asked?.encodedBodySize ?? 0 };
	};
});
const all = [];
for (const base of bases) {
	await page.waitForTimeout(700); // the page is looked at before the next choice
	const t = await page.evaluate(b => choose(b, () => told().includes('change') && !stale()), base);
	all.push(t.ms);
	console.log(`base ${base}: ${t.ms.toFixed(0)} ms to the paint; first byte after ${t.first.toFixed(0)}, last of ${t.bytes} after ${t.last.toFixed(0)}`);
	await page.waitForTimeout(700);
	await page.evaluate(() => choose('', () => !told().includes('change') && !stale()));
}
console.log(`median ${[...all].sort((a, b) => a - b)[Math.floor(all.length / 2)].toFixed(0)} ms, most ${Math.max(...all).toFixed(0)} ms`);
if (page.complaints.length) console.error(page.complaints.join('\n'));
await browser.close();
process.exit(page.complaints.length ? 1 : 0);
