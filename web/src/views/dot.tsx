// SPDX-License-Identifier: Apache-2.0
// The call graph, laid out here by Graphviz, which is fetched only now: it is thirty times as large as all the rest.
import { computed, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { getText, query } from '../api/client';
import { resource } from '../state/resource';
import { colorblind, go, route } from '../state/route';
import { parameters, version } from '../state/store';
import { TroubleNotice, Waiting } from '../ui/bits';

const NODES = [20, 40, 80, 160];
const nodes = signal(40);

const key = computed(() => {
	const s = route.value, p = parameters.value;
	if (!p || s.show !== 'dot') return null;
	version.value;
	return 'view/dot?' + query({ ...p, nodecount: nodes.value, colorblind: colorblind.value });
});

/** What Graphviz made of names from other people's binaries: only what draws is let into the page. */
const DRAWS = new Set(['svg', 'g', 'path', 'polygon', 'polyline', 'ellipse', 'text', 'title', 'tspan']);
function safe(svg: string): SVGSVGElement {
	const root = new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement;
	if (root.nodeName !== 'svg') throw new Error('Graphviz made no picture');
	const walk = (e: Element) => {
		for (const child of [...e.children]) {
			if (child.localName === 'a') child.replaceWith(...child.childNodes);
			else if (!DRAWS.has(child.localName)) child.remove();
		}
		for (const child of e.children) walk(child);
		for (const a of [...e.attributes]) if (/^on|href|^style$/i.test(a.name)) e.removeAttribute(a.name);
	};
	for (let before = -1; before !== root.querySelectorAll('a').length; ) {
		before = root.querySelectorAll('a').length;
		walk(root);
	}
	return document.importNode(root, true) as unknown as SVGSVGElement;
}

/** Graphviz has reckoned with another font than there is: what is too wide for its box is made narrower. */
function squeeze(svg: SVGSVGElement) {
	for (const node of svg.querySelectorAll('g.node')) {
		const shape = node.querySelector('polygon, ellipse, path') as SVGGraphicsElement | null;
		if (!shape) continue;
		const room = shape.getBBox().width - 8;
		for (const t of node.querySelectorAll('text'))
			if (t.getComputedTextLength() > room && room > 0) {
				t.setAttribute('textLength', String(room));
				t.setAttribute('lengthAdjust', 'spacingAndGlyphs');
			}
	}
}

let viz: Promise<import('@viz-js/viz').Viz> | null = null;
export const dot = resource<SVGSVGElement>(key, {
	fetch: async (path, abort) => {
		const text = await getText(path, abort);
		viz ??= import('@viz-js/viz').then(m => m.instance());
		return safe((await viz).renderString(text, { format: 'svg' }));
	},
});

export function DotView() {
	const { data, trouble, loading } = dot.answer.value, box = useRef<HTMLDivElement>(null), at = useRef({ x: 0, y: 0, k: 1 });
	const place = () => {
		const svg = box.current?.querySelector('svg');
		if (svg) svg.style.transform = `translate(${at.current.x}px, ${at.current.y}px) scale(${at.current.k})`;
	};
	const fit = () => {
		const b = box.current!, svg = b.querySelector('svg');
		if (!svg) return;
		const w = svg.viewBox.baseVal.width, h = svg.viewBox.baseVal.height, k = Math.min(1.6, (b.clientWidth - 24) / w, (b.clientHeight - 24) / h);
		at.current = { k, x: (b.clientWidth - w * k) / 2, y: 12 };
		place();
	};
	useEffect(() => {
		if (!data || !box.current) return;
		const w = data.viewBox.baseVal.width, h = data.viewBox.baseVal.height;
		data.setAttribute('width', String(w));
		data.setAttribute('height', String(h));
		data.setAttribute('role', 'img');
		data.setAttribute('aria-label', 'Call graph: larger boxes hold more');
		box.current.replaceChildren(data);
		squeeze(data);
		fit();
	}, [data]);
	const zoom = (by: number, cx: number, cy: number) => {
		const a = at.current, k = Math.max(0.05, Math.min(8, a.k * by));
		at.current = { k, x: cx - ((cx - a.x) * k) / a.k, y: cy - ((cy - a.y) * k) / a.k };
		place();
	};
	return (
		<div class="fill">
			<div class="bar">
				<label>Boxes <select value={nodes.value} onChange={e => (nodes.value = Number(e.currentTarget.value))}>{NODES.map(n => <option key={n} value={n}>{n}</option>)}</select></label>
				<button type="button" onClick={() => zoom(1.25, box.current!.clientWidth / 2, 60)} aria-label="Larger">+</button>
				<button type="button" onClick={() => zoom(0.8, box.current!.clientWidth / 2, 60)} aria-label="Smaller">−</button>
				<button type="button" onClick={fit}>Fit</button>
				<span class="dim">Drag to move, wheel to zoom, click a box to find it in the icicle.</span>
			</div>
			{trouble ? <TroubleNotice trouble={trouble} retry={dot.reload} /> : !data && <Waiting what="Laying out the graph…" />}
			<div
				ref={box}
				class={`graph ${loading ? 'stale' : ''}`}
				hidden={!data}
				tabIndex={0}
				role="application"
				aria-label="Call graph. Arrow keys move, plus and minus zoom."
				onWheel={e => {
					e.preventDefault();
					const r = box.current!.getBoundingClientRect();
					zoom(Math.exp(-e.deltaY / 400), e.clientX - r.left, e.clientY - r.top);
				}}
				onPointerDown={e => {
					if (e.button) return;
					const from = { ...at.current, px: e.clientX, py: e.clientY }, b = e.currentTarget;
					let moved = false;
					const move = (m: PointerEvent) => {
						moved ||= Math.abs(m.clientX - from.px) + Math.abs(m.clientY - from.py) > 4;
						at.current = { ...at.current, x: from.x + m.clientX - from.px, y: from.y + m.clientY - from.py };
						place();
					};
					const up = (m: PointerEvent) => {
						b.removeEventListener('pointermove', move);
						b.removeEventListener('pointerup', up);
						// the first line of a box is the function's name
						const name = !moved && (m.target as Element).closest('g.node')?.querySelector('text')?.textContent;
						if (name) go({ show: 'icicle', q: name.split('\n')[0], z: '' }, true);
					};
					b.addEventListener('pointermove', move);
					b.addEventListener('pointerup', up);
				}}
				onKeyDown={e => {
					const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
					if (step) {
						at.current = { ...at.current, x: at.current.x + step[0], y: at.current.y + step[1] };
						place();
					} else if (e.key === '+' || e.key === '-') zoom(e.key === '+' ? 1.25 : 0.8, box.current!.clientWidth / 2, 60);
					else return;
					e.preventDefault();
					e.stopPropagation();
				}}
			/>
		</div>
	);
}
