// SPDX-License-Identifier: Apache-2.0
// What is looked at: the moment, what it is compared with, which value, and through which filters.
import { computed, signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { get, link, query } from '../api/client';
import type { Snapshot, Top } from '../api/types';
import { base, bytes, clean, clock, duration } from '../model/format';
import { resource } from '../state/resource';
import { colorblind, go, route } from '../state/route';
import { detail, parameters, refreshViews, shots } from '../state/store';
import type { Display, State, Value } from '../state/url';
import { Icon, ICONS } from '../ui/bits';

const VALUES: [Value, string, string][] = [
	['in_use', 'In use', 'bytes of blocks that are there'],
	['blocks', 'Blocks', 'number of blocks that are there'],
	['allocated', 'Allocated', 'bytes allocated since tracking began, freed or not'],
	['growth', 'Growth', 'only what grew, since the base or the baseline'],
	['leaked', 'Leaked', 'what the newest leak check found'],
];

const describe = (s: Snapshot) => `${clock(s.time_ms / 1000)} · ${bytes(s.inuse_bytes)}${s.label ? ` · ${clean(s.label)}` : s.baseline ? ' · baseline' : s.reason ? ` · ${clean(s.reason)}` : ''}`;

function Moments({ id, value, none, onChange }: { id: string; value: string; none: boolean; onChange: (v: string) => void }) {
	const list = shots.value, known = /^\d+$/.test(value) && !list.some(s => String(s.id) === value);
	return (
		<select id={id} value={value} onChange={e => onChange(e.currentTarget.value)}>
			{none && <option value="">nothing</option>}
			{!none && <option value="">{list.length ? `latest, ${clock(list[0].time_ms / 1000)}` : 'now'}</option>}
			{!none && <option value="now">now, as it runs</option>}
			{list.length > 0 && none && <option value="baseline">baseline</option>}
			{list.length > 0 && none && <option value="first">the first</option>}
			{none && <option value="latest">latest</option>}
			{known && <option value={value}>snapshot {value}</option>}
			{list.length > 0 && (
				<optgroup label="Snapshots">
					{list.map(s => <option key={s.id} value={String(s.id)}>{describe(s)}</option>)}
				</optgroup>
			)}
		</select>
	);
}

/** A window or the difference of its ends; from the timeline's brush. */
export const windowOf = (from: number, to: number): Partial<State> => ({ from: Math.round(from), to: Math.round(to), base: '', view: '', value: route.peek().value === 'blocks' ? 'blocks' : 'in_use', z: '' });

/** Snapshots nearest to the ends of a window. */
export function diffOfWindow(from: number, to: number): Partial<State> {
	const list = shots.peek();
	const nearest = (t: number) => list.reduce((best, s) => (Math.abs(s.time_ms - t) < Math.abs(best.time_ms - t) ? s : best), list[0]);
	if (list.length < 2) return {};
	return { from: 0, to: 0, base: String(nearest(from).id), view: String(nearest(to).id), z: '' };
}

// ---- filters ----------------------------------------------------------------------------------------

const FILTERS: { key: 'focus' | 'ignore' | 'hide' | 'module'; title: string; hint: string }[] = [
	{ key: 'focus', title: 'Focus', hint: 'only stacks with a frame that fits' },
	{ key: 'ignore', title: 'Ignore', hint: 'no stacks with a frame that fits' },
	{ key: 'hide', title: 'Hide', hint: 'frames that fit are taken out of their stacks' },
	{ key: 'module', title: 'Module', hint: 'only stacks with a frame in it' },
];
const more = signal(false);

/** Text that is taken over when one stops typing, or at once with Enter. */
function Filter({ name, title, hint, mono = true, delay = 350, list }: { name: keyof State; title: string; hint: string; mono?: boolean; delay?: number; list?: string }) {
	const value = route.value[name] as string, [text, setText] = useState(value), timer = useRef(0), typing = useRef(false);
	useEffect(() => {
		if (!typing.current) setText(value);
	}, [value]);
	const take = (v: string) => {
		clearTimeout(timer.current);
		typing.current = false;
		go({ [name]: v.trim(), z: '' });
	};
	return (
		<label class="filter" title={hint}>
			<span>{title}</span>
			<input
				class={mono ? 'mono' : ''}
				value={text}
				spellcheck={false}
				list={list}
				id={`filter-${name}`}
				onInput={e => {
					const v = e.currentTarget.value;
					typing.current = true;
					setText(v);
					clearTimeout(timer.current);
					timer.current = window.setTimeout(() => take(v), delay);
				}}
				onKeyDown={e => {
					if (e.key === 'Enter') take(e.currentTarget.value);
					else if (e.key === 'Escape') {
						setText('');
						take('');
						e.stopPropagation();
					}
				}}
				onBlur={e => {
					if (typing.current) take(e.currentTarget.value);
				}}
			/>
			{value && <button type="button" class="quiet" aria-label={`Remove ${title}`} onClick={() => {
				setText('');
				take('');
			}}><Icon d={ICONS.close} /></button>}
		</label>
	);
}

const choices = resource<{ threads: Top['rows']; modules: Top['rows'] }>(
	computed(() => {
		const p = parameters.value;
		if (!more.value || !p) return null;
		const { focus: _f, ignore: _i, hide: _h, module: _m, thread: _t, ...rest } = p;
		return query(rest);
	}),
	{
		fetch: async (key, signal) => {
			const [threads, modules] = await Promise.all(['thread', 'module'].map(by => get<Top>(`view/top?${key}&by=${by}&limit=200`, signal).catch(() => null)));
			return { threads: threads?.rows ?? [], modules: modules?.rows ?? [] };
		},
	},
);

const CLASSES = ['', 'definite', 'indirect', 'possible', 'reachable', 'suppressed'];

function Filters() {
	const s = route.value, { threads, modules } = choices.answer.value.data ?? { threads: [], modules: [] };
	return (
		<div class="filters" role="group" aria-label="Filters">
			{FILTERS.map(f => <Filter key={f.key} name={f.key} title={f.title} hint={`${f.hint}${f.key === 'module' ? '' : ' (a regular expression on function, file, module)'}`} list={f.key === 'module' ? 'modules' : undefined} />)}
			<datalist id="modules">{modules.map(m => <option key={m.name} value={clean(base(m.name))} />)}</datalist>
			<label class="filter" title="only what it allocated and is still in use"><span>Thread</span>
				<select value={s.thread} onChange={e => go({ thread: e.currentTarget.value })}>
					<option value="">all</option>
					{s.thread && !threads.some(t => String(t.tid) === s.thread) && <option value={s.thread}>{s.thread}</option>}
					{threads.map(t => <option key={t.rank} value={t.tid !== null ? String(t.tid) : t.name}>{clean(t.name)} {t.tid ?? ''}</option>)}
				</select>
			</label>
			<label class="filter"><span>Kind</span>
				<select value={s.kind} onChange={e => go({ kind: e.currentTarget.value })}>
					<option value="">heap and mmap</option>
					<option value="heap">heap</option>
					<option value="mmap">mmap</option>
					<option value="stack">thread stacks</option>
					<option value="heap,mmap,stack">all</option>
				</select>
			</label>
			{s.value === 'leaked' && (
				<label class="filter"><span>Class</span>
					<select value={s.class} onChange={e => go({ class: e.currentTarget.value })}>{CLASSES.map(c => <option key={c} value={c}>{c || 'lost ones'}</option>)}</select>
				</label>
			)}
			{s.base && <label class="check" title="the base is scaled to the same total: what changed its share"><input type="checkbox" checked={s.norm} onChange={e => go({ norm: e.currentTarget.checked })} /> normalised</label>}
			{s.base && <label class="check" title="of sampled snapshots: also changes that may be chance"><input type="checkbox" checked={s.noise} onChange={e => go({ noise: e.currentTarget.checked })} /> with noise</label>}
			<label class="check" title="red and green, or orange and blue, which nearly everyone can tell apart"><input type="checkbox" checked={colorblind.value} onChange={e => go({ palette: e.currentTarget.checked ? 'safe' : 'redgreen' })} /> colour-blind palette</label>
		</div>
	);
}

// ---- downloads --------------------------------------------------------------------------------------

const FILES: [string, string][] = [
	['pprof', 'pprof'], ['folded', 'folded stacks'], ['svg', 'flame graph (SVG)'], ['html', 'report (HTML)'], ['text', 'report (text)'],
	['speedscope', 'speedscope'], ['dot', 'call graph (dot)'], ['seep', 'seep snapshot'],
];

function Downloads() {
	const p = parameters.value, box = useRef<HTMLDetailsElement>(null);
	useEffect(() => {
		const away = (e: Event) => {
			if (box.current?.open && !box.current.contains(e.target as Node)) box.current.open = false;
		};
		document.addEventListener('pointerdown', away);
		return () => document.removeEventListener('pointerdown', away);
	}, []);
	if (!p) return null;
	const diff = 'base' in p;
	return (
		<details class="menu" ref={box} onKeyDown={e => {
			if (e.key === 'Escape' && box.current?.open) {
				box.current.open = false;
				e.stopPropagation();
			}
		}}>
			<summary class="button" title="Download this view"><Icon d={ICONS.down} /><span class="wide-only">Download</span></summary>
			<div class="menu-list">
				{FILES.filter(([kind]) => !(diff && (kind === 'pprof' || kind === 'speedscope' || kind === 'seep')) && !(kind === 'seep' && 'from' in p)).map(([kind, title]) => (
					<a key={kind} href={link(`view/${kind}?` + query({ ...p, download: true, colorblind: colorblind.value }))} download onClick={() => (box.current!.open = false)}>{title}</a>
				))}
			</div>
		</details>
	);
}

// ---- all of it --------------------------------------------------------------------------------------

const SEARCHES: Display[] = ['flame', 'icicle', 'top', 'up', 'down', 'callers'];

export function Controls() {
	const s = route.value, filters = (['focus', 'ignore', 'hide', 'module', 'thread', 'kind', 'class'] as const).filter(k => s[k]), open = more.value;
	const running = detail.answer.value.data?.process.state === 'running';
	return (
		<div class="controls">
			<div class="control-row">
				{s.to ? (
					<span class="window-chip">
						<span>Window <b>{clock(s.from / 1000)} – {clock(s.to / 1000)}</b> ({duration((s.to - s.from) / 1000)}): allocated in it and not freed by its end</span>
						<button type="button" onClick={() => go(diffOfWindow(s.from, s.to), true)} disabled={shots.value.length < 2} title="What changed from one end to the other, frees included">As a difference</button>
						<button type="button" class="quiet" aria-label="Close the window" onClick={() => go({ from: 0, to: 0 })}><Icon d={ICONS.close} /></button>
					</span>
				) : (
					<>
						<label class="pick"><span>View</span><Moments id="view" value={s.view} none={false} onChange={v => go({ view: v, z: '' }, true)} /></label>
						{s.value !== 'leaked' && <label class="pick"><span>Diff</span><Moments id="base" value={s.base} none onChange={v => go({ base: v, z: '', sort: '' }, true)} /></label>}
						{(s.view === 'now' || !shots.value.length) && running && <button type="button" class="quiet" aria-label="Look again" title="Look again (r)" onClick={refreshViews}><Icon d={ICONS.reload} /></button>}
					</>
				)}
				<label class="pick"><span>Value</span>
					<select id="value" value={s.value} onChange={e => go({ value: e.currentTarget.value as Value, sort: '', z: '' }, true)}>
						{VALUES.map(([v, title, hint]) => <option key={v} value={v} title={hint} disabled={!!s.to && v !== 'in_use' && v !== 'blocks'}>{title}</option>)}
					</select>
				</label>
				{s.base && !s.to && ['flame', 'icicle'].includes(s.show) && (
					<label class="pick"><span>Width</span>
						<select value={s.width} onChange={e => go({ width: e.currentTarget.value as State['width'] })}><option value="change">change</option><option value="value">after</option><option value="base">before</option></select>
					</label>
				)}
				{SEARCHES.includes(s.show) && <Filter name="q" title="Find" hint="marks what fits; / goes here" delay={60} />}
				<button type="button" class={open || filters.length ? 'on' : ''} aria-expanded={open} onClick={() => (more.value = !open)} title="Focus, ignore, hide, module, thread, kind (f)">Filter{filters.length ? ` (${filters.length})` : ''}</button>
				<Downloads />
			</div>
			{open ? <Filters /> : filters.length > 0 && (
				<div class="chips">
					{filters.map(k => <span key={k} class="chip"><span class="dim">{k}</span> <b class="mono">{clean(s[k])}</b><button type="button" class="quiet" aria-label={`Remove ${k}`} onClick={() => go({ [k]: '' })}><Icon d={ICONS.close} /></button></span>)}
				</div>
			)}
		</div>
	);
}

export const toggleFilters = () => (more.value = !more.peek());
