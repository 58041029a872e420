// SPDX-License-Identifier: Apache-2.0
// One function: who called it (above, upside down) and whom it called (below).
import { useMemo, useState } from 'preact/hooks';
import type { FunctionView, Nodes } from '../api/types';
import { clean, percent, plural } from '../model/format';
import { CallTree } from '../model/tree';
import { go, route } from '../state/route';
import { functionView } from '../state/store';
import { Notice, TroubleNotice, Waiting } from '../ui/bits';
import { amountOf, FlameGraph } from './flame';

const treeOf = (view: FunctionView, nodes: Nodes) => new CallTree({ strings: view.strings, frames: view.frames, nodes });

export function CallersView() {
	const s = route.value, { data, trouble, loading } = functionView.answer.value, [asked, setAsked] = useState(s.fn);
	const trees = useMemo(() => (data ? { callers: treeOf(data, data.callers), callees: treeOf(data, data.callees) } : null), [data]);
	const open = (fn: string, module: string) => go({ fn, in: module }, true);
	return (
		<div class="fill">
			<form class="bar" onSubmit={e => {
				e.preventDefault();
				if (asked) go({ fn: asked, in: '' }, true);
			}}>
				<label class="grow">Function <input class="mono grow" value={s.fn} onInput={e => setAsked(e.currentTarget.value)} placeholder="its whole name" spellcheck={false} /></label>
				<button type="submit">Show</button>
				{data && <span class="dim">{amountOf(data.about)(data.total)} in all, {percent(data.about.total ? data.total / data.about.total : 0)}; {amountOf(data.about)(data.self)} right here</span>}
			</form>
			{!s.fn ? <Notice title="Which function?">Double-click a box of the flame, choose a row of the table, or write a name above.</Notice>
				: trouble ? <TroubleNotice trouble={trouble} retry={functionView.reload} />
				: !data || !trees ? <Waiting what="Fetching callers and callees…" />
				: (
					<div class="sandwich">
						<h3>Callers <span class="dim">of {clean(data.function)}: {plural(trees.callers.n - 1, 'box', 'boxes')}</span></h3>
						<FlameGraph tree={trees.callers} about={data.about} flame label={`Callers of ${clean(data.function)}`} linked={false} stale={loading} onOpen={open} />
						<h3>Callees <span class="dim">{trees.callees.n > 1 ? plural(trees.callees.n - 1, 'box', 'boxes') : 'none: it allocates itself'}</span></h3>
						<FlameGraph tree={trees.callees} about={data.about} flame={false} label={`What ${clean(data.function)} calls`} linked={false} stale={loading} onOpen={open} />
					</div>
				)}
		</div>
	);
}
