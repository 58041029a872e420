// SPDX-License-Identifier: Apache-2.0
import { Dialog } from '../ui/dialog';

const KEYS: [string, [string, string][]][] = [
	['Everywhere', [['?', 'this help'], ['/', 'find'], ['1 … 9, 0', 'Sites, Flame, Icicle, Table, Bottom-up, Top-down, Callers, Graph, Source, Findings'], ['Esc', 'out of a field; then: zoom, window'], ['p', 'all processes'], ['t', 'dark or light'], ['Alt ←', 'back to what you looked at before']]],
	['A process', [['v', 'view: which moment'], ['d', 'diff: compare with'], ['x', 'value: in use, blocks, growth, leaked'], ['f', 'filters: focus, ignore, hide, …'], ['s', 'take a snapshot'], ['c', 'leak check'], ['r', 'look again']]],
	['Flame, icicle', [['← → ↑ ↓', 'move'], ['Enter, click', 'zoom in'], ['Backspace', 'zoom out'], ['c, double click', 'callers and callees']]],
	['Tables', [['↑ ↓ PgUp PgDn', 'move'], ['Enter', 'open: the stack, or what is below'], ['→ ←', 'open, close']]],
	['Timeline', [['drag', 'a window: what was allocated in it and not freed by its end'], ['wheel, + −', 'zoom'], ['Shift drag, ← →', 'move'], ['w', 'what is shown becomes the window'], ['0, double click', 'all of it']]],
];

export function Help({ onClose }: { onClose: () => void }) {
	return (
		<Dialog title="Keys" onClose={onClose} wide>
			<div class="keys">
				{KEYS.map(([title, keys]) => (
					<section key={title}>
						<h3>{title}</h3>
						<dl>{keys.map(([k, what]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{what}</dd></div>)}</dl>
					</section>
				))}
			</div>
			<p class="dim">The address holds everything you see: send it to show it to somebody else.</p>
		</Dialog>
	);
}
