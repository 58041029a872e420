// SPDX-License-Identifier: Apache-2.0
// One process: its figures, its course, what stands out, and the view of it.
import { bytes, clean, count, duration, growth, percent } from '../model/format';
import { go, route } from '../state/route';
import { detail, findings, latestPoint, serverNow, treeView } from '../state/store';
import type { Display } from '../state/url';
import { Badge, Change, TroubleNotice, VerdictBadge, Waiting } from '../ui/bits';
import { ActionButtons, ActionDialog, JobStrip } from './actions';
import { CallersView } from './callers';
import { Controls } from './controls';
import { DotView } from './dot';
import { alarming, FindingsView } from './findings';
import { amountOf, FlameGraph, usePaintMark } from './flame';
import { NothingFits, NothingRecorded, SitesView } from './sites';
import { SourceView } from './source';
import { Tracked } from './processes';
import { TimelineView } from './timeline';
import { TopView } from './top';
import { TreeTable } from './treetable';
import { signed } from '../model/format';

export const TABS: [Display, string, string][] = [
	['sites', 'Sites', 'where the memory was allocated, with course and verdict'],
	['flame', 'Flame', 'call tree, main at the bottom'],
	['icicle', 'Icicle', 'call tree, main at the top'],
	['top', 'Table', 'by function, module, thread, kind'],
	['up', 'Bottom-up', 'from what allocated to its callers'],
	['down', 'Top-down', 'from main to what it calls'],
	['callers', 'Callers', 'callers and callees of one function'],
	['dot', 'Graph', 'call graph'],
	['source', 'Source', 'lines of a file'],
	['findings', 'Findings', 'growth, leak check, doctor, trim'],
];

function Head() {
	const d = detail.answer.value.data, point = latestPoint.value;
	if (!d) return null;
	const p = d.process, inuse = point?.inuse ?? p.inuse_bytes, rss = point?.rss ?? p.rss_bytes, running = p.state === 'running';
	const limit = p.cgroup_limit_bytes, used = point?.cgroup ?? p.cgroup_bytes, left = limit && used !== null ? limit - used : null;
	const rateNow = p.growth ?? p.rss_growth, until = left !== null && rateNow && rateNow > 0 ? left / rateNow : null;
	return (
		<div class="head">
			<div class="head-id">
				<h1 title={clean(p.command)}>{clean(p.name)} <span class="dim num">{p.state === 'file' ? '' : p.pid}</span></h1>
				<span class={`state ${p.state}`}>{p.state}</span> <Tracked p={p} />
				{d.watch && <Badge tone="info" title="recorded by itself">every {d.watch.every_s % 60 ? `${d.watch.every_s} s` : `${d.watch.every_s / 60} min`}</Badge>}
			</div>
			<dl class="figures">
				<div><dt>In use</dt><dd>{bytes(inuse)}</dd></div>
				<div><dt>RSS</dt><dd>{bytes(rss)}</dd></div>
				<div title={p.growth !== null ? 'of memory in use, over the last minutes' : 'of RSS, over the last minutes'}><dt>Growth</dt><dd><Change>{growth(rateNow)}</Change></dd></div>
				{until !== null && until < 7 * 86400 && <div title="at the present rate, until the cgroup's limit is reached"><dt>Limit in</dt><dd class={until < 86400 ? 'more' : ''}>{duration(until)}</dd></div>}
				{limit && used !== null && <div><dt>Of limit</dt><dd class={used / limit > 0.9 ? 'more' : ''}>{percent(used / limit)}</dd></div>}
				<div class="less-important"><dt>Blocks</dt><dd>{count(p.inuse_blocks)}</dd></div>
				<div class="least-important"><dt>Allocator</dt><dd>{clean(p.allocator ?? '–')}</dd></div>
				<div class="less-important"><dt>Up</dt><dd>{p.started_ms ? duration(((p.ended_ms ?? serverNow()) - p.started_ms) / 1000) : '–'}</dd></div>
			</dl>
			{running || d.actions.some(a => a.available) ? <ActionButtons /> : null}
			{!running && p.state !== 'file' && <p class="ended">{p.end ? clean(p.end) : 'This process has ended.'} What was recorded of it is kept: below is its last state.</p>}
		</div>
	);
}

