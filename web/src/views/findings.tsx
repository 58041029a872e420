// SPDX-License-Identifier: Apache-2.0
// What was found out, as cards: each says what, how that is known, and what to do next.
import type { ComponentChildren } from 'preact';
import type { Document, Findings, GrowthSite } from '../api/types';
import { base, bytes, clean, clock, duration, growth, percent, plural, signed } from '../model/format';
import { go } from '../state/route';
import { findings } from '../state/store';
import { Badge, Share, TroubleNotice, VerdictBadge, Waiting } from '../ui/bits';
import { act } from './actions';

const text = (v: unknown): string => (typeof v === 'string' ? clean(v) : '');
const list = (v: unknown): Document[] => (Array.isArray(v) ? v : []);
const num = (v: unknown): number | null => (typeof v === 'number' ? v : null);

function Card({ title, when, tone = '', badge, children, next }: { title: string; when?: number; tone?: string; badge?: ComponentChildren; children: ComponentChildren; next?: ComponentChildren }) {
	return (
		<article class={`card ${tone}`}>
			<header><h3>{title}</h3>{badge}{when !== undefined && <time class="dim">{clock(when / 1000)}</time>}</header>
			<div class="card-body">{children}</div>
			{next && <footer>{next}</footer>}
		</article>
	);
}

const Never = ({ title, children, kind, label }: { title: string; children: ComponentChildren; kind: string; label: string }) => (
	<Card title={title} tone="none" next={<button type="button" onClick={() => act(kind)}>{label}</button>}><p class="dim">{children}</p></Card>
);

// ---- growth -----------------------------------------------------------------------------------------

const NEXT: Record<string, string> = {
	growing: 'Look at its stack, then at who should have freed it. A leak check says whether anything still points to it.',
	slowing: 'Wait and look again: a cache that fills does this, and then it stops.',
	new: 'Look again after a while: with more snapshots it gets a verdict.',
};

const openSite = (s: GrowthSite) => go({ show: 'sites', sort: 'growth', focus: s.function ? `^${s.function.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$` : '', base: '', from: 0, to: 0, value: 'in_use' }, true);

function GrowthCard({ g }: { g: NonNullable<Findings['growth']> }) {
	return (
		<Card title="Growth" when={g.since_ms ?? undefined} tone={g.verdict === 'growing' ? 'bad' : ''} badge={<VerdictBadge verdict={g.verdict} />}
			next={<span>{NEXT[g.verdict] ?? 'Nothing to do.'}</span>}>
			<p><b>{growth(g.rate)}</b>{g.evidence && `: ${clean(g.evidence)}`}</p>
			<ol class="growers">
				{g.sites.slice(0, 6).map(s => (
					<li key={s.site}>
						<span class="where"><button type="button" class="link mono" title={clean(s.function ?? '')} onClick={() => openSite(s)}>{clean(s.function ?? '(unknown)')}</button>
						{s.file && <button type="button" class="link mono dim" onClick={() => go({ show: 'source', file: s.file!, line: s.line ?? 0 }, true)}>{clean(base(s.file))}{s.line ? `:${s.line}` : ''}</button>}</span>
						<span class="num">{bytes(s.inuse_bytes)}</span> <span class="num more">{growth(s.growth)}</span> <VerdictBadge verdict={s.verdict} evidence={s.evidence} />
						{s.evidence && <div class="evidence dim">{clean(s.evidence)}</div>}
					</li>
				))}
			</ol>
		</Card>
	);
}

// ---- leak check -------------------------------------------------------------------------------------

const CLASSES: [string, string, string][] = [
	['definite', 'definitely lost', 'bad'], ['indirect', 'indirectly lost', 'bad'], ['possible', 'possibly lost', 'warn'],
	['reachable', 'still reachable', ''], ['suppressed', 'suppressed', 'dim'], ['internal', "C library's own", 'dim'],
];

