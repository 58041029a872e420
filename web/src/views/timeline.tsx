// SPDX-License-Identifier: Apache-2.0
// The course of the process: in use and resident as lines, what the doctor says resident memory consists of stacked
// behind them, marks for what happened.  Drag chooses a window, the wheel zooms, Shift and drag (or the
// arrow keys) move.
import { computed, effect, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { get } from '../api/client';
import type { Mark, Timeline } from '../api/types';
import { bytes, clean, clock, duration, signed } from '../model/format';
import { at, before, stack } from '../model/series';
import { dark, go, route } from '../state/route';
import { process, timeline } from '../state/store';
import { Notice, TroubleNotice, Waiting } from '../ui/bits';
import { windowOf } from './controls';

// Lines, and the parts of the split from the bottom: told apart by hue and by lightness (after Okabe and Ito).
const LINES: { key: 'inuse' | 'rss' | 'retained' | 'swap' | 'cgroup'; title: string; light: string; dark: string; dash?: number[]; optional?: boolean }[] = [
	{ key: 'inuse', title: 'In use', light: '#0b62c4', dark: '#66b3ff' },
	{ key: 'rss', title: 'RSS', light: '#b3470f', dark: '#ff9d5c' },
	{ key: 'retained', title: 'Retained', light: '#7a5195', dark: '#c9a0e8', dash: [4, 3], optional: true },
	{ key: 'swap', title: 'Swap', light: '#8a6d00', dark: '#e2c64b', dash: [2, 3], optional: true },
];
const PARTS_LIGHT = ['#a8cdf2', '#7fa9d6', '#f6d79a', '#cfb4e2', '#b4dccb', '#efb9b9', '#d9dde2', '#e9e3b4', '#c9e4ea', '#e3cdbf'];
const PARTS_DARK = ['#20486e', '#35618c', '#6a5218', '#523a68', '#24543f', '#6b3434', '#3a4149', '#56521f', '#23505a', '#5a4233'];

const hidden = signal<ReadonlySet<string>>(new Set());
const cursor = signal<number | null>(null); // seconds

/** A closer look at the part that is shown, where the whole has been thinned out. */
const closer = signal<Timeline | null>(null);
let closerKey = '';
let closerTimer = 0;
effect(() => {
	const { t0, t1 } = route.value, whole = timeline.answer.value.data, p = process.value;
	clearTimeout(closerTimer);
	if (!whole || !t1 || whole.measured <= whole.time_ms.length || (whole.resolution_ms && (t1 - t0) / whole.resolution_ms > 2000)) {
		closer.value = null;
		closerKey = '';
		return;
	}
	const c = closer.peek();
	if (c && closerKey === p && c.from_ms <= t0 && c.to_ms >= t1 && t1 - t0 > (c.to_ms - c.from_ms) / 8) return;
	closerTimer = window.setTimeout(() => {
		const span = t1 - t0;
		get<Timeline>(`processes/${encodeURIComponent(p)}/timeline?points=6000&from=${Math.round(t0 - span)}&to=${Math.round(t1 + span)}`).then(
			t => {
				closerKey = p;
				closer.value = { ...t, from_ms: t0 - span, to_ms: t1 + span };
			},
			() => undefined,
		);
	}, 150);
});

/** The whole with the closer look in its place. */
const shown = computed<Timeline | null>(() => {
	const whole = timeline.answer.value.data, c = closer.value;
	if (!whole || !c) return whole;
	const out = { ...whole }, a = before(whole.time_ms, c.time_ms[0] ?? 0) + 1, b = before(whole.time_ms, c.time_ms[c.time_ms.length - 1] ?? 0) + 1;
	if (!c.time_ms.length) return whole;
	out.time_ms = [...whole.time_ms.slice(0, a), ...c.time_ms, ...whole.time_ms.slice(b)];
	for (const l of LINES) out[l.key] = [...whole[l.key].slice(0, a), ...c[l.key], ...whole[l.key].slice(b)];
	return out;
});

interface Plan {
	data: uPlot.AlignedData;
	parts: { key: string; title: string; color: string }[];
	lines: typeof LINES;
	splitTimes: number[];
}

/** The series to draw, lowest layer first: sums of the split from the top one down, then the lines. */
function plan(t: Timeline, isDark: boolean, off: ReadonlySet<string>): Plan {
	const colors = isDark ? PARTS_DARK : PARTS_LIGHT, times = t.time_ms.map(ms => ms / 1000);
	const lines = LINES.filter(l => !l.optional || t[l.key]?.some(v => v));
	const columns: (number | null | undefined)[][] = [];
	const parts: Plan['parts'] = [];
	if (t.split && t.split.time_ms.length) {
		const { split } = t, keys = split.keys.map((key, i) => ({ key, i })).filter(k => !off.has('split') && split.values[k.i]?.some(v => v));
		// a doctor looks now and then: what it said holds until it says something else, from its first word on
		const which = t.time_ms.map(ms => before(split.time_ms, ms));
		const spread = keys.map(k => which.map(w => (w < 0 ? null : split.values[k.i][w])));
		const sums = stack(spread, times.length);
		keys.forEach((k, n) => parts.push({ key: k.key, title: split.titles[k.i] ?? k.key, color: colors[k.i % colors.length] }) && columns.push(sums[n]));
	}
	const gaps = (values: (number | null)[]) => {
		if (!t.gaps.length) return values;
		const out = [...values];
		for (const [from] of t.gaps) {
			const i = before(t.time_ms, from) + 1;
			if (i > 0 && i < out.length) out[i] = null;
		}
		return out;
	};
	return {
		parts, lines, splitTimes: t.split?.time_ms ?? [],
		data: [times, ...columns.reverse(), ...lines.map(l => gaps(t[l.key]))] as uPlot.AlignedData,
	};
}

/** Made once for each change, not with every movement of the mouse. */
const planned = computed(() => (shown.value ? plan(shown.value, dark.value, hidden.value) : null));

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const GLYPHS: Record<string, string> = { check: '✓', doctor: '♥', trim: '✂', attach: '▸', detach: '◂', killed: '✕', ended: '■', exec: 'x', fork: 'f' };

function drawMarks(u: uPlot, marks: Mark[], s: { view: string; base: string }) {
	const { ctx } = u, { left, top, width, height } = u.bbox, ratio = devicePixelRatio || 1, [min, max] = [u.scales.x.min!, u.scales.x.max!];
	ctx.save();
	ctx.font = `${10 * ratio}px system-ui, sans-serif`;
	ctx.textAlign = 'center';
	let lastTick = -1e9;
	for (const m of marks) {
		const t = m.time_ms / 1000;
		if (t < min || t > max) continue;
		const x = Math.round(left + ((t - min) / (max - min)) * width), chosen = m.kind === 'snapshot' && (String(m.id) === s.view || String(m.id) === s.base);
		ctx.fillStyle = ctx.strokeStyle = chosen ? css('--accent') : m.kind === 'killed' || m.kind === 'ended' ? css('--bad') : css('--dim');
		if (m.kind === 'snapshot') {
			if (!chosen && Math.abs(x - lastTick) < 3 * ratio) continue;
			lastTick = x;
			ctx.fillRect(x - ratio / 2, top + height - (chosen ? height : 6 * ratio), chosen ? 2 * ratio : ratio, chosen ? height : 6 * ratio);
			continue;
		}
		if (m.kind === 'load' || m.kind === 'unload') continue;
		ctx.globalAlpha = 0.45;
		ctx.fillRect(x, top, ratio, height);
		ctx.globalAlpha = 1;
		ctx.fillText(GLYPHS[m.kind] ?? '•', x, top + 9 * ratio);
	}
	ctx.restore();
}

function drawWindow(u: uPlot, from: number, to: number) {
	if (!to) return;
	const { ctx } = u, { left, top, width, height } = u.bbox, [min, max] = [u.scales.x.min!, u.scales.x.max!];
	const x = (t: number) => left + Math.max(0, Math.min(1, (t / 1000 - min) / (max - min))) * width;
	ctx.save();
	ctx.fillStyle = css('--accent');
	ctx.globalAlpha = 0.16;
	ctx.fillRect(x(from), top, x(to) - x(from), height);
	ctx.globalAlpha = 0.9;
	ctx.fillRect(x(from), top, 1.5, height);
	ctx.fillRect(x(to) - 1.5, top, 1.5, height);
	ctx.restore();
}

/** How to write the marks of the time axis: a midnight by its day, all else by the clock. */
function dayOrTime(splits: number[]): (t: number) => string {
	const two = (v: number) => String(v).padStart(2, '0'), fine = splits.length > 1 && splits[1] - splits[0] < 60;
	return t => {
		const d = new Date(t * 1000), midnight = !d.getHours() && !d.getMinutes() && !d.getSeconds();
		return midnight ? `${two(d.getMonth() + 1)}-${two(d.getDate())}` : `${two(d.getHours())}:${two(d.getMinutes())}${fine ? ':' + two(d.getSeconds()) : ''}`;
	};
}

/** [from, to] in seconds, kept where there is something. */
function bounded(t: Timeline, from: number, to: number): [number, number] {
	const first = t.time_ms[0] / 1000, last = t.time_ms[t.time_ms.length - 1] / 1000, span = Math.min(Math.max(to - from, 4), Math.max(last - first, 4));
	const f = Math.max(first, Math.min(from, last - span));
	return [f, f + span];
}

function setRange(from: number, to: number) {
	const t = shown.peek();
	if (!t?.time_ms.length) return;
	const [f, l] = bounded(t, from, to), all = f <= t.time_ms[0] / 1000 && l >= t.time_ms[t.time_ms.length - 1] / 1000;
	go(all ? { t0: 0, t1: 0 } : { t0: Math.round(f * 1000), t1: Math.round(l * 1000) });
}

function visibleRange(t: Timeline): [number, number] {
	const { t0, t1 } = route.peek(), first = (t.time_ms[0] ?? 0) / 1000, last = (t.time_ms[t.time_ms.length - 1] ?? 0) / 1000;
	return t1 ? [t0 / 1000, t1 / 1000] : [first, Math.max(last, first + 1)];
}

export function zoomTimeline(by: number, around?: number) {
	const t = shown.peek();
	if (!t?.time_ms.length) return;
	const [from, to] = visibleRange(t), c = around ?? (from + to) / 2;
	setRange(c - (c - from) * by, c + (to - c) * by);
}

export function panTimeline(by: number) {
	const t = shown.peek();
	if (!t?.time_ms.length) return;
	const [from, to] = visibleRange(t), d = (to - from) * by;
	setRange(from + d, to + d);
}

const RANGES: [string, number][] = [['15 m', 900], ['1 h', 3600], ['6 h', 21600], ['1 d', 86400], ['7 d', 604800]];

function Chart({ t }: { t: Timeline }) {
	const box = useRef<HTMLDivElement>(null), plot = useRef<uPlot | null>(null), signature = useRef('');
	const s = route.value, isDark = dark.value, p = planned.value!, off = hidden.value;
	const latest = useRef({ t, marks: t.marks, s });
	latest.current = { t, marks: t.marks, s };
	useEffect(() => {
		const b = box.current!, wanted = [isDark, ...p.parts.map(x => x.key), ...p.lines.map(l => l.key + off.has(l.key))].join();
		if (!plot.current || signature.current !== wanted) {
			plot.current?.destroy();
			signature.current = wanted;
			plot.current = new uPlot(options(b, p), p.data, b);
		} else plot.current.setData(p.data, false);
		const [from, to] = visibleRange(t);
		plot.current.setScale('x', { min: from, max: to });
	}, [t, isDark, off]);
	useEffect(() => {
		const u = plot.current;
		if (!u) return;
		const [from, to] = visibleRange(latest.current.t);
		if (u.scales.x.min !== from || u.scales.x.max !== to) u.setScale('x', { min: from, max: to });
		else u.redraw(false, false);
	}, [s.t0, s.t1, s.from, s.to, s.view, s.base]);
	useEffect(() => {
		const observer = new ResizeObserver(() => plot.current?.setSize({ width: box.current!.clientWidth, height: box.current!.clientHeight }));
		observer.observe(box.current!);
		return () => {
			observer.disconnect();
			plot.current?.destroy();
			plot.current = null;
		};
	}, []);

	function options(b: HTMLElement, p: Plan): uPlot.Options {
		const axis = { stroke: css('--dim'), grid: { stroke: css('--line'), width: 1 }, ticks: { stroke: css('--line'), size: 4 }, font: '11px system-ui, sans-serif' };
		return {
			width: b.clientWidth, height: b.clientHeight, padding: [8, 28, 0, 0], legend: { show: false },
			cursor: { points: { show: false }, y: false, drag: { x: true, y: false, setScale: false, dist: 4 } },
			scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(max || 0, 1024) * 1.06] } },
			axes: [
				{ ...axis, space: 70, size: 26, values: (_u, splits) => splits.map(dayOrTime(splits)) },
				{ ...axis, size: 62, space: 26, values: (_u, splits) => splits.map(v => bytes(v)), incrs: Array.from({ length: 46 }, (_, i) => 2 ** i) },
			],
			series: [
				{},
				...[...p.parts].reverse().map(part => ({ label: part.title, stroke: part.color, width: 0, fill: part.color, points: { show: false }, spanGaps: true })),
				...p.lines.map(l => ({ label: l.title, stroke: isDark ? l.dark : l.light, width: 1.6, dash: l.dash, points: { show: false }, show: !off.has(l.key) })),
			],
			hooks: {
				draw: [u => {
					drawWindow(u, latest.current.s.from, latest.current.s.to);
					drawMarks(u, latest.current.marks, latest.current.s);
				}],
				setCursor: [u => (cursor.value = u.cursor.left! >= 0 ? u.posToVal(u.cursor.left!, 'x') : null)],
				setSelect: [u => {
					if (u.select.width < 4) return;
					const from = u.posToVal(u.select.left, 'x') * 1000, to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
					u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
					go(windowOf(from, to), true);
				}],
			},
		};
	}

	const pan = (e: PointerEvent) => {
		if (!e.shiftKey && e.button !== 1) return;
		e.preventDefault();
		e.stopPropagation();
		const u = plot.current!, from = u.scales.x.min!, to = u.scales.x.max!, x = e.clientX, perPixel = (to - from) / (u.bbox.width / (devicePixelRatio || 1));
		const move = (m: PointerEvent) => setRange(from - (m.clientX - x) * perPixel, to - (m.clientX - x) * perPixel);
		const up = () => {
			removeEventListener('pointermove', move);
			removeEventListener('pointerup', up);
		};
		addEventListener('pointermove', move);
		addEventListener('pointerup', up);
	};
	return (
		<div
			ref={box}
			class="chart"
			tabIndex={0}
			role="application"
			aria-label="Memory over time. Arrow keys move, plus and minus zoom, 0 shows all, w chooses what is shown as the window."
			onPointerDownCapture={pan}
			onMouseDownCapture={e => {
				if (e.shiftKey || e.button === 1) e.stopPropagation();
			}}
			onWheel={e => {
				e.preventDefault();
				const u = plot.current!, r = u.over.getBoundingClientRect();
				if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) panTimeline(e.deltaX / 800);
				else zoomTimeline(Math.exp(e.deltaY / 500), u.posToVal(e.clientX - r.left, 'x'));
			}}
			onDblClick={() => go({ t0: 0, t1: 0 })}
			onKeyDown={e => {
				if (e.ctrlKey || e.altKey || e.metaKey) return;
				if (e.key === 'ArrowLeft' || e.key === 'ArrowRight') panTimeline(e.key === 'ArrowLeft' ? -0.2 : 0.2);
				else if (e.key === '+' || e.key === '-') zoomTimeline(e.key === '+' ? 0.6 : 1.6);
				else if (e.key === '0') go({ t0: 0, t1: 0 });
				else if (e.key === 'w') {
					const [from, to] = visibleRange(t);
					go(windowOf(from * 1000, to * 1000), true);
				} else if (e.key === 'Escape' && s.to) go({ from: 0, to: 0 });
				else return;
				e.preventDefault();
				e.stopPropagation();
			}}
		/>
	);
}

