// SPDX-License-Identifier: Apache-2.0
// What a browser fetches before it shows the page, compressed as the server sends it; the call graph's layout is
// fetched only when somebody asks for a call graph.  More than 80 kB is a failure.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const LIMIT = 80000, dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist'), html = readFileSync(join(dist, 'index.html'), 'utf8');
const parts = ['index.html', ...[...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map(m => m[1])];
const weights = parts.map(p => [p, gzipSync(readFileSync(join(dist, p)), { level: 9 }).length]), sum = weights.reduce((s, w) => s + w[1], 0);
console.log(`${sum} of ${LIMIT} bytes gzip (${weights.map(([p, w]) => `${p.replace(/^assets\//, '')} ${w}`).join(', ')})`);
// nothing else is loaded at once, and nothing is inline: the policy would refuse it
const scripts = parts.filter(p => p.endsWith('.js')), entry = readFileSync(join(dist, scripts[0]), 'utf8');
const eager = [...entry.matchAll(/(?:^|;)import(?:[^("';]*from)?["']([^"']+)["']/g)].map(m => m[1]);
const inline = /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=/i.test(html);
if (scripts.length !== 1 || eager.length) console.log(`more is loaded at once: ${[...scripts.slice(1), ...eager]}`);
if (inline) console.log('index.html has inline script or style');
process.exit(sum > LIMIT || scripts.length !== 1 || eager.length || inline ? 1 : 0);
