// SPDX-License-Identifier: Apache-2.0
// Sites: all blocks with one stack are a row, with their course over the snapshots and what that says.
import { computed, effect, signal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { query } from '../api/client';
import type { About, SiteRow, Sites, Top, TopRow } from '../api/types';
import { bytes, clock, count, duration, growth, percent, plural, signed } from '../model/format';
import { Frames } from '../model/frames';
import { go, route } from '../state/route';
import { hasShots, parameters, snapshots, version } from '../state/store';
import { Change, LeakBadge, Notice, Share, Spark, TroubleNotice, VerdictBadge, Waiting } from '../ui/bits';
import { Pages } from '../ui/pages';
import { Table, type Column } from '../ui/table';

export interface Site extends SiteRow {
	frames: Frames;
	look: number; // a frame, or -1
}

interface Head {
	about: About;
	times: number[];
	course: boolean;
}

/** Of a window, and of a leak check, there is no course: there the rows come from the view itself. */
const fromTop = (r: TopRow, about: About): SiteRow => ({
	site: r.site ?? String(r.rank), rank: r.rank, kind: r.kind ?? '', stack: r.stack ?? [], look_here: r.look_here, inuse_bytes: r.self,
	inuse_blocks: r.blocks, alloc_bytes: r.alloc_bytes, alloc_blocks: r.alloc_blocks, freed_blocks: r.freed_blocks, base_bytes: r.self_base,
	share: about.total ? r.self / about.total : null, low: r.low, high: r.high, oldest_age_ns: r.oldest_age_ns, growth: null, verdict: 'unknown',
	evidence: null, leak: null, leaked_bytes: null, history: null,
});

export const sitePages = new Pages<Sites | Top, Site, Head>(raw => {
	const frames = new Frames(raw.strings, raw.frames), inside = (f: number | undefined) => (f !== undefined && f >= 0 && f < frames.count ? f : -1);
	return {
		total: raw.rows_total,
		head: { about: raw.about, times: ('history' in raw && raw.history?.time_ms) || [], course: !('by' in raw) },
		rows: ('by' in raw ? raw.rows.map(r => fromTop(r, raw.about)) : raw.rows).map(r => {
			const stack = r.stack.filter(f => inside(f) >= 0);
			return { ...r, stack, frames, look: inside(r.look_here === null ? stack[0] : stack[r.look_here]) };
		}),
	};
});

const opened = signal<ReadonlySet<string>>(new Set());

const sitesKey = computed(() => {
	const s = route.value, p = parameters.value;
	if (!p || s.show !== 'sites') return null;
	const sort = s.sort || (s.base ? 'change' : s.value === 'growth' ? 'growth' : s.value === 'blocks' ? 'blocks' : s.value === 'allocated' ? 'alloc' : 'inuse');
	if (s.to || s.value === 'leaked') return 'view/top?' + query({ ...p, by: 'site', sort: s.sort === 'blocks' || s.sort === 'age' ? s.sort : 'value' });
	const { value: _value, ...rest } = p;
	return `processes/${encodeURIComponent(s.p)}/sites?` + query({ ...rest, sort, points: 40 });
});
let seen = 0;
effect(() => {
	const key = sitesKey.value, v = version.value;
	sitePages.show(key, v !== seen);
	seen = v;
});

export const stackLines = (site: Site) => site.stack.map(f => ({ name: site.frames.name(f) || '(unknown)', at: site.frames.at(f), frame: f }));

export function Stack({ site }: { site: Site }) {
	const { frames } = site;
	return (
		<ol class="stack">
			{site.stack.map((f, i) => (
				<li key={i} class={f === site.look ? 'look' : ''}>
					<span class="mono fn" title={frames.module(f)}>{frames.name(f) || '(unknown)'}</span>
					{frames.file(f) ? (
						<button type="button" class="link mono" title={`${frames.file(f)}:${frames.line(f)}: show the source`} onClick={() => go({ show: 'source', file: frames.sentFile(f), line: frames.line(f) }, true)}>{frames.at(f)}</button>
					) : <span class="dim mono">{frames.module(f).slice(frames.module(f).lastIndexOf('/') + 1)}</span>}
					{(frames.flags[f] & 1) !== 0 && <span class="dim"> inlined</span>}
				</li>
			))}
			{!site.stack.length && <li class="dim">The stack is unknown: these blocks are older than the tracking, or could not be unwound.</li>}
		</ol>
	);
}

function Detail({ site, times }: { site: Site; times: number[] }) {
	const name = site.look >= 0 ? site.frames.sentName(site.look) : '';
	return (
		<div class="site-detail">
			<Stack site={site} />
			<div class="site-side">
				{site.history && times.length > 1 && (
					<figure>
						<Spark values={site.history} width={260} height={64} label={`in use from ${clock(times[0] / 1000)} to ${clock(times[times.length - 1] / 1000)}`} />
						<figcaption class="dim">{clock(times[0] / 1000)} – {clock(times[times.length - 1] / 1000)}</figcaption>
					</figure>
				)}
				{site.evidence && <p class="evidence"><VerdictBadge verdict={site.verdict} /> {site.evidence}.</p>}
				{site.leak && <p><LeakBadge leak={site.leak} /> {bytes(site.leaked_bytes)} of it, says the newest check.</p>}
				<p class="dim">{count(site.alloc_blocks)} allocated, {count(site.freed_blocks)} freed{site.inuse_blocks ? `, ${plural(site.inuse_blocks, 'block')} of ${bytes(site.inuse_bytes / site.inuse_blocks)} in use` : ''}.</p>
				<div class="row">
					<button type="button" onClick={() => go({ show: 'icicle', q: '', z: '', focus: name }, true)} disabled={!name}>Focus in icicle</button>
					<button type="button" onClick={() => go({ show: 'callers', fn: name, in: site.frames.sentModule(site.look) }, true)} disabled={!name}>Callers, callees</button>
				</div>
			</div>
		</div>
	);
}

/** The side's paragraphs take two lines at most; a deeper stack scrolls. */
const detailHeight = (site: Site) => Math.max(108 + (site.history ? 92 : 0) + (site.evidence ? 52 : 0) + (site.leak ? 50 : 0), Math.min(site.stack.length * 21 + 26, 420));

export function SitesView() {
	const pages = sitePages.state.value, s = route.value, course = pages.head?.course ?? true, diff = !!s.base && course, about = pages.head?.about ?? null;
	const columns = useMemo<Column<Site>[]>(() => [
		{ key: 'name', title: 'Site', width: 'minmax(170px, 1fr)', cell: r => (
			<span class="site-name">
				<span class="mono fn" title={r.look >= 0 ? `${r.frames.name(r.look)}\n${r.frames.file(r.look)}` : ''}>{r.look >= 0 ? r.frames.name(r.look) || '(unknown)' : '(stack unknown)'}</span>
				<span class="mono dim at">{r.look >= 0 ? r.frames.at(r.look) : ''}</span>
			</span>
		) },
		...(diff ? [{ key: 'change', title: 'Change', width: '104px', right: true, sort: 'change', cell: (r: Site) => <Change>{signed(r.inuse_bytes - (r.base_bytes ?? 0))}</Change> }] : []),
		{ key: 'inuse', title: course ? 'In use' : 'Kept', width: '88px', right: true, sort: 'inuse', cell: r => bytes(r.inuse_bytes) },
		{ key: 'share', title: '%', width: '98px', right: true, from: 860, cell: r => r.share === null ? '' : <><Share share={r.share} /><span class="num">{percent(r.share)}</span></> },
		...(course ? [{ key: 'growth', title: 'Growth', hint: 'over the snapshots', width: '112px', right: true, sort: 'growth', cell: (r: Site) => <Change>{growth(r.growth)}</Change> },
		{ key: 'course', title: 'Course', hint: 'in use over the snapshots', width: '108px', from: 620, cell: (r: Site) => r.history ? <Spark values={r.history} label={`course: ${r.verdict}`} /> : '' },
		{ key: 'verdict', title: 'Verdict', width: '108px', from: 520, cell: (r: Site) => <VerdictBadge verdict={r.verdict} evidence={r.evidence} /> }] : []),
		...(course ? [{ key: 'leak', title: 'Leak check', width: '92px', from: 980, cell: (r: Site) => r.leak ? <LeakBadge leak={r.leak} /> : '' }] : []),
		{ key: 'blocks', title: 'Blocks', width: '78px', right: true, sort: 'blocks', from: 740, cell: r => count(r.inuse_blocks) },
		{ key: 'oldest', title: 'Oldest', hint: 'age of the oldest block in use', width: '74px', right: true, sort: 'age', from: 820, cell: r => r.oldest_age_ns === null ? '' : duration(r.oldest_age_ns / 1e9) },
		{ key: 'alloc', title: 'Allocated', hint: 'since tracking began', width: '88px', right: true, sort: 'alloc', from: 1080, cell: r => bytes(r.alloc_bytes) },
		{ key: 'kind', title: 'Kind', width: '58px', from: 1180, cell: r => <span class="dim">{r.kind}</span> },
	], [diff, course]);
	if (pages.trouble && !pages.rows.size) return pages.trouble.code === 'no_snapshot' ? <NothingRecorded /> : <TroubleNotice trouble={pages.trouble} retry={() => sitePages.show(sitesKey.peek(), true)} />;
	if (!pages.head) return <Waiting what="Fetching the sites…" />;
	if (!pages.total) return <NothingFits />;
	const sort = /[?&]sort=(\w+)/.exec(pages.key)?.[1];
	return (
		<div class="fill">
			<Table
				label="Sites"
				columns={columns}
				count={pages.total}
				row={i => pages.rows.get(i) ?? null}
				id={r => r.site + r.kind}
				sorted={sort}
				onSort={key => go({ sort: key })}
				onRange={sitePages.range}
				open={opened.value}
				onToggle={id => {
					const next = new Set(opened.peek());
					if (!next.delete(id)) next.add(id);
					opened.value = next;
				}}
				detail={r => ({ height: detailHeight(r), content: <Detail site={r} times={pages.head!.times} /> })}
				tone={r => (r.verdict === 'growing' && (r.share ?? 0) > 0.01 ? 'hot' : '')}
				dim={pages.loading}
			/>
			<div class="foot dim">{plural(pages.total, 'site')}{about ? ` · ${about.unit === 'bytes' ? bytes(about.total) : count(about.total)} in all` : ''}{pages.head.times.length > 1 ? ` · course over ${plural(pages.head.times.length, 'snapshot')}` : ''}{about?.sampled ? ' · sampled: estimates' : ''}</div>
		</div>
	);
}

export function NothingRecorded() {
	return (
		<Notice title="Nothing is recorded of this process yet">
			{hasShots.value || snapshots.answer.value.loading ? 'Choose another view.' : 'Take a snapshot, or attach first if the process is not tracked: both are at the top right. A program can also be started with tracking: seep run -- COMMAND.'}
		</Notice>
	);
}

export function NothingFits() {
	const s = route.value, filtered = s.focus || s.ignore || s.hide || s.module || s.thread || s.kind;
	return (
		<Notice
			title={s.value === 'leaked' ? 'No lost blocks' : s.base || s.value === 'growth' ? 'Nothing has changed' : 'There is nothing in this view'}
			actions={filtered ? <button type="button" onClick={() => go({ focus: '', ignore: '', hide: '', module: '', thread: '', kind: '', class: '' })}>Remove the filters</button> : undefined}
		>
			{filtered ? 'No stack passes the filters.' : s.value === 'leaked' ? 'The newest leak check found none; or run one: it is at the top right.' : s.to ? 'Nothing that was allocated in this window was still there at its end.' : s.base ? 'Both moments hold the same. Choose an earlier one to compare with.' : 'Nothing was in use at that moment.'}
		</Notice>
	);
}