function Legend({ t }: { t: Timeline }) {
	const p = planned.value!, c = cursor.value, last = t.time_ms[t.time_ms.length - 1], moment = c === null ? last : c * 1000;
	const i = c === null ? -1 : t.split ? before(t.split.time_ms, moment) : -1, w = c === null && t.split ? t.split.time_ms.length - 1 : i;
	const amount = (key: string) => (w >= 0 ? t.split!.values[t.split!.keys.indexOf(key)][w] ?? 0 : 0);
	const toggle = (key: string) => {
		const next = new Set(hidden.peek());
		if (!next.delete(key)) next.add(key);
		hidden.value = next;
	};
	const mark = c === null ? null : t.marks.filter(m => m.kind !== 'snapshot').reduce<Mark | null>((best, m) => (Math.abs(m.time_ms - moment) < Math.abs((best?.time_ms ?? 0) - moment) ? m : best), null);
	const [from, to] = visibleRange(t), near = mark && Math.abs(mark.time_ms - moment) < (to - from) * 8 ? mark : null;
	return (
		<div class="legend" aria-label="What the lines are">
			<div class="legend-time">{c === null ? 'Latest' : clock(c)}</div>
			{p.lines.map(l => (
				<button key={l.key} type="button" class={hidden.value.has(l.key) ? 'off' : ''} aria-pressed={!hidden.value.has(l.key)} onClick={() => toggle(l.key)}>
					<i class="line" style={{ background: dark.value ? l.dark : l.light }} /> {l.title} <b>{bytes(at(t.time_ms, t[l.key], moment))}</b>
				</button>
			))}
			{t.split && (
				<button type="button" class={`legend-split ${hidden.value.has('split') ? 'off' : ''}`} aria-pressed={!hidden.value.has('split')} onClick={() => toggle('split')}>Doctor's split{w >= 0 ? <b>{bytes(t.split.total[w])}</b> : ''}</button>
			)}
			{t.split && !hidden.value.has('split') && [...p.parts].reverse().sort((a, b) => amount(b.key) - amount(a.key)).map(part => (
				<span key={part.key} class="legend-part"><i style={{ background: part.color }} /> <span class="legend-name" title={part.title}>{part.title}</span> <b>{w >= 0 ? bytes(amount(part.key)) : ''}</b></span>
			))}
			{near && <div class="legend-mark">{GLYPHS[near.kind] ?? '•'} {near.kind}{near.text ? `: ${clean(near.text)}` : ''}</div>}
		</div>
	);
}

