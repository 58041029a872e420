// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { clean } from './model/format';
import { connection } from './state/live';
import { colorblind, dark, go, route, visit } from './state/route';
import { detail, refreshViews, server } from './state/store';
import { Icon, ICONS, Notice } from './ui/bits';
import { act, asking } from './views/actions';
import { toggleFilters } from './views/controls';
import { Help } from './views/help';
import { ProcessesView } from './views/processes';
import { ProcessView, TABS } from './views/process';

const helping = signal(false);
const toggleTheme = () => go({ theme: dark.peek() ? 'light' : 'dark' });

function focus(id: string): boolean {
	const e = document.getElementById(id) as HTMLInputElement | null;
	e?.focus();
	if (e && 'select' in e) e.select();
	return !!e;
}

function find() {
	if (!route.peek().p) focus('list-find');
	else if (!focus('filter-q')) {
		go({ show: 'icicle' }, true);
		requestAnimationFrame(() => focus('filter-q'));
	}
}

function key(e: KeyboardEvent) {
	const at = e.target as HTMLElement, typing = /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName) && (at as HTMLInputElement).type !== 'checkbox';
	if (e.ctrlKey || e.altKey || e.metaKey || e.defaultPrevented) return;
	if (helping.peek() || asking.peek()) return;
	if (typing) {
		if (e.key === 'Escape') at.blur();
		return;
	}
	const s = route.peek(), digit = /^\d$/.test(e.key) ? (Number(e.key) + 9) % 10 : -1;
	if (e.key === '?') helping.value = true;
	else if (e.key === '/') find();
	else if (e.key === 't') toggleTheme();
	else if (e.key === 'p' && s.p) visit('');
	else if (!s.p) return;
	else if (digit >= 0 && TABS[digit]) go({ show: TABS[digit][0], sort: '' }, true);
	else if (e.key === 'v') focus('view');
	else if (e.key === 'd') focus('base');
	else if (e.key === 'x') focus('value');
	else if (e.key === 'f') toggleFilters();
	else if (e.key === 's') act('snapshot');
	else if (e.key === 'c') act('check');
	else if (e.key === 'r') refreshViews();
	else if (e.key === 'Escape' && s.z) go({ z: '' });
	else if (e.key === 'Escape' && s.to) go({ from: 0, to: 0 });
	else return;
	e.preventDefault();
}

export function App() {
	const s = route.value, srv = server.answer.value, p = detail.answer.value.data?.process;
	useEffect(() => {
		document.addEventListener('keydown', key);
		return () => document.removeEventListener('keydown', key);
	}, []);
	useEffect(() => {
		document.documentElement.dataset.theme = dark.value ? 'dark' : 'light';
		document.documentElement.dataset.palette = colorblind.value ? 'safe' : 'redgreen';
	}, [dark.value, colorblind.value]);
	useEffect(() => {
		document.title = s.p && p ? `${clean(p.name)} ${p.pid} – seep` : 'seep';
	}, [s.p, p]);
	const lost = connection.value === 'lost';
	return (
		<>
			<a class="skip" href="#app" onClick={e => {
				e.preventDefault();
				(document.querySelector('main [tabindex="0"]') as HTMLElement | null)?.focus();
			}}>Skip to the content</a>
			<header class="top">
				<a class="brand" href="/" onClick={e => {
					e.preventDefault();
					visit('');
				}}><img src="/icon.svg" width="20" height="20" alt="" /> seep</a>
				<nav aria-label="Where you are">
					<a href="/" aria-current={s.p ? undefined : 'page'} onClick={e => {
						e.preventDefault();
						visit('');
					}}>Processes</a>
					{s.p && <span aria-current="page"><span class="dim" aria-hidden="true">/ </span>{p ? clean(p.name) : s.p}{p?.label ? <span class="dim"> {clean(p.label)}</span> : ''}</span>}
				</nav>
				<span class="grow" />
				<span class={`conn ${connection.value}`} role="status" title={lost ? 'The server does not answer; the page goes on when it is back.' : 'figures come as they are measured'}><i aria-hidden="true" /> {srv.data ? clean(srv.data.hostname) : ''}<span class="visually-hidden">{lost ? ', connection lost' : ', connected'}</span></span>
				<button type="button" class="quiet" onClick={toggleTheme} aria-label={dark.value ? 'Light' : 'Dark'} title="Dark or light (t)"><Icon d={ICONS.theme} /></button>
				<button type="button" class="quiet" onClick={() => (helping.value = true)} aria-label="Help, keys" title="Keys (?)">?</button>
			</header>
			{srv.trouble?.status === 401 ? <main class="page"><Notice title="A token is needed" tone="bad">{srv.trouble.hint}</Notice></main> : s.p ? <ProcessView /> : <ProcessesView />}
			{lost && <div class="lost-note" role="alert">The connection to the server is lost. What you see is the last that came; it goes on by itself.</div>}
			{helping.value && <Help onClose={() => (helping.value = false)} />}
		</>
	);
}
