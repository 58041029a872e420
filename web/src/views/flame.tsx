// SPDX-License-Identifier: Apache-2.0
// Flame and icicle: the painter on a canvas as large as what one sees of it, with what a mouse and a keyboard do to it.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { About } from '../api/types';
import { FlamePainter, ROW, type Scene } from '../draw/flame';
import { bytes, count, percent, signed } from '../model/format';
import { layOut, search, type CallTree } from '../model/tree';
import { go, look, route } from '../state/route';

export const amountOf = (about: Pick<About, 'unit'>) => (v: number | null) => (about.unit === 'blocks' ? count(v) : bytes(v));

/** What a box says: of the tooltip, and of the line below for those who do not use a mouse. */
function facts(tree: CallTree, i: number, about: About, zoom: number): [string, string][] {
	const amount = amountOf(about), out: [string, string][] = [], unit = about.unit === 'blocks' ? 'blocks' : '';
	if (tree.base) {
		out.push(['change', signed(tree.change(i), amount)], ['of all change', percent(tree.moved[0] ? tree.moved[i] / tree.moved[0] : 0)]);
		out.push(['before', amount(tree.base[i])], ['after', amount(tree.value[i])]);
		return out;
	}
	out.push([about.value.replace('_', ' '), `${amount(tree.value[i])} ${unit}`], ['share', percent(about.total ? tree.value[i] / about.total : 0)]);
	const self = tree.self(i);
	if (self > 0 && self !== tree.value[i]) out.push(['right here', amount(self)]);
	if (zoom && i !== zoom && tree.value[zoom]) out.push(['of the zoomed', percent(tree.value[i] / tree.value[zoom])]);
	return out;
}

interface Props {
	tree: CallTree;
	about: About;
	flame: boolean;
	label: string;
	stale?: boolean;
	/** of the page's state: its zoom and search; not where there are two pictures */
	linked?: boolean;
	onOpen?(name: string, module: string): void;
}

