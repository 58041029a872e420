// SPDX-License-Identifier: Apache-2.0
// One HTML file and hashed assets, nothing inlined: the server's Content-Security-Policy allows
// neither inline script nor inline style.  Graphviz is a chunk of its own, fetched when a graph is
// asked for; all else is one script and one style sheet.
import { defineConfig } from 'vitest/config';

export default defineConfig({
	base: '/',
	esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
	build: {
		target: 'es2022',
		outDir: 'dist',
		assetsDir: 'assets',
		assetsInlineLimit: 0,
		cssCodeSplit: false,
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
		chunkSizeWarningLimit: 2000,
	},
	server: { host: '127.0.0.1', port: 5173, proxy: { '/api': 'http://127.0.0.1:7337' } },
	test: { include: ['test/unit/*.test.ts'], environment: 'node', pool: 'threads', poolOptions: { threads: { maxThreads: 2, minThreads: 1 } } },
});
