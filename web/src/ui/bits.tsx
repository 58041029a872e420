// SPDX-License-Identifier: Apache-2.0
// Small parts that many views share.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Trouble } from '../api/client';
import type { Verdict } from '../api/types';
import { sparkPath } from '../model/series';

export function Spark({ values, width = 96, height = 20, label }: { values: ArrayLike<number | null>; width?: number; height?: number; label?: string }) {
	const d = sparkPath(values, width, height);
	return (
		<svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label ?? 'course'}>
			{d && <path d={`${d}L${width - 1} ${height}L1 ${height}Z`} class="spark-fill" />}
			{d && <path d={d} class="spark-line" />}
		</svg>
	);
}

const VERDICTS: Record<Verdict, { sign: string; tone: string; means: string }> = {
	growing: { sign: '↗', tone: 'bad', means: 'goes up and does not slow down' },
	slowing: { sign: '⤴', tone: 'warn', means: 'grows less and less, like a cache that fills' },
	steady: { sign: '→', tone: 'good', means: 'stays where it is' },
	shrinking: { sign: '↘', tone: 'good', means: 'goes down' },
	jumpy: { sign: '↝', tone: 'plain', means: 'up and down without a direction' },
	new: { sign: '✳', tone: 'warn', means: 'was not there in the first half of the history' },
	unknown: { sign: '·', tone: 'dim', means: 'fewer than four snapshots: too early to say' },
};

export function VerdictBadge({ verdict, evidence }: { verdict: Verdict; evidence?: string | null }) {
	const v = VERDICTS[verdict] ?? VERDICTS.unknown;
	return (
		<span class={`badge ${v.tone}`} title={evidence ? `${v.means}: ${evidence}` : v.means}>
			<span aria-hidden="true">{v.sign}</span> {verdict}
		</span>
	);
}

const LEAKS: Record<string, string> = { definite: 'bad', indirect: 'bad', possible: 'warn', reachable: 'plain', suppressed: 'dim' };
export const LeakBadge = ({ leak }: { leak: string }) => <span class={`badge ${LEAKS[leak] ?? 'plain'}`} title="what the newest leak check says of its blocks">{leak}</span>;

export const Badge = ({ tone = 'plain', title, children }: { tone?: string; title?: string; children: ComponentChildren }) => <span class={`badge ${tone}`} title={title}>{children}</span>;

/** Says what failed and what to do; or that there is nothing, and how to get something. */
export function Notice({ title, children, tone = 'plain', actions }: { title: string; children?: ComponentChildren; tone?: 'plain' | 'bad'; actions?: ComponentChildren }) {
	return (
		<div class={`notice ${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
			<h3>{title}</h3>
			{children && <div class="notice-text">{children}</div>}
			{actions && <div class="row">{actions}</div>}
		</div>
	);
}

export const TroubleNotice = ({ trouble, retry }: { trouble: Trouble; retry?: () => void }) => (
	<Notice title={trouble.message} tone="bad" actions={retry && <button type="button" onClick={retry}>Try again</button>}>
		{trouble.hint}
	</Notice>
);

/** After a moment only: what is quick does not flicker. */
export function Waiting({ what }: { what: string }) {
	const [shown, show] = useState(false);
	useEffect(() => {
		const timer = setTimeout(() => show(true), 250);
		return () => clearTimeout(timer);
	}, []);
	return shown ? <div class="waiting" role="status"><span class="turn" aria-hidden="true" /> {what}</div> : null;
}

/** A change as text, coloured by what the text says: what rounds to nothing is nothing. */
export const Change = ({ children }: { children: string }) => <span class={children.startsWith('+') ? 'more' : children.startsWith('\u2212') ? 'less' : 'dim'}>{children}</span>;

export function Share({ share, tone = '' }: { share: number; tone?: string }) {
	return <span class={`share ${tone}`} aria-hidden="true"><span style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }} /></span>;
}

export const Icon = ({ d }: { d: string }) => <svg class="icon" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d={d} /></svg>;
export const ICONS = {
	camera: 'M5.5 3.5 6.5 2h3l1 1.5h3v9.5h-11v-9.5zM8 10.7a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2z',
	check: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3 14 14',
	doctor: 'M1.5 8.5h3l1.5-5 3 9 1.7-4h3.8',
	trim: 'M4 13 12.5 2.5M12 13 3.5 2.5M4 14.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM12 14.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3z',
	plug: 'M5.5 1.5v4M10.5 1.5v4M3.5 5.5h9v2a4.5 4.5 0 0 1-9 0zM8 12v2.5',
	down: 'M8 2v8.5M4.5 7 8 10.5 11.5 7M2.5 13.5h11',
	theme: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
	close: 'M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5',
	reload: 'M13.5 8a5.5 5.5 0 1 1-1.6-3.9M13.5 1.5v3h-3',
};
