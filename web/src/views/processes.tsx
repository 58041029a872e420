// SPDX-License-Identifier: Apache-2.0
// All processes that one may look at, and all that are recorded.
import { useMemo, useState } from 'preact/hooks';
import { send, Trouble } from '../api/client';
import type { Process } from '../api/types';
import { bytes, clean, count, duration, growth, percent, plural } from '../model/format';
import { go, route, visit } from '../state/route';
import { processes, server, serverNow } from '../state/store';
import { Badge, Change, Notice, Share, TroubleNotice, Waiting } from '../ui/bits';
import { Table, type Column } from '../ui/table';

export const who = (p: Process) => (p.id !== null ? String(p.id) : `pid:${p.pid}`);

const SORTS: Record<string, (p: Process) => number> = {
	rss: p => p.rss_bytes ?? -1, growth: p => p.growth ?? p.rss_growth ?? -Infinity, inuse: p => p.inuse_bytes ?? -1, pid: p => -p.pid, age: p => -(p.started_ms ?? Infinity), snapshots: p => p.snapshots,
};

export function Tracked({ p }: { p: Process }) {
	if (p.state === 'file') return <Badge tone="plain">file</Badge>;
	if (p.state !== 'running') return <Badge tone="dim" title={p.end ?? undefined}>{p.state}</Badge>;
	if (p.tracked) return <Badge tone="good" title={p.mode === 'sampled' ? `one sample each ${bytes(p.period)}` : 'every block'}>{p.active ? p.mode : 'paused'}{p.attached ? ', attached' : ''}</Badge>;
	return <span class="dim">no</span>;
}

