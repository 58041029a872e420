// SPDX-License-Identifier: Apache-2.0
// The call tree as an indented table: from main downwards, or bottom-up from what allocated.
import { useMemo, useState } from 'preact/hooks';
import type { About } from '../api/types';
import { count, percent, signed } from '../model/format';
import type { CallTree } from '../model/tree';
import { go, route } from '../state/route';
import { Share } from '../ui/bits';
import { Table, type Column } from '../ui/table';
import { amountOf } from './flame';

/** Opened at the start: along the heaviest path, as long as one child holds most of its parent. */
function hotPath(tree: CallTree): Set<number> {
	const open = new Set<number>([0]);
	for (let i = 0; ; ) {
		let best = -1;
		for (let k = i + 1; k < tree.end[i]; k = tree.end[k]) if (best < 0 || tree.moved[k] > tree.moved[best]) best = k;
		if (best < 0 || tree.moved[best] < tree.moved[i] * 0.5) return open;
		open.add(best);
		i = best;
	}
}

/** The rows that can be seen: of an open node its children; in a difference those that changed most first. */
function visible(tree: CallTree, open: ReadonlySet<number>): Int32Array {
	const out: number[] = [];
	const below = (i: number) => {
		const children: number[] = [];
		for (let k = i + 1; k < tree.end[i]; k = tree.end[k]) children.push(k);
		if (tree.base) children.sort((a, b) => tree.change(b) - tree.change(a) || a - b);
		return children;
	};
	const todo = below(0).reverse();
	while (todo.length) {
		const i = todo.pop()!;
		out.push(i);
		if (open.has(i)) for (const k of below(i).reverse()) todo.push(k);
	}
	return Int32Array.from(out);
}

export function TreeTable({ tree, about, up, stale }: { tree: CallTree; about: About; up: boolean; stale: boolean }) {
	// kept by path, since a new snapshot is another tree; null: nobody has opened anything yet
	const [paths, setPaths] = useState<ReadonlySet<string> | null>(null), q = route.value.q;
	const open = useMemo(() => (paths ? new Set([0, ...[...paths].map(p => tree.byHash(p))]) : hotPath(tree)), [tree, paths]);
	const rows = useMemo(() => visible(tree, open), [tree, open]);
	const fits = useMemo(() => (q ? tree.frames.matching(q) : null), [tree, q]);
	const amount = amountOf(about), whole = tree.value[0] || 1, movedWhole = tree.moved[0] || 1;
	const toggle = (i: number) => {
		const next = new Set(open);
		if (!next.delete(i)) {
			// an only child is opened with its parent
			for (next.add(i); tree.end[i] > i + 1 && tree.end[i + 1] === tree.end[i]; ) next.add(++i);
		}
		setPaths(new Set([...next].map(k => tree.hash(k))));
	};
	const leaf = (i: number) => tree.end[i] === i + 1;
	const columns: Column<number>[] = [
		...(tree.base ? [{ key: 'change', title: 'Change', width: '112px', right: true, cell: (i: number) => <span class={tree.change(i) > 0 ? 'more' : tree.change(i) < 0 ? 'less' : 'dim'}>{signed(tree.change(i), amount)}</span> }] : []),
		{ key: 'total', title: tree.base ? 'After' : 'Total', width: '92px', right: true, cell: i => amount(tree.value[i]) },
		{ key: 'share', title: '%', width: '96px', right: true, from: 560, cell: i => { const share = tree.base ? tree.moved[i] / movedWhole : tree.value[i] / whole; return <><Share share={share} /><span class="num">{percent(share)}</span></>; } },
		{ key: 'self', title: up ? 'Here' : 'Self', hint: up ? 'of what begins at this row' : 'allocated right there', width: '92px', right: true, from: 700, cell: i => { const self = tree.self(i); return self > 0 ? amount(self) : ''; } },
		{
			key: 'name', title: up ? 'Function, and below it its callers' : 'Function, and below it what it calls', width: 'minmax(220px, 1fr)', cell: i => (
				<span class="tree-name" style={{ paddingLeft: (tree.depth[i] - 1) * 14 + 'px' }}>
					<button type="button" class="twist" tabIndex={-1} aria-label={open.has(i) ? 'Close' : 'Open'} disabled={leaf(i)} onClick={() => toggle(i)}>{leaf(i) ? '·' : open.has(i) ? '▾' : '▸'}</button>
					<span class={`mono ${fits?.[tree.frame[i]] ? 'hit' : ''}`} title={`${tree.name(i)}\n${tree.frames.file(tree.frame[i])}\n${tree.frames.module(tree.frame[i])}`}>{tree.name(i)}</span>
				</span>
			),
		},
		{ key: 'at', title: 'Line', width: 'minmax(110px, 0.35fr)', from: 640, cell: i => tree.frames.at(tree.frame[i]) ? <button type="button" class="link mono" tabIndex={-1} onClick={() => go({ show: 'source', file: tree.frames.sentFile(tree.frame[i]), line: tree.frames.line(tree.frame[i]) }, true)}>{tree.frames.at(tree.frame[i])}</button> : '' },
	];
	return (
		<div class="fill">
			<Table
				label={up ? 'Bottom-up: functions that allocated, with their callers' : 'Top-down: functions, with what they call'}
				columns={columns}
				count={rows.length}
				row={i => rows[i]}
				id={i => String(i)}
				level={i => tree.depth[i]}
				expanded={i => (leaf(i) ? null : open.has(i))}
				onToggle={(_, i) => toggle(i)}
				rowHeight={24}
				dim={stale}
				treegrid
			/>
			<div class="foot dim">{count(rows.length)} rows of {count(tree.n - 1)} {up ? '' : 'calls '}{tree.cut.nodes > 0 && `· ${count(tree.cut.nodes)} small ones left out`}</div>
		</div>
	);
}