function CheckCard({ id, when, document }: { id: number; when: number; document: Document }) {
	const check = list(document?.checks).at(-1) ?? document, classes = check?.classes ?? {}, complete = check?.completeness ?? {};
	const size = (c: string) => num(classes[c]?.bytes) ?? 0, sure = size('definite') + size('indirect'), lost = sure + size('possible'), blind = complete.nothing_known === true, tone = blind ? '' : sure ? 'bad' : lost ? 'warn' : 'good';
	/* Pointers to their inside may be all that a program keeps. */
	const perhaps = num(check?.header) ? `Most possibly lost blocks are pointed to ${check.header} bytes behind their start, as where a program puts a header in front of each: then they are in use (seep check --presets=lsan).` : 'Only pointers to their inside lead to these blocks: they may be lost, or not.';
	const whole = Math.max(1, CLASSES.reduce((sum, [c]) => sum + size(c), 0));
	const frames = list(check?.frames), records = list(check?.records).filter(r => ['definite', 'possible', 'indirect'].includes(r.class));
	const notes = list(complete.notes).filter(n => typeof n === 'string');
	return (
		<Card title="Leak check" when={when} tone={tone} badge={<Badge tone={tone}>{blind ? 'nothing checked' : lost ? `${bytes(lost)} ${sure ? '' : 'possibly '}lost` : 'nothing lost'}</Badge>}
			next={<>
				<span>{sure ? 'No pointer leads to these blocks any more: the lines above allocated them, and they or their callers lost the last one.' : lost ? perhaps : blind ? 'The blocks of its allocator are known only with a tracker: attach, let it work, check again.' : 'All blocks can still be reached. Memory that grows is held by something: look at what grows.'}</span>
				<span class="row">
					{lost > 0 && <button type="button" onClick={() => go({ show: 'icicle', value: 'leaked', base: '', from: 0, to: 0, view: '', z: '' }, true)}>Lost blocks as icicle</button>}
					<button type="button" onClick={() => act('check')}>Check again</button>
				</span>
			</>}>
			<table class="classes"><tbody>
				{CLASSES.map(([key, title, tone]) => (
					<tr key={key} class={num(classes[key]?.bytes) ? '' : 'dim'}>
						<th scope="row">{title}</th><td class="num">{bytes(num(classes[key]?.bytes))}</td><td class="num">{num(classes[key]?.blocks) === null ? '' : plural(classes[key].blocks, 'block')}</td>
						<td class="bar-cell"><Share share={size(key) / whole} tone={tone} /></td>
					</tr>
				))}
			</tbody></table>
			{records.length > 0 && (
				<ol class="growers">
					{records.slice(0, 5).map((r, i) => {
						const stack = list(r.stack).map(f => frames[f]).filter(Boolean), at = stack[r.look_here ?? 0];
						return (
							<li key={i}>
								<Where stack={at ? [at] : []} what={text(r.what)} />
								<span class="num">{bytes(num(r.bytes))}</span> <span class="dim">{plural(num(r.blocks) ?? 0, 'block')}{num(r.indirect?.bytes) ? `, holding ${bytes(r.indirect.bytes)} more` : ''}</span> <Badge tone={r.class === 'possible' ? 'warn' : 'bad'}>{text(r.class)}</Badge>
							</li>
						);
					})}
				</ol>
			)}
			<p class="dim small">Check {id}. {num(complete.threads) !== null ? `${plural(complete.threads, 'thread')}, ` : ''}{num(complete.stopped_ns) !== null ? `the process stood still for ${duration(complete.stopped_ns / 1e9)}. ` : ''}{notes.map(clean).join(' ') || (complete.complete ? 'Nothing was left out.' : '')}</p>
		</Card>
	);
}

// ---- doctor -----------------------------------------------------------------------------------------

