// SPDX-License-Identifier: Apache-2.0
// What was found out, as cards: each says what, how that is known, and what to do next.
import type { ComponentChildren } from 'preact';
import type { Document, Findings, GrowthSite } from '../api/types';
import { base, bytes, clean, clock, duration, growth, percent, plural } from '../model/format';
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
			<p><b>{growth(g.rate)}</b> {g.evidence && <span>: {clean(g.evidence)}</span>}</p>
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
	const lost = ['definite', 'indirect', 'possible'].reduce((sum, c) => sum + (num(classes[c]?.bytes) ?? 0), 0);
	const whole = Math.max(1, CLASSES.reduce((sum, [c]) => sum + (num(classes[c]?.bytes) ?? 0), 0));
	const frames = list(check?.frames), records = list(check?.records).filter(r => ['definite', 'possible', 'indirect'].includes(r.class));
	const notes = list(complete.notes).filter(n => typeof n === 'string');
	return (
		<Card title="Leak check" when={when} tone={lost ? 'bad' : 'good'} badge={<Badge tone={lost ? 'bad' : 'good'}>{lost ? `${bytes(lost)} lost` : 'nothing lost'}</Badge>}
			next={<>
				<span>{lost ? 'No pointer leads to these blocks any more: the line below lost the last one, or its caller did.' : 'All blocks can still be reached. Memory that grows is held by something: look at what grows.'}</span>
				<span class="row">
					{lost > 0 && <button type="button" onClick={() => go({ show: 'icicle', value: 'leaked', base: '', from: 0, to: 0, view: '', z: '' }, true)}>Lost blocks as icicle</button>}
					<button type="button" onClick={() => act('check')}>Check again</button>
				</span>
			</>}>
			<table class="classes"><tbody>
				{CLASSES.map(([key, title, tone]) => (
					<tr key={key} class={num(classes[key]?.bytes) ? '' : 'dim'}>
						<th scope="row">{title}</th><td class="num">{bytes(num(classes[key]?.bytes))}</td><td class="num">{num(classes[key]?.blocks) === null ? '' : plural(classes[key].blocks, 'block')}</td>
						<td class="bar-cell"><Share share={(num(classes[key]?.bytes) ?? 0) / whole} tone={tone} /></td>
					</tr>
				))}
			</tbody></table>
			{records.length > 0 && (
				<ol class="growers">
					{records.slice(0, 5).map((r, i) => {
						const stack = list(r.stack).map(f => frames[f]).filter(Boolean), at = stack[r.look_here ?? 0];
						return (
							<li key={i}>
								<span class="where"><span class="mono">{text(at?.function) || (text(r.what) ? text(r.what) : '(stack unknown)')}</span>
								{at?.file && <button type="button" class="link mono dim" onClick={() => go({ show: 'source', file: at.file, line: num(at.line) ?? 0 }, true)}>{clean(base(at.file))}:{at.line}</button>}</span>
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

interface Part { title: string; bytes: number; note: string }

/** The split, under whichever of its names; parts are {title, bytes, ...}. */
function partsOf(d: Document): { parts: Part[]; total: number } {
	const raw = list(d?.split?.parts ?? d?.split ?? d?.parts ?? d?.classes);
	const parts = raw.map(p => ({ title: text(p.title ?? p.name ?? p.key ?? p.class), bytes: num(p.bytes ?? p.resident_bytes ?? p.resident) ?? 0, note: text(p.note ?? p.what ?? p.text) })).filter(p => p.bytes > 0);
	const total = num(d?.split?.total_bytes) ?? num(d?.rss_bytes) ?? num(d?.totals?.rss_bytes) ?? num(d?.resident?.rss_bytes) ?? parts.reduce((s, p) => s + p.bytes, 0);
	return { parts, total };
}

function DoctorCard({ when, document: d }: { when: number; document: Document }) {
	const { parts, total } = partsOf(d), verdicts = list(d?.verdicts), most = Math.max(1, ...parts.map(p => p.bytes));
	return (
		<Card title="Doctor: what resident memory consists of" when={when} badge={<Badge>{bytes(total)} resident</Badge>}
			next={<><span>Each cause has its own card with what to do.</span><span class="row"><button type="button" onClick={() => act('doctor')}>Ask again</button></span></>}>
			<table class="classes"><tbody>
				{parts.map(p => (
					<tr key={p.title} title={p.note}><th scope="row">{p.title}</th><td class="num">{bytes(p.bytes)}</td><td class="num">{percent(total ? p.bytes / total : 0)}</td><td class="bar-cell"><Share share={p.bytes / most} /></td></tr>
				))}
			</tbody></table>
			{!parts.length && <p class="dim">It could tell no parts.</p>}
			{!verdicts.length && <p class="dim">No cause stands out.</p>}
		</Card>
	);
}

function VerdictCard({ v, when }: { v: Document; when: number }) {
	const evidence = list(v.evidence).map(e => (typeof e === 'string' ? e : e?.text)).filter(Boolean), confidence = v.confidence;
	const remedy = list(v.remedies ?? (v.remedy ? [v.remedy] : v.next ? [v.next] : [])).map(r => (typeof r === 'string' ? r : r?.text ?? r?.command)).filter(Boolean);
	const all = JSON.stringify(v).toLowerCase(), size = num(v.bytes) ?? num(v.share_bytes);
	return (
		<Card title={text(v.title ?? v.summary ?? v.text ?? v.cause ?? v.code)} when={when} tone={size ? 'warn' : ''}
			badge={<>{size !== null && <Badge tone="warn">{bytes(size)}</Badge>}{confidence !== undefined && confidence !== null && <Badge tone="plain" title="how sure">{typeof confidence === 'number' ? percent(confidence) : text(confidence)}</Badge>}</>}
			next={<>
				{remedy.map(r => <span key={r} class="remedy">{clean(r)}</span>)}
				<span class="row">
					{all.includes('trim') && <button type="button" onClick={() => act('trim')}>Trim: dry run</button>}
					{(all.includes('leak') || all.includes('lost')) && <button type="button" onClick={() => act('check')}>Leak check</button>}
					{(all.includes('live') || all.includes('grow')) && <button type="button" onClick={() => go({ show: 'sites', sort: 'growth' }, true)}>What grows</button>}
				</span>
			</>}>
			{evidence.length > 0 && <ul class="evidence-list">{evidence.map(e => <li key={e}>{clean(e)}</li>)}</ul>}
		</Card>
	);
}

// ---- trim -------------------------------------------------------------------------------------------

const FIGURES: [RegExp, string][] = [
	[/^(predicted|predicted_bytes|gain_predicted|would_return_bytes|predicted_gain_bytes)$/, 'can be given back'], [/^(measured|measured_bytes|gain_measured|returned_bytes|measured_gain_bytes|gain_bytes)$/, 'given back'],
	[/^(rss_before|before_rss|rss_before_bytes|before_bytes)$/, 'RSS before'], [/^(rss_after|after_rss|rss_after_bytes|after_bytes)$/, 'RSS after'],
];

/** The figures a trim's document has, wherever in it they are. */
function trimFigures(d: Document): [string, number][] {
	const out: [string, number][] = [];
	const walk = (o: Document, depth: number) => {
		if (!o || typeof o !== 'object' || depth > 3) return;
		for (const [k, v] of Object.entries(o)) {
			const known = FIGURES.find(([re]) => re.test(k));
			if (known && typeof v === 'number' && !out.some(([t]) => t === known[1])) out.push([known[1], v]);
			else if (typeof v === 'object') walk(v, depth + 1);
		}
	};
	walk(d, 0);
	return out;
}

export function TrimFacts({ dry }: { dry?: boolean }) {
	const t = findings.answer.value.data?.trim;
	if (!t) return <p class="dim">Its figures are among the findings.</p>;
	const figures = trimFigures(t.document), steps = list(t.document?.steps ?? t.document?.plan ?? t.document?.actions), notes = list(t.document?.notes);
	return (
		<>
			{dry && <p>A dry run: nothing was changed. This is what a trim would do now.</p>}
			<table class="classes"><tbody>{figures.map(([title, v]) => <tr key={title}><th scope="row">{title}</th><td class="num"><b>{bytes(v)}</b></td></tr>)}</tbody></table>
			{steps.length > 0 && <ol class="steps">{steps.slice(0, 12).map((s, i) => <li key={i}>{typeof s === 'string' ? clean(s) : `${text(s.title ?? s.text ?? s.what ?? s.name ?? s.tier ?? s.action)}${num(s.bytes) !== null ? `: ${bytes(s.bytes)}` : ''}`}</li>)}</ol>}
			{notes.map((n, i) => <p key={i} class="dim small">{clean(typeof n === 'string' ? n : text(n?.text))}</p>)}
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
			{trim ? <Card title={trim.dry_run ? 'Trim, dry run' : 'Trim'} when={trim.time_ms} next={<button type="button" onClick={() => act('trim')}>{trim.dry_run ? 'Trim…' : 'Trim again…'}</button>}><TrimFacts /></Card>
				: <Never title="Trim" kind="trim" label="Trim: dry run…">Never run. It gives free memory that the allocator keeps back to the system; a dry run says how much before.</Never>}
		</div>
	);
}

/** How many findings want somebody's eye. */
export function alarming(f: Findings | null): number {
	if (!f) return 0;
	const check = list(f.check?.document?.checks).at(-1), lost = num(check?.classes?.definite?.bytes) ?? 0;
	return (f.growth?.verdict === 'growing' ? 1 : 0) + (lost > 0 ? 1 : 0) + list(f.doctor?.document?.verdicts).length;
}
