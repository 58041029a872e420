// SPDX-License-Identifier: Apache-2.0
// A headless Chromium for the page's tests; collects what the page complains of.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
export const browserPath = () => process.env.SEEP_CHROMIUM ?? PLACES.find(existsSync) ?? null;

export const launch = () => chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'] });

/** A page; its `complaints` are exceptions, errors of the console and what its policy refused. */
export async function open(browser, url, { width = 1440, height = 900, dark = false } = {}) {
	const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', acceptDownloads: true });
	const page = await context.newPage(), complaints = [];
	page.setDefaultTimeout(120000);
	page.on('pageerror', e => complaints.push(`exception: ${e.stack ?? e}`));
	page.on('console', m => {
		if (m.type() === 'error' && !/status of (404|400|409)|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE/.test(m.text())) complaints.push(`console: ${m.text()}`);
	});
	await page.goto(url);
	return Object.assign(page, { complaints });
}