/** docs/DOCTOR-JSON.md: the classes add up to resident memory. */
function DoctorCard({ when, document: d }: { when: number; document: Document }) {
	const classes = list(d?.classes).filter(c => num(c.bytes) || num(c.growth)).sort((a, b) => b.bytes - a.bytes), facts = d?.facts ?? {}, window = d?.window;
	const total = num(facts.rss) ?? classes.reduce((sum, c) => sum + c.bytes, 0), most = Math.max(1, ...classes.map(c => c.bytes)), notes = list(d?.notes);
	return (
		<Card title="What resident memory consists of" when={when} badge={<Badge>{bytes(total)} resident</Badge>}
			next={<span class="row"><button type="button" onClick={() => act('doctor')}>Ask again</button></span>}>
			<table class="classes"><tbody>
				{classes.map(c => (
					<tr key={c.class} title={text(c.source)}><th scope="row">{text(c.label) || text(c.class)}</th>{window && <td class={`num ${c.growth > 0 ? 'more' : ''}`}>{signed(num(c.growth))}</td>}<td class="num">{bytes(c.bytes)}</td><td class="num">{percent(num(c.share))}</td><td class="bar-cell"><Share share={c.bytes / most} /></td></tr>
				))}
			</tbody></table>
			{list(d?.pins).length > 0 && (
				<>
					<h4>What keeps free memory from going back</h4>
					<ol class="growers">
						{list(d.pins).slice(0, 4).map((p, i) => (
							<li key={i}><Where stack={list(p.stack)} what={text(p.what)} /><span class="num">{bytes(num(p.holds_back) ?? num(p.holds))}</span><span class="dim">{plural(num(p.blocks) ?? 0, 'block')}</span></li>
						))}
					</ol>
				</>
			)}
			<p class="dim small">{num(facts.swap) ? `${bytes(facts.swap)} more in swap. ` : ''}{num(facts.stopped_ns) ? `The process stood still for ${duration(facts.stopped_ns / 1e9)}. ` : ''}{notes.map(n => text(n)).join(' ')}</p>
		</Card>
	);
}

function Where({ stack, what }: { stack: Document[]; what?: string }) {
	const at = stack[0];
	return (
		<span class="where">
			<span class="mono">{text(at?.function) || what || '(stack unknown)'}</span>
			{at?.file && <button type="button" class="link mono dim" onClick={() => go({ show: 'source', file: at.file, line: num(at.line) ?? 0 }, true)}>{clean(base(at.file))}{at.line ? `:${at.line}` : ''}</button>}
		</span>
	);
}

const CONFIDENCE: Record<string, string> = { low: 'not sure', medium: 'fairly sure', high: 'sure' };

function VerdictCard({ v, when }: { v: Document; when: number }) {
	const remedies = list(v.remedies), typed = remedies.map(r => text(r.command)).join(' '), leak = /leak|lost/.test(text(v.cause)), grows = num(v.growth);
	return (
		<Card title={text(v.title)} when={when} tone={v.problem === false ? '' : 'warn'}
			badge={<>{num(v.bytes) !== null && <Badge tone={v.problem === false ? 'plain' : 'warn'}>{bytes(v.bytes)}{num(v.share) !== null ? `, ${percent(v.share)}` : ''}</Badge>}{grows ? <Badge tone="warn">{signed(grows)}</Badge> : ''}<Badge title="how sure the doctor is">{CONFIDENCE[v.confidence] ?? text(v.confidence)}</Badge></>}
			next={(remedies.length > 0 || leak) && <>
				{remedies.map((r, i) => <span key={i} class="remedy">{text(r.text)}{r.command && <code>{text(r.command)}</code>}</span>)}
				{(leak || /seep (trim|check)/.test(typed)) && (
					<span class="row">
						{typed.includes('seep trim') && <button type="button" onClick={() => act('trim')}>Trim: dry run…</button>}
						{(leak || typed.includes('seep check')) && <button type="button" onClick={() => act('check')}>Leak check…</button>}
					</span>
				)}
			</>}>
			<ul class="evidence-list">{list(v.evidence).map((e, i) => <li key={i}>{text(e)}</li>)}</ul>
		</Card>
	);
}

// ---- trim -------------------------------------------------------------------------------------------

const HOW: Record<string, string> = { madvise: 'free pages are given back one by one', release: 'by its own release call', impossible: 'cannot be done', nothing: 'nothing to give back' };