export function TimelineView() {
	const { trouble } = timeline.answer.value, t = shown.value, s = route.value;
	if (trouble && !t) return <TroubleNotice trouble={trouble} retry={timeline.reload} />;
	if (!t) return <div class="timeline"><Waiting what="Fetching the timeline…" /></div>;
	if (t.time_ms.length < 2) return <div class="timeline"><Notice title="No course yet">The server looks every few seconds at what is shown; a line begins with the second look. To record by itself: seep serve --watch NAME.</Notice></div>;
	const first = t.time_ms[0], last = t.time_ms[t.time_ms.length - 1], whole = (last - first) / 1000, [from, to] = visibleRange(t);
	const a = at(t.time_ms, t.inuse, from * 1000) ?? t.inuse[before(t.time_ms, from * 1000) + 1], b = at(t.time_ms, t.inuse, to * 1000);
	return (
		<section class="timeline" aria-label="Timeline">
			<div class="timeline-head">
				<span class="dim ellipsis">{clock(from)} – {clock(to)}, {duration(to - from)}{a !== null && b !== null && a !== undefined ? <>: in use <b class={b > a ? 'more' : 'less'}>{signed(b - a)}</b></> : ''}</span>
				<span class="hint dim">drag: window · wheel: zoom · shift-drag: move</span>
				<span class="segments" role="group" aria-label="How much of it" hidden={whole < 900 && !s.t1}>
					{RANGES.filter(([, seconds]) => seconds < whole).map(([title, seconds]) => <button key={title} type="button" onClick={() => setRange(last / 1000 - seconds, last / 1000)}>{title}</button>)}
					<button type="button" class={s.t1 ? '' : 'on'} onClick={() => go({ t0: 0, t1: 0 })}>all</button>
				</span>
			</div>
			<div class="timeline-body">
				<Chart t={t} />
				<Legend t={t} />
			</div>
		</section>
	);
}
