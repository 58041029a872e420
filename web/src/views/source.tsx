// SPDX-License-Identifier: Apache-2.0
// A file with what its lines hold.
import { computed } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { query } from '../api/client';
import type { Source } from '../api/types';
import { base, clean, count, plural, signed } from '../model/format';
import { resource } from '../state/resource';
import { go, route } from '../state/route';
import { parameters } from '../state/store';
import { Notice, Share, TroubleNotice, Waiting } from '../ui/bits';
import { amountOf } from './flame';

const file = computed(() => route.value.file);
const wide = computed(() => (route.value.show === 'source' ? parameters.value : null));
export const source = resource<Source>(
	computed(() => (wide.value && file.value ? 'view/source?' + query({ ...wide.value, file: file.value }) : null)),
);

export function SourceView() {
	const s = route.value, { data, trouble, loading } = source.answer.value, list = useRef<HTMLDivElement>(null);
	const hot = useMemo(() => new Map(data?.hot.line.map((line, i) => [line, i]) ?? []), [data]);
	const wanted = s.line || (data ? data.hot.line[data.hot.total.indexOf(Math.max(...data.hot.total))] : 0) || 0;
	useEffect(() => {
		list.current?.querySelector(`[data-line="${wanted}"]`)?.scrollIntoView({ block: 'center' });
	}, [data, wanted]);
	if (!s.file) return <Notice title="Which file?">Choose a line anywhere: of a stack under Sites, or in the tables of calls.</Notice>;
	if (trouble) return <TroubleNotice trouble={trouble} retry={source.reload} />;
	if (!data) return <Waiting what="Fetching the source…" />;
	const amount = amountOf(data.about), most = Math.max(1, ...data.hot.total.map(Math.abs)), diff = data.hot.total_base !== null && data.about.diff;
	const change = (of: number[], then: number[] | null, i: number) => (then ? signed(of[i] - then[i], amount) : of[i] ? amount(of[i]) : '');
	const numbers = (i: number | undefined) => (i === undefined ? null : { self: change(data.hot.self, diff ? data.hot.self_base : null, i), total: change(data.hot.total, diff ? data.hot.total_base : null, i), share: Math.abs(data.hot.total[i]) / most });
	const next = (by: number) => {
		const lines = [...data.hot.line].sort((a, b) => a - b), at = by > 0 ? lines.find(l => l > wanted) : lines.reverse().find(l => l < wanted);
		if (at) go({ line: at });
	};
	const lines = data.readable ? data.lines.map((text, i) => ({ line: data.first + i, text })) : data.hot.line.map(line => ({ line, text: '' }));
	return (
		<div class="fill">
			<div class="bar">
				<b class="mono ellipsis" title={clean(data.file)}>{clean(base(data.file))}</b>
				<span class="dim mono ellipsis grow">{clean(data.file)}</span>
				<button type="button" onClick={() => next(-1)}>Line before</button>
				<button type="button" onClick={() => next(1)}>Next line</button>
				<span class="dim">{plural(data.hot.line.length, 'line')} with memory</span>
			</div>
			{data.changed && <p class="warn-line">The file is newer than the program: lines may have moved.</p>}
			{!data.readable && <Notice title="The source cannot be read here">{data.why_not ?? 'The file is not on this machine.'} Below is what its lines hold.</Notice>}
			<div class={`source mono ${loading ? 'stale' : ''}`} ref={list} tabIndex={0} role="table" aria-label={`Source of ${clean(data.file)}`}>
				<div class="source-head" role="row"><span role="columnheader" class="right">Here</span><span role="columnheader" class="right">With callees</span><span /><span role="columnheader" class="right">Line</span><span role="columnheader" /></div>
				{lines.map(l => {
					const n = numbers(hot.get(l.line));
					return (
						<div key={l.line} data-line={l.line} role="row" class={`source-line ${n ? 'has' : ''} ${l.line === wanted ? 'wanted' : ''}`}>
							<span role="cell" class="right self">{n?.self}</span>
							<span role="cell" class="right">{n?.total}</span>
							<span role="cell">{n && <Share share={n.share} />}</span>
							<span role="rowheader" class="right dim">{count(l.line)}</span>
							<span role="cell" class="text">{clean(l.text.replace(/\t/g, '    '))}</span>
						</div>
					);
				})}
			</div>
		</div>
	);
}