export function ProcessesView() {
	const s = route.value, { data, trouble, loading } = processes.answer.value, [sort, setSort] = useState('rss');
	const rows = useMemo(() => {
		const wanted = s.list.toLowerCase(), by = SORTS[sort] ?? SORTS.rss;
		const fits = (p: Process) => !wanted || p.name.toLowerCase().includes(wanted) || p.command.toLowerCase().includes(wanted) || String(p.pid).startsWith(wanted) || (p.label ?? '').toLowerCase().includes(wanted);
		const group = (p: Process) => (p.state === 'running' && (p.tracked || p.watched) ? 0 : p.recorded ? 1 : 2);
		return (data?.processes ?? []).filter(fits).sort((a, b) => group(a) - group(b) || by(b) - by(a) || a.pid - b.pid);
	}, [data, s.list, sort]);
	const most = Math.max(1, ...rows.map(p => p.rss_bytes ?? 0));
	const columns: Column<Process>[] = [
		{ key: 'name', title: 'Process', width: 'minmax(170px, 0.9fr)', cell: p => <span class="proc-name"><a href={'/?p=' + encodeURIComponent(who(p))} onClick={e => { if (!e.ctrlKey && !e.metaKey && !e.shiftKey && !e.button) { e.preventDefault(); visit(who(p)); } }}>{clean(p.name)}</a>{p.label && <span class="dim"> {clean(p.label)}</span>}{p.watched && <Badge tone="info" title="recorded by itself">watched</Badge>}</span> },
		{ key: 'pid', title: 'PID', width: '74px', right: true, sort: 'pid', from: 380, cell: p => <span class="num">{p.state === 'file' ? '' : p.pid}</span> },
		{ key: 'rss', title: 'RSS', width: '92px', right: true, sort: 'rss', cell: p => bytes(p.rss_bytes) },
		{ key: 'bar', title: '', width: '70px', from: 900, cell: p => <Share share={(p.rss_bytes ?? 0) / most} /> },
		{ key: 'growth', title: 'Growth', hint: 'in use where it is tracked, else RSS; over the last minutes', width: '104px', right: true, sort: 'growth', from: 480, cell: p => <Change>{growth(p.growth ?? p.rss_growth)}</Change> },
		{ key: 'tracked', title: 'Tracked', width: '142px', from: 560, cell: p => <Tracked p={p} /> },
		{ key: 'inuse', title: 'In use', width: '88px', right: true, sort: 'inuse', from: 640, cell: p => (p.inuse_bytes === null ? '' : bytes(p.inuse_bytes)) },
		{ key: 'allocator', title: 'Allocator', width: '88px', from: 760, cell: p => <span class="dim">{clean(p.allocator ?? '')}</span> },
		{ key: 'limit', title: 'Of limit', hint: 'how full its memory cgroup is', width: '76px', right: true, from: 980, cell: p => p.cgroup_limit_bytes && p.cgroup_bytes !== null ? <span class={p.cgroup_bytes / p.cgroup_limit_bytes > 0.9 ? 'more' : ''}>{percent(p.cgroup_bytes / p.cgroup_limit_bytes)}</span> : '' },
		{ key: 'snapshots', title: 'Snapshots', width: '86px', right: true, sort: 'snapshots', from: 860, cell: p => (p.snapshots ? count(p.snapshots) : '') },
		{ key: 'user', title: 'User', width: '86px', from: 1060, cell: p => <span class="dim ellipsis">{clean(p.user ?? '')}</span> },
		{ key: 'age', title: 'Up', width: '72px', right: true, sort: 'age', from: 720, cell: p => (p.started_ms && (p.ended_ms === null || p.ended_ms > p.started_ms) ? duration(((p.ended_ms ?? serverNow()) - p.started_ms) / 1000) : '') },
		{ key: 'command', title: 'Command', width: 'minmax(120px, 1fr)', from: 1180, cell: p => <span class="dim mono ellipsis" title={clean(p.command)}>{clean(p.command)}</span> },
	];
	const all = data?.processes ?? [], tracked = all.filter(p => p.tracked && p.state === 'running').length;
	return (
		<main class="page list-page">
			<div class="list-head">
				<h1>Processes</h1>
				<span class="dim grow">{data ? `${plural(all.length, 'process', 'processes')}, ${count(tracked)} tracked` : ''}</span>
				<label class="filter"><span>Find</span><input id="list-find" value={s.list} placeholder="name, command, pid" spellcheck={false} onInput={e => go({ list: e.currentTarget.value })} onKeyDown={e => { if (e.key === 'Enter' && rows[0]) visit(who(rows[0])); }} /></label>
				<Upload />
			</div>
			{server.answer.value.data?.store.error && <p class="warn-line">Nothing can be written: {clean(server.answer.value.data.store.error)}</p>}
			{trouble && !data ? <TroubleNotice trouble={trouble} retry={processes.reload} />
				: !data ? <Waiting what="Looking for processes…" />
				: !rows.length ? <Notice title={s.list ? 'No process fits' : 'No process may be looked at'}>{s.list ? 'Part of a name, of a command line, or a pid.' : 'The server sees the processes of the user it runs as. Run seep serve as that user, or as root for all.'}</Notice>
				: <Table label="Processes" columns={columns} count={rows.length} row={i => rows[i] ?? null} id={p => who(p) + ' ' + p.pid} sorted={sort} onSort={setSort} onActivate={p => visit(who(p))} tone={p => (p.state !== 'running' ? 'gone-row' : p.tracked || p.watched ? '' : 'quiet-row')} dim={loading && !data} rowHeight={30} />}
			{data && tracked === 0 && <div class="foot">No process is tracked. Open one and attach, or start it with tracking: <code>seep run -- COMMAND</code>. A leak check and the doctor work without.</div>}
		</main>
	);
}

function Upload() {
	const [state, setState] = useState<{ busy: boolean; trouble: Trouble | null }>({ busy: false, trouble: null });
	return (
		<>
			<label class="button" title="A snapshot or profile in any format that seep report reads">
				{state.busy ? <span class="turn" aria-hidden="true" /> : null}Open a file…
				<input class="hidden-input" type="file" onChange={async e => {
					const input = e.currentTarget, file = input.files?.[0];
					if (!file) return;
					setState({ busy: true, trouble: null });
					try {
						const made = await send<{ process: number; snapshot: number }>('POST', `upload?name=${encodeURIComponent(file.name)}`, file);
						setState({ busy: false, trouble: null });
						if (made) visit(String(made.process), { view: String(made.snapshot) });
					} catch (err) {
						setState({ busy: false, trouble: err instanceof Trouble ? err : new Trouble('page', String(err), null) });
					}
					input.value = '';
				}} />
			</label>
			{state.trouble && <TroubleNotice trouble={state.trouble} />}
		</>
	);
}