/** docs/TRIM-JSON.md */
function TrimTable({ document: d }: { document: Document }) {
	const dry = d?.dry_run === true, parts = list(d?.allocators), rows: [string, number | null][] = [
		[dry ? 'can be given back' : 'was predicted', num(d?.predicted_bytes)], ['given back', num(d?.returned_bytes)], ['in memory before', num(d?.before?.rss_bytes)],
		['in memory after', dry ? null : num(d?.after?.rss_bytes)], ['used again meanwhile', num(d?.used_meanwhile_bytes) || null], ['cannot be: locked or in huge pages', num(d?.unfit_bytes) || null],
	];
	return (
		<>
			<table class="classes"><tbody>{rows.filter(r => r[1] !== null).map(([title, v], i) => <tr key={title}><th scope="row">{title}</th><td class="num">{i === 0 || title === 'given back' ? <b>{bytes(v)}</b> : bytes(v)}</td></tr>)}</tbody></table>
			{parts.length > 0 && (
				<ul class="evidence-list">
					{parts.map((p, i) => <li key={i}>{text(p.detail) || text(p.allocator)}: {num(p.predicted_bytes) === null ? 'cannot be foretold' : bytes(p.predicted_bytes)}{HOW[p.how] ? `, ${HOW[p.how]}` : ''}{p.problem ? `. ${text(p.problem)}` : ''}</li>)}
				</ul>
			)}
			{d?.error && <p class="warn-line">{text(d.error)}</p>}
			{(num(d?.stop?.longest_ns) || num(d?.stop?.clone_ns)) && <p class="dim small">The process stood still for at most {duration(Math.max(num(d.stop.longest_ns) ?? 0, num(d.stop.clone_ns) ?? 0) / 1e9)} at a time. {list(d?.notes).map(n => text(n)).join(' ')}</p>}
		</>
	);
}

/** Of the job that has just ended: fetched anew, since the event that tells of it may come later. */
export function TrimFacts({ dry }: { dry?: boolean }) {
	const t = findings.answer.value.data?.trim;
	if (!t || (dry !== undefined && t.dry_run !== dry)) return <Waiting what="Fetching its figures…" />;
	return (
		<>
			{dry && <p>A dry run: nothing was changed. This is what a trim would do now.</p>}
			<TrimTable document={t.document} />
		</>
	);
}

// ---- all --------------------------------------------------------------------------------------------

export function FindingsView() {
	const { data, trouble } = findings.answer.value;
	if (trouble) return <TroubleNotice trouble={trouble} retry={findings.reload} />;
	if (!data) return <Waiting what="Fetching the findings…" />;
	const { doctor, check, trim, growth: g } = data;
	return (
		<div class="cards">
			{g ? <GrowthCard g={g} /> : <Card title="Growth" tone="none" next={<button type="button" onClick={() => act('snapshot')}>Snapshot</button>}><p class="dim">Growth is told from four snapshots on. Take some while the process works, or let the server: seep serve --watch NAME.</p></Card>}
			{check ? <CheckCard id={check.id} when={check.time_ms} document={check.document} /> : <Never title="Leak check" kind="check" label="Leak check…">Never run. It says which blocks nothing points to any more, in a running process, and which line allocated them.</Never>}
			{list(doctor?.document?.verdicts).map((v, i) => <VerdictCard key={i} v={v} when={doctor!.time_ms} />)}
			{doctor ? <DoctorCard when={doctor.time_ms} document={doctor.document} /> : <Never title="Doctor" kind="doctor" label="Ask the doctor…">Never run. It splits all resident memory by cause: blocks, what the allocator keeps, stacks, files, and says what to do about each.</Never>}
			{trim ? <Card title={trim.dry_run ? 'Trim, dry run' : 'Trim'} when={trim.time_ms} next={<button type="button" onClick={() => act('trim')}>{trim.dry_run ? 'Trim…' : 'Trim again…'}</button>}><TrimTable document={trim.document} /></Card>
				: <Never title="Trim" kind="trim" label="Trim: dry run…">Never run. It gives free memory that the allocator keeps back to the system; a dry run says how much before.</Never>}
		</div>
	);
}

/** How many findings want somebody's eye. */
export function alarming(f: Findings | null): number {
	if (!f) return 0;
	const check = list(f.check?.document?.checks).at(-1), lost = num(check?.classes?.definite?.bytes) ?? 0;
	return (f.growth?.verdict === 'growing' ? 1 : 0) + (lost > 0 ? 1 : 0) + list(f.doctor?.document?.verdicts).filter(v => v.problem !== false).length;
}
