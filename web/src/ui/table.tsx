// SPDX-License-Identifier: Apache-2.0
// A table of any length: only the rows on the screen exist.  Rows have one height; an opened row has more below it,
// whose height is known from its content, so that every position can be computed.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface Column<Row> {
	key: string;
	title: string;
	hint?: string;
	width: string; // of a grid's column
	right?: boolean;
	sort?: string; // what to sort by, where one can
	from?: number; // shown from this width of the table on, if there is room for those before it
	cell(row: Row, i: number): ComponentChildren;
}

interface Props<Row> {
	label: string;
	columns: Column<Row>[];
	count: number;
	row(i: number): Row | null; // null: not here yet
	id(row: Row, i: number): string;
	sorted?: string;
	onSort?(key: string): void;
	onRange?(from: number, to: number): void;
	open?: ReadonlySet<string>;
	onToggle?(id: string, row: Row): void;
	detail?(row: Row, i: number): { height: number; content: ComponentChildren };
	onActivate?(row: Row, i: number): void; // Enter or a click, where rows do not open
	tone?(row: Row): string;
	rowHeight?: number;
	dim?: boolean;
	treegrid?: boolean;
	level?(row: Row): number;
	expanded?(row: Row): boolean | null; // null: has nothing below
}

const PADDING = 22; // of a row: parts.css
const MORE = 8; // rows beyond the edges

export function Table<Row>(p: Props<Row>) {
	const high = p.rowHeight ?? 28, box = useRef<HTMLDivElement>(null);
	const [view, setView] = useState({ top: 0, height: 600, width: 1200 });
	const [active, setActive] = useState(0);
	const look = () => {
		const b = box.current;
		if (b) setView(v => (v.top === b.scrollTop && v.height === b.clientHeight && v.width === b.clientWidth ? v : { top: b.scrollTop, height: b.clientHeight, width: b.clientWidth }));
	};
	useLayoutEffect(() => {
		look();
		const observer = new ResizeObserver(look);
		observer.observe(box.current!);
		return () => observer.disconnect();
	}, []);

	// opened rows that are here, in order, with what they add
	const opened: { i: number; height: number; content: ComponentChildren }[] = [];
	if (p.open?.size && p.detail)
		for (let i = 0, left = p.open.size; i < p.count && left; i++) {
			const r = p.row(i);
			if (!r || !p.open.has(p.id(r, i))) continue;
			opened.push({ i, ...p.detail(r, i) });
			left--;
		}
	const topOf = (i: number) => i * high + opened.reduce((sum, o) => sum + (o.i < i ? o.height : 0), 0);
	const rowAt = (y: number) => {
		let low = 0, up = p.count;
		while (low < up) {
			const mid = (low + up) >> 1;
			if (topOf(mid + 1) <= y) low = mid + 1;
			else up = mid;
		}
		return low;
	};
	const from = Math.max(0, rowAt(view.top) - MORE), to = Math.min(p.count, rowAt(view.top + view.height) + MORE);
	useEffect(() => p.onRange?.(from, to), [from, to, p.count, p.onRange]);

	/* What matters less (`from` is later) is left out before anything is cut off. */
	let room = view.width - PADDING;
	const shown = [...p.columns].sort((a, b) => (a.from ?? 0) - (b.from ?? 0)).filter(c => (room -= parseInt(c.width.replace(/^\D+/, ''))) >= 0 && view.width >= (c.from ?? 0) || !c.from);
	const columns = p.columns.filter(c => shown.includes(c)), template = columns.map(c => c.width).join(' ');
	const reveal = (i: number) => {
		const b = box.current!, y = topOf(i), head = 30;
		if (y < b.scrollTop) b.scrollTop = y;
		else if (y + high + head > b.scrollTop + b.clientHeight) b.scrollTop = y + high + head - b.clientHeight;
	};
	const choose = (i: number) => {
		const r = p.row(i);
		if (!r) return;
		setActive(i);
		if (p.onToggle) p.onToggle(p.id(r, i), r);
		else p.onActivate?.(r, i);
	};
	const key = (e: KeyboardEvent) => {
		if (e.ctrlKey || e.altKey || e.metaKey) return;
		const page = Math.max(1, Math.floor(view.height / high) - 2), r = p.row(active);
		const is = r && p.expanded ? p.expanded(r) : null;
		const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: p.count - 1 }[e.key];
		if (to !== undefined) {
			const i = Math.max(0, Math.min(p.count - 1, to));
			setActive(i);
			reveal(i);
		} else if (e.target !== box.current) return;
		else if (e.key === 'Enter' || e.key === ' ' || (e.key === 'ArrowRight' && is === false) || (e.key === 'ArrowLeft' && is === true)) choose(active);
		else return;
		e.preventDefault();
	};

	const rows: ComponentChildren[] = [];
	for (let i = from; i < to; i++) {
		const r = p.row(i), id = r ? p.id(r, i) : `none ${i}`, isOpen = !!r && !!p.open?.has(id);
		const is = r && p.expanded ? p.expanded(r) : p.detail ? isOpen : null;
		rows.push(
			<div
				key={id}
				class={`tr ${i % 2 ? 'odd' : ''} ${i === active ? 'active' : ''} ${isOpen ? 'open' : ''} ${r && p.tone ? p.tone(r) : ''}`}
				role="row"
				aria-rowindex={i + 2}
				aria-level={r && p.level ? p.level(r) : undefined}
				aria-expanded={is === null ? undefined : is}
				style={{ top: topOf(i) + 'px', height: high + 'px', gridTemplateColumns: template }}
				onClick={e => {
					if ((e.target as Element).closest('button, a, input') || String(getSelection()).length) return;
					choose(i);
				}}
			>
				{columns.map(c => <div key={c.key} role="gridcell" class={c.right ? 'td right' : 'td'}>{r ? c.cell(r, i) : c === columns[0] ? '…' : ''}</div>)}
			</div>,
		);
		const o = opened.find(o => o.i === i);
		if (o) rows.push(<div key={id + ' detail'} class="detail" role="row" style={{ top: topOf(i) + high + 'px', height: o.height + 'px', width: view.width + 'px' }}><div role="gridcell">{o.content}</div></div>);
	}
	return (
		<div ref={box} class={`table ${p.dim ? 'stale' : ''}`} role={p.treegrid ? 'treegrid' : 'grid'} aria-label={p.label} aria-rowcount={p.count + 1} tabIndex={0} onScroll={look} onKeyDown={key}>
			<div class="thead" role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
				{columns.map(c => (
					<div key={c.key} role="columnheader" class={c.right ? 'th right' : 'th'} title={c.hint} aria-sort={c.sort && p.sorted === c.sort ? 'descending' : undefined}>
						{c.sort && p.onSort ? (
							<button type="button" class={`sort ${p.sorted === c.sort ? 'on' : ''}`} onClick={() => p.onSort!(c.sort!)}>{c.title}{p.sorted === c.sort ? <span aria-hidden="true"> ▾</span> : ''}</button>
						) : c.title}
					</div>
				))}
			</div>
			<div class="tbody" role="rowgroup" style={{ height: topOf(p.count) + 'px' }}>{rows}</div>
		</div>
	);
}
