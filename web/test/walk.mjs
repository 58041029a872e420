// SPDX-License-Identifier: Apache-2.0
// A walk through the page in a real browser: what somebody does who looks for a leak.  Against the server that never
// was (test/mock), or against a real one:
//
//     node test/walk.mjs [URL PROCESS [FUNCTION FILE:LINE]]
//
// Says TAP.  Each step waits for what it expects to see; every exception, error and refusal of the policy counts.
import { browserPath, launch, open } from './browser.mjs';
import { startServer } from './mock/server.mjs';

const [realUrl, realProcess, realFunction, realLine] = process.argv.slice(2);
if (!browserPath()) {
	console.log('1..0 # SKIP there is no Chromium');
	process.exit(0);
}
const mock = realUrl ? null : await startServer(), url = realUrl ?? mock.url, who = realProcess ?? '1', leak = realFunction ?? 'session_buffer_new', line = realLine ?? 'session.c:13';
let browser;
try {
	browser = await launch();
} catch (e) {
	console.log(`1..0 # SKIP the browser does not come up here: ${String(e).split('\n')[0]}`);
	await mock?.close();
	process.exit(0);
}

let number = 0, failed = 0;
async function step(name, page, work) {
	let why = null;
	try {
		await work();
		if (page.complaints.length) why = page.complaints.splice(0).join('\n');
	} catch (e) {
		why = `${e.message}\n${page.complaints.splice(0).join('\n')}`;
	}
	console.log(`${why ? 'not ok' : 'ok'} ${++number} - ${name}`);
	if (why) {
		failed++;
		console.log(why.replace(/\u001b\[[0-9;]*m/g, '').replace(/^/gm, '# '));
		if (process.env.SEEP_SHOTS) await page.screenshot({ path: `${process.env.SEEP_SHOTS}/failed-${number}.png` }).catch(() => undefined);
	}
}
function check(ok, what) {
	if (!ok) throw new Error(what);
}
const equal = (a, b, what) => check(a === b, `${what}: ${JSON.stringify(a)} instead of ${JSON.stringify(b)}`);
/** Waits until it is so, and says what it was instead. */
async function until(look, want, what) {
	const end = Date.now() + 90000;
	for (;;) {
		let now;
		try {
			now = await look();
		} catch (e) {
			now = e;
		}
		if (want(now)) return now;
		if (Date.now() > end) throw new Error(`${what}: ${now instanceof Error ? now.message : JSON.stringify(now)}`);
		await new Promise(r => setTimeout(r, 50));
	}
}

const page = await open(browser, url), $ = s => page.locator(s), parameter = name => new URL(page.url()).searchParams.get(name);
/* A table leaves columns out rather than cutting one off. */
async function fits(what) {
	const size = page.viewportSize();
	for (const width of [1600, 1440, 1280, 1180, 1060, 960, 860, 800, 700, 560]) {
		await page.setViewportSize({ ...size, width });
		await until(() => $('.table').first().evaluate(t => t.scrollWidth - t.clientWidth), over => over <= 1, `${what}: columns cut off at ${width} px`);
	}
	await page.setViewportSize(size);
}
const told = () => $('.picture-told').first().textContent();

await step('the list shows processes; the tracked ones come first', page, async () => {
	await $('.tr').first().waitFor();
	await until(() => $('.tr').count(), n => n >= 1, 'rows');
	check(await $('.tr .badge.good').count() > 0, 'none is tracked');
	await fits('processes');
});
if (mock)
	await step('a hostile name is text', page, async () => {
		await page.fill('#list-find', 'onerror');
		await until(() => $('.tr').count(), n => n === 1, 'rows');
		equal(await $('.tr .proc-name a').textContent(), '<img src=x onerror=alert(1)>', 'name');
		equal(await page.title(), 'seep', 'title');
		check((await $('.td').last().textContent()).includes('\\x1b[31mred\\x202eevil'), 'control characters are shown');
		await page.fill('#list-find', '');
	});
await step('a process opens from the list by keyboard', page, async () => {
	if (mock) {
		await page.keyboard.press('Escape');
		await page.keyboard.press('/');
		await page.keyboard.type('4711');
		await page.keyboard.press('Enter');
		await until(() => parameter('p'), p => p === '1', 'process');
	} else await page.goto(`${url}/?p=${encodeURIComponent(who)}`);
	await $('.head h1').waitFor();
});
await step('it grows: the timeline shows it, and the sites name the line', page, async () => {
	await $('.chart canvas').waitFor();
	const size = await page.evaluate(() => {
		const c = document.querySelector('.chart canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		let n = 0;
		for (let i = 3; i < d.length; i += 4) if (d[i]) n++;
		return n;
	});
	check(size > 3000, `only ${size} pixels are drawn`);
	check((await $('.timeline-head').textContent()).includes('in use +'), 'it does not say that it grew');
	await $('.tr').first().waitFor();
	const first = await $('.tr').first().textContent();
	check(first.includes(leak) && first.includes(line), `the first row is ${first}`);
	check(first.includes('growing'), `its verdict is not in ${first}`);
	check(await $('.tr .spark-line').count() > 0, 'no course');
	await fits('sites');
});
await step('a row opens: the whole stack, the line to look at marked', page, async () => {
	await $('.tr').first().click();
	await $('.stack .look').first().waitFor();
	check((await $('.stack .look').textContent()).includes(leak), 'another line is marked');
	check((await $('.stack li').count()) > 3, 'the stack is short');
	await $('.tr').first().click();
	await until(() => $('.stack').count(), n => n === 0, 'still open');
});
await step('the headline leads to the line', page, async () => {
	await $('.headline').waitFor();
	check((await $('.headline').textContent()).includes(leak), 'it names something else');
});
await step('brushing a window shows what was allocated in it and not freed by its end', page, async () => {
	const b = await $('.u-over').boundingBox();
	await page.mouse.move(b.x + b.width * 0.35, b.y + 60);
	await page.mouse.down();
	await page.mouse.move(b.x + b.width * 0.55, b.y + 62, { steps: 4 });
	await page.mouse.move(b.x + b.width * 0.8, b.y + 62, { steps: 4 });
	await page.mouse.up();
	await $('.window-chip').waitFor();
	check(Number(parameter('to')) > Number(parameter('from')), 'the address has the window');
	await until(() => $('.tr').first().textContent(), t => t.includes(leak), 'first row');
	await until(() => $('.th').allTextContents(), t => t.some(x => x.includes('Kept')), 'columns');
});
await step('the window as a difference of its ends', page, async () => {
	await page.click('.window-chip >> text=As a difference');
	await until(() => parameter('base'), b => /^\d+$/.test(b ?? ''), 'base');
	await until(() => $('.th').allTextContents(), t => t.some(x => x.startsWith('Change')), 'columns');
	await until(() => $('.tr').first().textContent(), t => t.includes(leak) && t.includes('+'), 'first row');
});
await step('the difference as icicle: the leak is found, zoomed into, and in the address', page, async () => {
	await page.keyboard.press('3');
	await $('.picture canvas').waitFor();
	await page.keyboard.press('/');
	await page.keyboard.type(leak);
	await until(() => parameter('q'), q => q === leak, 'q');
	await $('.picture canvas').focus();
	for (let i = 0; i < 40 && !(await told()).startsWith(leak); i++) await page.keyboard.press('ArrowDown');
	const words = await told();
	check(words.includes(line) && words.includes('change +'), `said: ${words}`);
	await page.keyboard.press('Enter');
	await until(() => parameter('z'), z => /^[0-9a-f]{8}$/.test(z ?? ''), 'zoom');
	const link = page.url();
	await page.reload();
	await until(told, t => t.includes(leak) && t.includes(line), 'after a reload');
	equal(page.url(), link, 'the address');
});
await step('red and green, and back', page, async () => {
	const pixel = () => page.evaluate(() => [...document.querySelector('.picture canvas').getContext('2d').getImageData(200, 5, 1, 1).data].slice(0, 3));
	await page.fill('#filter-q', '');
	await until(() => parameter('q'), q => q === null, 'q');
	const [r, , b] = await pixel();
	check(r > b + 60, `orange is ${await pixel()}`);
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press('f');
	await page.click('text=colour-blind palette');
	await until(pixel, ([r2, g2, b2]) => r2 > g2 + 50 && Math.abs(g2 - b2) < 50, 'red');
	await page.click('text=colour-blind palette');
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press('f');
});
await step('the flame is the icicle upside down', page, async () => {
	await page.click('#tab-flame');
	await page.fill('#filter-q', '');
	await until(() => parameter('z') ?? '', () => true, '');
	await $('.picture canvas').focus();
	await page.keyboard.press('Escape');
	for (let i = 0; i < 40 && !(await told()).startsWith(leak); i++) await page.keyboard.press('ArrowUp');
	check((await told()).includes(line), `said: ${await told()}`);
	await page.keyboard.press('c');
	await until(() => parameter('fn'), f => f === leak, 'function');
});
await step('callers and callees', page, async () => {
	await until(() => $('.sandwich .picture canvas').count(), n => n === 2, 'pictures');
	await $('.sandwich .picture canvas').first().focus();
	await page.keyboard.press('ArrowUp');
	await page.keyboard.press('ArrowUp');
	check((await told()).length > 10, 'the caller is told');
	await page.goBack();
	await until(() => parameter('show'), s => s === 'flame', 'back');
});
await step('the table: the leaking function first, callers with Enter', page, async () => {
	await page.selectOption('#base', '');
	await page.click('#tab-top');
	await until(() => $('.tr').first().textContent(), t => t.includes(leak) && t.includes(line), 'first row');
	for (const by of ['Module', 'Thread', 'Kind', 'Site']) {
		await page.click(`.segments >> text="${by}"`);
		await until(() => $('.tr').count(), n => n > 0, `rows by ${by}`);
	}
	await page.click('.segments >> text="Function"');
	await page.click('.th .sort >> text=In all');
	await until(() => parameter('sort'), s => s === 'total', 'sort');
});
await step('bottom-up begins with the leak, top-down ends there', page, async () => {
	await page.click('#tab-up');
	await until(() => $('.tr').first().textContent(), t => t.includes(leak), 'first row');
	await page.click('#tab-down');
	await until(() => $('.tr .tree-name').allTextContents(), t => t.some(x => x.includes(leak)), 'the hot path is open');
});
await step('the call graph is laid out, under a policy without eval', page, async () => {
	await page.click('#tab-dot');
	await $('.graph svg').waitFor();
	check((await $('.graph svg').textContent()).includes(leak), 'the leak is not in it');
	equal(await $('.graph svg a, .graph svg script, .graph svg [style]').count(), 0, 'links or scripts in it');
});
await step('the source: the leaking line', page, async () => {
	await page.click('#tab-sites');
	await $('.tr').first().click();
	await page.click('.stack .look button.link');
	await until(() => $('.source-line.wanted').textContent(), t => t.includes('malloc('), 'the line');
	check(/MiB|KiB/.test(await $('.source-line.wanted').textContent()), 'what it holds');
});
await step('focus narrows, a wrong expression is explained, nothing left says so', page, async () => {
	await page.click('#tab-sites');
	await page.keyboard.press('f');
	await page.fill('#filter-focus', leak);
	await until(() => $('.foot').textContent(), t => /^1 site\b/.test(t), 'foot');
	await page.fill('#filter-focus', '((');
	await until(() => $('.notice').textContent(), t => /regular expression|bracket|paren/i.test(t), 'notice');
	page.complaints.length = 0;
	await page.fill('#filter-focus', 'no such function');
	await until(() => $('.notice').textContent(), t => t.includes('No stack passes the filters'), 'notice');
	await page.click('text=Remove the filters');
	await until(() => $('.tr').count(), n => n > 1, 'rows');
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press('f');
});
await step('a snapshot, with a label; it can be looked at', page, async () => {
	await page.keyboard.press('s');
	await $('dialog').waitFor();
	check((await $('dialog').textContent()).includes('What will be done'), 'no account');
	await page.fill('dialog input[type=text] >> nth=0', 'from the page');
	await page.click('dialog .dialog-foot .primary');
	await page.click('text=Look at it');
	await until(() => parameter('view'), v => /^\d+$/.test(v ?? ''), 'view');
	await until(() => $('#view option:checked').textContent(), t => t.includes('from the page'), 'chosen');
	await page.selectOption('#view', '');
});
await step('a leak check, with what is done and how far it is', page, async () => {
	await page.keyboard.press('c');
	await $('dialog .account li').first().waitFor();
	await page.click('dialog .dialog-foot .primary');
	await $('dialog .progress').waitFor();
	await page.click('text=See the findings');
	await until(() => $('.cards').textContent(), t => t.includes('definitely lost') && t.includes(leak), 'cards');
});
await step('lost blocks as icicle', page, async () => {
	await page.click('text=Lost blocks as icicle');
	await until(() => parameter('value'), v => v === 'leaked', 'value');
	await $('.picture canvas').waitFor();
	await page.selectOption('#value', 'in_use');
});
const canTrim = await $('.actions button:has-text("Trim")').isEnabled();
if (!canTrim) console.log(`ok ${++number} - a trim begins with its dry run # SKIP this server has no trim`);
else await step('a trim begins with its dry run', page, async () => {
	await page.click('.actions >> text=Trim');
	await $('dialog').waitFor();
	equal((await $('dialog .dialog-foot .primary').textContent()).trim(), 'Dry run', 'the button');
	await page.click('dialog .dialog-foot .primary');
	await page.click('dialog .primary.warn');
	await until(() => $('dialog').textContent(), t => !t.includes('Dry run:') && /done/.test(t), 'the trim');
	await page.keyboard.press('Escape');
	await until(() => $('dialog').count(), n => n === 0, 'closed');
});
await step('help, dark and light', page, async () => {
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press('?');
	await until(() => $('dialog').textContent(), t => t.includes('Timeline'), 'help');
	await page.keyboard.press('Escape');
	await until(() => $('dialog').count(), n => n === 0, 'closed');
	const theme = () => page.evaluate(() => document.documentElement.dataset.theme), before = await theme();
	await page.keyboard.press('t');
	await until(theme, t => t !== before, 'theme');
	await page.keyboard.press('t');
});
await step('downloads name their files', page, async () => {
	await page.click('.menu summary');
	const [file] = await Promise.all([page.waitForEvent('download'), page.click('.menu-list >> text=folded stacks')]);
	check(/folded|\.txt/.test(file.suggestedFilename()), file.suggestedFilename());
});
if (mock) {
	await step('a job that fails says why and what to do', page, async () => {
		mock.state.fail = 'doctor';
		await page.click('.actions >> text=Doctor');
		await page.click('dialog .dialog-foot .primary');
		await until(() => $('dialog .notice').textContent(), t => t.includes('may not be looked at') && t.includes('as root'), 'why');
		mock.state.fail = null;
		await page.keyboard.press('Escape');
	});
	await step('an untracked process: attach, with a plain account', page, async () => {
		await page.goto(`${url}/?p=pid:4242`);
		await page.click('.actions >> text=Attach');
		check((await $('dialog .account').textContent()).includes('Loads the tracker'), 'account');
		check((await $('dialog').textContent()).includes('changes the process'), 'warning');
		await page.click('dialog .dialog-foot .primary');
		await until(() => $('dialog').textContent(), t => t.includes('from before have no stack'), 'result');
		await page.keyboard.press('Escape');
		await until(() => $('.actions').textContent(), t => t.includes('Detach'), 'actions');
	});
	await step('a process that died, one without anything, one that never was', page, async () => {
		await page.goto(`${url}/?p=3`);
		await until(() => $('.ended').textContent(), t => t.includes('out-of-memory killer'), 'its end');
		await page.goto(`${url}/?p=99`);
		await until(() => $('.notice').textContent(), t => t.includes('no process 99'), 'notice');
		page.complaints.length = 0;
	});
	await step('fifty thousand sites scroll, rows come as they are needed', page, async () => {
		await page.goto(`${url}/?p=2`);
		await until(() => $('.foot').textContent(), t => t.startsWith('50,00'), 'foot');
		await page.evaluate(() => (document.querySelector('.table').scrollTop = 700000));
		await until(() => $('.tr .fn').count(), n => n > 10, 'rows in the middle');
		check(await $('.tr').count() < 80, 'more rows than can be seen exist');
	});
	await step('the server goes away: the page says so and keeps what it shows', page, async () => {
		await page.goto(`${url}/?p=1`);
		await $('.tr').first().waitFor();
		await mock.close();
		await until(() => $('.lost-note').count(), n => n === 1, 'notice');
		check(await $('.tr').count() > 3, 'the rows are gone');
		page.complaints.length = 0;
	});
}
console.log(`1..${number}`);
await browser.close();
process.exit(failed ? 1 : 0);
