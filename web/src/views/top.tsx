// SPDX-License-Identifier: Apache-2.0
// The table: by function, module, thread, kind or site, with itself and all it called.
import { computed, effect } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { query } from '../api/client';
import type { About, Top, TopRow } from '../api/types';
import { base, clean, count, duration, percent, plural, signed } from '../model/format';
import { go, route } from '../state/route';
import { parameters, version } from '../state/store';
import { GROUPS, type Group } from '../state/url';
import { Change, Share, TroubleNotice, Waiting } from '../ui/bits';
import { Pages } from '../ui/pages';
import { Table, type Column } from '../ui/table';
import { amountOf } from './flame';
import { NothingFits, NothingRecorded } from './sites';

const pages = new Pages<Top, TopRow, { about: About; by: string }>(raw => ({ total: raw.rows_total, head: { about: raw.about, by: raw.by }, rows: raw.rows }));

const key = computed(() => {
	const s = route.value, p = parameters.value;
	if (!p || s.show !== 'top') return null;
	return 'view/top?' + query({ ...p, by: s.by, sort: ['self', 'total', 'growth', 'blocks', 'name', 'age'].includes(s.sort) ? s.sort : s.base ? 'growth' : 'self', q: s.q });
});
let seen = 0;
effect(() => {
	const k = key.value, v = version.value;
	pages.show(k, v !== seen);
	seen = v;
});

const TITLES: Record<Group, string> = { function: 'Function', module: 'Module', thread: 'Thread', kind: 'Kind', site: 'Site' };

export function TopView() {
	const state = pages.state.value, s = route.value, about = state.head?.about, by = (state.head?.by ?? s.by) as Group;
	const amount = about ? amountOf(about) : String, diff = about?.diff ?? false, nested = by === 'function' || by === 'module';
	const sort = /[?&]sort=(\w+)/.exec(state.key)?.[1];
	const columns = useMemo<Column<TopRow>[]>(() => {
		const whole = about?.total || 1, change = (now: number, then: number | null) => now - (then ?? 0);
		const delta = (v: number) => <Change>{signed(v, amount)}</Change>;
		return [
			...(diff ? [
				{ key: 'dself', title: nested ? 'Change here' : 'Change', width: '112px', right: true, sort: 'growth', cell: (r: TopRow) => <>{delta(change(r.self, r.self_base))}{r.noise && <span class="dim" title="may be chance"> ?</span>}</> },
				...(nested ? [{ key: 'dtotal', title: 'Change in all', width: '112px', right: true, from: 700, cell: (r: TopRow) => delta(change(r.total, r.total_base)) }] : []),
			] : []),
			{ key: 'self', title: nested ? 'Itself' : 'Bytes', hint: 'allocated right there', width: '92px', right: true, sort: 'self', cell: r => amount(r.self) },
			{ key: 'share', title: '%', width: '98px', right: true, from: 640, cell: r => <><Share share={r.self / whole} /><span class="num">{percent(r.self / whole)}</span></> },
			...(nested ? [{ key: 'total', title: 'In all', hint: 'it and all it called', width: '92px', right: true, sort: 'total', cell: (r: TopRow) => amount(r.total) }] : []),
			{ key: 'name', title: TITLES[by], width: 'minmax(180px, 1fr)', sort: 'name', cell: r => <span class="site-name"><span class="mono fn" title={clean(r.name)}>{clean(r.name) || '(unknown)'}{by === 'thread' && r.tid !== null ? <span class="dim"> {r.tid}{r.ended ? ', ended' : ''}</span> : ''}</span>{r.file && <span class="mono dim at">{clean(base(r.file))}{r.line ? `:${r.line}` : ''}</span>}</span> },
			{ key: 'module', title: 'Module', width: 'minmax(90px, 0.3fr)', from: 900, cell: r => (by === 'function' || by === 'site') && r.module ? <span class="dim" title={clean(r.module)}>{clean(base(r.module))}</span> : '' },
			{ key: 'blocks', title: 'Blocks', width: '84px', right: true, sort: 'blocks', from: 560, cell: r => count(r.blocks) },
			{ key: 'allocs', title: 'Allocations', hint: 'since tracking began', width: '100px', right: true, from: 1000, cell: r => count(r.alloc_blocks) },
			{ key: 'freed', title: 'Freed', width: '90px', right: true, from: 1000, cell: r => count(r.freed_blocks) },
			{ key: 'age', title: 'Oldest', width: '78px', right: true, sort: 'age', from: 820, cell: r => r.oldest_age_ns === null ? '' : duration(r.oldest_age_ns / 1e9) },
		];
	}, [diff, by, about]);
	const filter = (r: TopRow) => {
		if (by === 'function') go({ show: 'callers', fn: r.name, in: r.module ?? '' }, true);
		else if (by === 'module') go({ module: r.name, by: 'function' }, true);
		else if (by === 'thread') go({ thread: r.tid !== null ? String(r.tid) : r.name, by: 'function' }, true);
		else if (by === 'kind') go({ kind: r.kind ?? r.name, by: 'function' }, true);
		else if (r.name) go({ show: 'callers', fn: r.name, in: r.module ?? '' }, true);
	};
	return (
		<div class="fill">
			<div class="bar">
				<span class="segments" role="radiogroup" aria-label="One row for each">
					{GROUPS.map(g => <button key={g} type="button" role="radio" aria-checked={s.by === g} class={s.by === g ? 'on' : ''} onClick={() => go({ by: g, sort: '' })}>{TITLES[g]}</button>)}
				</span>
			</div>
			{state.trouble && !state.rows.size ? (state.trouble.code === 'no_snapshot' ? <NothingRecorded /> : <TroubleNotice trouble={state.trouble} retry={() => pages.show(key.peek(), true)} />)
				: !state.head ? <Waiting what="Fetching the table…" />
				: !state.total ? <NothingFits />
				: <>
					<Table label={`By ${by}`} columns={columns} count={state.total} row={i => state.rows.get(i) ?? null} id={r => String(r.rank)} sorted={sort} onSort={k => go({ sort: k })} onRange={pages.range} onActivate={filter} rowHeight={26} dim={state.loading} />
					<div class="foot dim">{plural(state.total, by)} · Enter: {by === 'function' || by === 'site' ? 'callers and callees' : `only this ${by}`}</div>
				</>}
		</div>
	);
}