/** The one line for somebody in a hurry. */
function Headline() {
	const f = findings.answer.value.data, g = f?.growth, s = g?.sites[0];
	if (!g || !s || (g.verdict !== 'growing' && s.verdict !== 'growing')) return null;
	return (
		<div class="headline" role="status">
			<VerdictBadge verdict={s.verdict} evidence={s.evidence} />
			<span class="headline-text">
				<button type="button" class="link mono strong" onClick={() => go({ show: 'icicle', q: s.function ?? '', z: '' }, true)} title="Find it in the icicle">{clean(s.function ?? '(unknown)')}</button>
				{s.file && <button type="button" class="link mono" onClick={() => go({ show: 'source', file: s.file!, line: s.line ?? 0 }, true)} title="Show the source">{clean(s.file.slice(s.file.lastIndexOf('/') + 1))}{s.line ? `:${s.line}` : ''}</button>}
				<span>holds <b>{bytes(s.inuse_bytes)}</b>, <b class="more">{growth(s.growth)}</b></span>
				{s.evidence && <span class="dim headline-evidence">{clean(s.evidence)}</span>}
			</span>
			<button type="button" onClick={() => go({ show: 'findings' }, true)}>Findings</button>
		</div>
	);
}

function TreeViews() {
	const s = route.value, { data, trouble, loading } = treeView.answer.value;
	usePaintMark('tree', data);
	if (trouble) return trouble.code === 'no_snapshot' ? <NothingRecorded /> : <TroubleNotice trouble={trouble} retry={treeView.reload} />;
	if (!data) return <Waiting what="Fetching the call tree…" />;
	const { tree, about } = data;
	if (!(tree.moved[0] > 0) && !(tree.value[0] > 0)) return <NothingFits />;
	if (s.show === 'up' || s.show === 'down') return <TreeTable tree={tree} about={about} up={s.show === 'up'} stale={loading} />;
	const amount = amountOf(about);
	return (
		<div class="fill">
			<FlameGraph tree={tree} about={about} flame={s.show === 'flame'} stale={loading} label={s.show === 'flame' ? 'Flame graph' : 'Icicle graph'} onOpen={(fn, module) => go({ show: 'callers', fn, in: module }, true)} />
			{tree.base && <div class="key" aria-hidden="true"><i class="less-box" /> shrank <i class="same-box" /> same <i class="more-box" /> grew <b class={tree.change(0) > 0 ? 'more' : 'less'}>{signed(tree.change(0), amount)}</b></div>}
		</div>
	);
}

function Content() {
	switch (route.value.show) {
		case 'sites': return <SitesView />;
		case 'top': return <TopView />;
		case 'callers': return <CallersView />;
		case 'dot': return <DotView />;
		case 'source': return <SourceView />;
		case 'findings': return <FindingsView />;
		default: return <TreeViews />;
	}
}

export function ProcessView() {
	const s = route.value, { data, trouble } = detail.answer.value, alarms = alarming(findings.answer.value.data);
	if (trouble && !data) return <main class="page"><TroubleNotice trouble={trouble} retry={detail.reload} /><p class="center"><button type="button" onClick={() => go({ p: '' }, true)}>All processes</button></p></main>;
	if (!data) return <main class="page"><Waiting what="Looking at the process…" /></main>;
	const about = ['flame', 'icicle', 'up', 'down'].includes(s.show) ? treeView.answer.value.data?.about : null;
	return (
		<main class="page">
			<Head />
			<Headline />
			<TimelineView />
			<Controls />
			{about && about.warnings.length > 0 && <p class="warn-line">{about.warnings.map(clean).join(' · ')}</p>}
			{about?.window && !about.window.exact && <p class="warn-line">How old single blocks are is not known here: shown is what sites held more at the end than at the beginning.</p>}
			<div class="tabs" role="tablist" aria-label="Display" onKeyDown={e => {
				const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
				if (!by) return;
				const i = (TABS.findIndex(t => t[0] === s.show) + by + TABS.length) % TABS.length;
				go({ show: TABS[i][0], sort: '' }, true);
				(e.currentTarget.children[i] as HTMLElement).focus();
				e.preventDefault();
			}}>
				{TABS.map(([show, title, hint], i) => (
					<button key={show} type="button" role="tab" id={`tab-${show}`} aria-controls="panel" aria-selected={s.show === show} tabIndex={s.show === show ? 0 : -1} title={`${hint} (${(i + 1) % 10})`} onClick={() => go({ show, sort: '' }, true)}>
						{title}{show === 'findings' && alarms > 0 && <span class="alarm">{alarms}</span>}
					</button>
				))}
			</div>
			<div class="panel" id="panel" role="tabpanel" aria-labelledby={`tab-${s.show}`}><Content /></div>
			<JobStrip />
			<ActionDialog />
		</main>
	);
}
