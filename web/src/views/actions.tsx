// SPDX-License-Identifier: Apache-2.0
// What can be done to a process: first it is said what will happen, then it happens, and one sees how far it is.
import { computed, signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { send, Trouble } from '../api/client';
import type { Action, Job, Option } from '../api/types';
import { bytes, clean, duration } from '../model/format';
import { go } from '../state/route';
import { detail, ended, jobs, noteJob, process, startJob } from '../state/store';
import { Badge, Icon, ICONS, Notice, TroubleNotice } from '../ui/bits';
import { Dialog } from '../ui/dialog';
import { TrimFacts } from './findings';

/** Short, for the buttons; the server's own words are in the dialog. */
const SHORT: Record<string, string> = { snapshot: 'Snapshot', check: 'Leak check', doctor: 'Doctor', trim: 'Trim', attach: 'Attach', detach: 'Detach' };
const ICON: Record<string, string> = { snapshot: ICONS.camera, check: ICONS.check, doctor: ICONS.doctor, trim: ICONS.trim, attach: ICONS.plug, detach: ICONS.close };

/** The action whose dialog is open, and of which process. */
export const asking = signal<{ kind: string } | null>(null);
export const act = (kind: string) => {
	const a = detail.answer.peek().data?.actions.find(a => a.kind === kind);
	if (a) asking.value = { kind };
};

export function ActionButtons() {
	const actions = detail.answer.value.data?.actions ?? [], tracked = detail.answer.value.data?.process.tracked;
	return (
		<div class="actions" role="group" aria-label="Do something to the process">
			{actions.filter(a => a.kind !== 'detach' || a.available).map(a => {
				const busy = mine.value.find(j => j.kind === a.kind && !ended(j));
				if (a.kind === 'attach' && !a.available && tracked) return null;
				return (
					<button key={a.kind} type="button" class={a.kind === 'snapshot' ? 'primary' : ''} disabled={!a.available} title={a.available ? [a.title, ...a.account].map(clean).join('\n') : clean(a.why_not ?? 'not possible now')} onClick={() => (asking.value = { kind: a.kind })}>
						{busy ? <span class="turn" aria-hidden="true" /> : <Icon d={ICON[a.kind] ?? ICONS.check} />}<span>{SHORT[a.kind] ?? clean(a.title)}</span>
					</button>
				);
			})}
		</div>
	);
}

const mine = computed(() => {
	const id = detail.answer.value.data?.process.id, pid = detail.answer.value.data?.process.pid;
	return [...jobs.value.values()].filter(j => (id !== null && j.process === id) || (j.pid !== null && j.pid === pid)).sort((a, b) => b.id - a.id);
});

function Field({ o, value, set }: { o: Option; value: unknown; set: (v: unknown) => void }) {
	if (o.type === 'bool') return <label class="check"><input type="checkbox" checked={!!value} onChange={e => set(e.currentTarget.checked)} /> {clean(o.title)}</label>;
	if (o.type === 'choice') return <label class="field"><span>{clean(o.title)}</span><select value={String(value ?? '')} onChange={e => set(e.currentTarget.value)}>{(o.choices ?? []).map(c => <option key={c} value={c}>{clean(c)}</option>)}</select></label>;
	const number = o.type === 'size' || o.type === 'seconds', text = value === null || value === undefined ? '' : String(value);
	return (
		<label class="field">
			<span>{clean(o.title)}</span>
			{number
				? <input type="number" min={0} value={text} onInput={e => set(e.currentTarget.value === '' ? null : Number(e.currentTarget.value))} />
				: <input type="text" value={text} maxLength={200} onInput={e => set(e.currentTarget.value)} />}
			{o.type === 'size' && <span class="dim">{value ? bytes(Number(value)) : 'bytes'}</span>}
			{o.type === 'seconds' && <span class="dim">s</span>}
		</label>
	);
}

export function ActionDialog() {
	const open = asking.value, action = open && detail.answer.value.data?.actions.find(a => a.kind === open.kind);
	if (!open || !action) return null;
	return <One key={action.kind} action={action} onClose={() => (asking.value = null)} />;
}

const HANDLED = new Set(['dry_run', 'plan']);

function One({ action, onClose }: { action: Action; onClose: () => void }) {
	const [values, setValues] = useState<Record<string, unknown>>(() => Object.fromEntries(action.options.map(o => [o.name, o.default])));
	const [id, setId] = useState<number | null>(null), [plan, setPlan] = useState<number | null>(null), [trouble, setTrouble] = useState<Trouble | null>(null), [wait, setWait] = useState(false);
	const job = id === null ? null : jobs.value.get(id) ?? null, done = !!job && ended(job), running = !!job && !done;
	const p = detail.answer.value.data?.process, dryRun = action.needs_dry_run && plan === null;
	const run = async (dry: boolean) => {
		const options: Record<string, unknown> = {};
		for (const [k, v] of Object.entries(values)) if (!HANDLED.has(k) && v !== null && v !== '' && v !== undefined) options[k] = v;
		if (action.needs_dry_run) {
			if (dry) options.dry_run = true;
			else options.plan = plan;
		}
		setTrouble(null);
		setWait(true);
		try {
			const job = await startJob(action.kind, process.peek(), options);
			setId(job.id);
			if (!dry) setPlan(null);
			setDry(dry);
		} catch (e) {
			setTrouble(e instanceof Trouble ? e : new Trouble('page', String(e), null));
		}
		setWait(false);
	};
	const [dry, setDry] = useState(false);
	useEffect(() => {
		if (job?.state === 'done' && dry && plan !== job.id) setPlan(job.id);
	}, [job?.state]);
	const options = action.options.filter(o => !HANDLED.has(o.name));
	return (
		<Dialog title={`${clean(action.title)}: ${p ? `${clean(p.name)}, pid ${p.pid}` : ''}`} onClose={onClose}>
			{!job && (
				<>
					<h3>What will be done</h3>
					<ul class="account">{action.account.map(a => <li key={a}>{clean(a)}</li>)}</ul>
					<p>{action.changes_target ? <Badge tone="warn">changes the process; it can be undone</Badge> : <Badge tone="good">changes nothing in the process</Badge>}{' '}
						{action.needs_dry_run && <Badge tone="good">begins with a dry run, which changes nothing</Badge>}</p>
					{options.length > 0 && <div class="fields">{options.map(o => <Field key={o.name} o={o} value={values[o.name]} set={v => setValues({ ...values, [o.name]: v })} />)}</div>}
				</>
			)}
			{job && <Progress job={job} dry={dry} />}
			{job?.state === 'done' && <Result job={job} dry={dry} onClose={onClose} />}
			{trouble && <TroubleNotice trouble={trouble} />}
			<div class="dialog-foot">
				{running && <button type="button" onClick={() => void cancel(job)}>Cancel it</button>}
				<button type="button" onClick={onClose}>{running ? 'Go on in the background' : done && !(dry && job.state === 'done') ? 'Close' : 'Leave it'}</button>
				{!job && <button type="button" class="primary" disabled={wait || !action.available} onClick={() => void run(dryRun)}>{dryRun ? 'Dry run' : SHORT[action.kind] ?? clean(action.title)}</button>}
				{job?.state === 'done' && dry && <button type="button" class="primary warn" disabled={wait || plan === null} onClick={() => void run(false)}>{SHORT[action.kind] ?? clean(action.title)} now</button>}
				{job && (job.state === 'failed' || job.state === 'cancelled') && <button type="button" class="primary" onClick={() => void run(dry)}>Try again</button>}
			</div>
		</Dialog>
	);
}

async function cancel(job: Job) {
	try {
		const now = await send<Job>('DELETE', `jobs/${job.id}`);
		if (now) noteJob(now);
	} catch {
		// it has ended meanwhile: its last state is on the way
	}
}

const STATES: Record<Job['state'], string> = { queued: 'waiting', running: 'at work', done: 'done', failed: 'failed', cancelled: 'cancelled' };

export function Progress({ job, dry }: { job: Job; dry?: boolean }) {
	const seconds = job.started_ms && job.ended_ms ? (job.ended_ms - job.started_ms) / 1000 : null;
	return (
		<div class="progress" role="status">
			<div class="row">
				<b>{dry ? 'Dry run: ' : ''}{STATES[job.state]}</b>
				<span class="dim ellipsis grow">{job.message && !ended(job) ? clean(job.message) : seconds !== null ? `took ${duration(seconds)}` : ''}</span>
				{job.progress !== null && !ended(job) && <span class="num">{Math.round(job.progress * 100)} %</span>}
			</div>
			{!ended(job) && <progress max={1} value={job.progress ?? undefined} aria-label="how far it is" />}
			{job.command && <code class="dim">{clean(job.command)}</code>}
			{job.error && <Notice title={clean(job.error.message)} tone="bad">{job.error.hint && clean(job.error.hint)}</Notice>}
		</div>
	);
}

function Result({ job, dry, onClose }: { job: Job; dry: boolean; onClose: () => void }) {
	const r = job.result ?? {}, show = (patch: Parameters<typeof go>[0], title: string) => (
		<button type="button" class="primary" onClick={() => {
			go(patch, true);
			onClose();
		}}>{title}</button>
	);
	return (
		<div class="result">
			{r.text && <p>{clean(String(r.text))}</p>}
			{r.snapshot && <p class="row">Snapshot {r.snapshot} is kept. {show({ view: String(r.snapshot), base: '', from: 0, to: 0, z: '' }, 'Look at it')}</p>}
			{(r.check || r.doctor) && <p class="row">{show({ show: 'findings' }, 'See the findings')}</p>}
			{r.trim && <TrimFacts dry={dry} />}
		</div>
	);
}

/** Jobs that go on behind the page. */
export function JobStrip() {
	const list = mine.value.filter(j => !ended(j) || (j.ended_ms !== null && Date.now() - j.ended_ms < 8000)).slice(0, 3);
	if (!list.length || asking.value) return null;
	return (
		<div class="jobs" role="status" aria-live="polite">
			{list.map(j => (
				<div key={j.id} class={`job ${j.state}`}>
					{!ended(j) && <span class="turn" aria-hidden="true" />}
					<b>{j.kind}</b> <span>{STATES[j.state]}</span>
					<span class="dim ellipsis">{j.error ? clean(j.error.message) : j.message ? clean(j.message) : ''}</span>
				</div>
			))}
		</div>
	);
}