export function FlameGraph({ tree, about, flame, label, stale, linked = true, onOpen }: Props) {
	const s = route.value, scroll = useRef<HTMLDivElement>(null), canvas = useRef<HTMLCanvasElement>(null), painter = useRef<FlamePainter | null>(null);
	const [ownZoom, setOwnZoom] = useState(0), [selected, setSelected] = useState(-1), [hover, setHover] = useState(-1);
	const [mouse, setMouse] = useState({ x: 0, y: 0 }), [size, setSize] = useState({ w: 0, h: 0 });
	const diff = tree.base !== null, widths = diff ? s.width : 'value';
	const layout = useMemo(() => layOut(tree, widths), [tree, widths]);
	const zoom = useMemo(() => {
		const z = linked ? (s.z ? tree.byHash(s.z) : 0) : ownZoom < tree.n ? ownZoom : 0;
		return layout.width[z] > 0 ? z : 0;
	}, [tree, layout, s.z, ownZoom, linked]);
	const found = useMemo(() => search(tree, s.q, layout.width), [tree, layout, s.q]);
	const style = look.value;
	const scene = useRef<Scene>(null as never);
	scene.current = { tree, layout, diff, flame, zoom, selected: selected < tree.n ? selected : -1, hover: hover < tree.n ? hover : -1, found, top: scroll.current?.scrollTop ?? 0, look: style };

	const height = Math.max(tree.rows * ROW + 2, size.h);
	useLayoutEffect(() => {
		const measure = () => setSize({ w: scroll.current!.clientWidth, h: scroll.current!.clientHeight });
		measure();
		const observer = new ResizeObserver(measure);
		observer.observe(scroll.current!);
		return () => observer.disconnect();
	}, []);
	useLayoutEffect(() => {
		scroll.current!.scrollTop = flame ? height : 0;
	}, [flame, size.h > 0]);
	// a newer snapshot is another tree: what was selected is where its path leads
	const last = useRef(tree);
	if (last.current !== tree) {
		const path = selected > 0 && selected < last.current.n ? last.current.hash(selected) : '';
		last.current = tree;
		setSelected(path ? tree.byHash(path) || -1 : -1);
		setHover(-1);
	}
	// drawn here and not in a frame of its own: what is shown and what is said belong together
	useLayoutEffect(() => {
		if (!size.w) return;
		painter.current ??= new FlamePainter(canvas.current!, style);
		if (painter.current.wide !== size.w || painter.current.high !== size.h) painter.current.resize(size.w, size.h);
		scene.current.top = scroll.current!.scrollTop;
		painter.current.draw(scene.current);
	});

	const zoomTo = (i: number) => {
		if (!(layout.width[i] > 0)) return;
		if (linked) go({ z: i ? tree.hash(i) : '' });
		else setOwnZoom(i);
		setSelected(i);
		setHover(-1);
		reveal(i);
	};
	const reveal = (i: number) => {
		const b = scroll.current!, p = painter.current!, y = p.rowTop({ ...scene.current, top: b.scrollTop }, tree.depth[i]);
		if (y < 0) b.scrollTop += y - ROW;
		else if (y + ROW > size.h) b.scrollTop += y + ROW - size.h + ROW;
	};
	const hit = (e: MouseEvent) => {
		const r = canvas.current!.getBoundingClientRect();
		return painter.current!.at(scene.current, e.clientX - r.left, e.clientY - r.top);
	};
	const key = (e: KeyboardEvent) => {
		if (e.ctrlKey || e.altKey || e.metaKey) return;
		const i = selected < 0 ? zoom : selected, inward = flame ? 'ArrowUp' : 'ArrowDown', outward = flame ? 'ArrowDown' : 'ArrowUp';
		const to = { [inward]: 'in', [outward]: 'out', ArrowLeft: 'left', ArrowRight: 'right' }[e.key] as 'in' | undefined;
		if (to) {
			const next = selected < 0 ? zoom : FlamePainter.neighbour(scene.current, i, to);
			if (next >= 0) {
				if (!tree.within(next, zoom) && !tree.within(zoom, next)) zoomTo(0);
				setSelected(next);
				reveal(next);
			}
		} else if (e.key === 'Enter') zoomTo(i);
		else if (e.key === 'Backspace') zoomTo(tree.parent[zoom]);
		else if (e.key === 'c' && i) open(i);
		else if (e.key === 'Escape' && (zoom || selected >= 0)) {
			zoomTo(0);
			setSelected(-1);
		} else return;
		e.preventDefault();
		e.stopPropagation();
	};
	const open = (i: number) => {
		const f = tree.frame[i];
		if (onOpen && tree.frames.name(f)) onOpen(tree.frames.sentName(f), tree.frames.sentModule(f));
	};
	const told = hover >= 0 ? hover : selected >= 0 ? selected : zoom;
	const words = [tree.name(told), tree.frames.at(tree.frame[told]), ...facts(tree, told, about, zoom).map(([k, v]) => `${k} ${v}`)].filter(Boolean).join(' · ');
	return (
		<div class={`picture ${stale ? 'stale' : ''}`}>
			<div class="picture-scroll" ref={scroll} onScroll={() => {
				setHover(-1);
				setSize(z => ({ ...z }));
			}}>
				<canvas
					ref={canvas}
					tabIndex={0}
					role="application"
					aria-label={`${label}. Arrow keys move, Enter zooms in, Backspace out, c shows callers and callees; the line below says what is selected.`}
					onMouseMove={e => {
						setHover(hit(e));
						setMouse({ x: e.clientX, y: e.clientY });
					}}
					onMouseLeave={() => setHover(-1)}
					onClick={e => {
						const i = hit(e);
						if (i >= 0) zoomTo(i);
					}}
					onDblClick={e => {
						const i = hit(e);
						if (i > 0) open(i);
					}}
					onKeyDown={key}
				/>
				<div class="picture-space" style={{ height: height + 'px' }} />
			</div>
			<div class="picture-foot">
				<span class="picture-told" role="status" aria-live="polite">{words}</span>
				{zoom > 0 && <button type="button" onClick={() => zoomTo(tree.parent[zoom])}>Out</button>}
				{zoom > 0 && <button type="button" onClick={() => zoomTo(0)}>Whole</button>}
				{tree.cut.nodes > 0 && <span class="dim" title="Filter, to see them">{count(tree.cut.nodes)} small boxes left out</span>}
			</div>
			{hover >= 0 && <Tip x={mouse.x} y={mouse.y} tree={tree} node={hover} facts={facts(tree, hover, about, zoom)} />}
		</div>
	);
}

function Tip({ x, y, tree, node, facts }: { x: number; y: number; tree: CallTree; node: number; facts: [string, string][] }) {
	const box = useRef<HTMLDivElement>(null), f = tree.frame[node], at = tree.frames.file(f), line = tree.frames.line(f);
	useLayoutEffect(() => {
		const b = box.current!, r = b.getBoundingClientRect();
		b.style.left = Math.max(6, Math.min(x + 14, innerWidth - r.width - 8)) + 'px';
		b.style.top = (y + 20 + r.height > innerHeight ? Math.max(6, y - r.height - 10) : y + 20) + 'px';
	});
	return (
		<div class="tip" ref={box} aria-hidden="true">
			<b>{tree.name(node)}</b>
			{at && <div>{at}{line ? `:${line}` : ''}</div>}
			{node > 0 && tree.frames.module(f) && <div>{tree.frames.module(f)}</div>}
			<dl>{facts.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
		</div>
	);
}

/** Keeps a measure of how long a picture took from the request to the paint, for the tests. */
export function usePaintMark(name: string, data: unknown) {
	useEffect(() => {
		if (!data) return;
		requestAnimationFrame(() => setTimeout(() => performance.mark(`seep:${name}`), 0));
	}, [data]);
}
