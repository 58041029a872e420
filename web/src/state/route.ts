// SPDX-License-Identifier: Apache-2.0
import { computed, signal } from '@preact/signals';
import { DEFAULTS, parse, write, type State } from './url';

export const route = signal<State>(parse(location.search));

/** Preferences outlive the page; an address that names them wins. */
const PREFERENCES = ['theme', 'palette'] as const;
for (const key of PREFERENCES) {
	const kept = localStorage.getItem(`seep.${key}`);
	if (kept && !route.peek()[key]) route.value = { ...route.peek(), [key]: parse(`?${key}=${kept}`)[key] };
}

/** What changes what you look at is a step for the back button; what changes how, is not. */
export function go(patch: Partial<State>, step = false) {
	const before = write(route.peek()), next = { ...route.peek(), ...patch };
	for (const key of PREFERENCES) if (patch[key] !== undefined) localStorage.setItem(`seep.${key}`, patch[key]!);
	route.value = next;
	const after = write(next);
	if (after === before) return;
	history[step ? 'pushState' : 'replaceState'](null, '', location.pathname + after);
}

/** Another process: everything about the last one is forgotten, but how one likes to look. */
export const visit = (p: string, more: Partial<State> = {}) => {
	const { theme, palette, show, value, list } = route.peek();
	go({ ...DEFAULTS, theme, palette, list, show: show === 'source' || show === 'callers' ? 'sites' : show, value, ...more, p }, true);
	scrollTo(0, 0);
};

addEventListener('popstate', () => {
	const { theme, palette } = route.peek();
	route.value = { ...parse(location.search), theme, palette };
});

const media = matchMedia('(prefers-color-scheme: dark)'), system = signal(media.matches);
media.addEventListener('change', () => (system.value = media.matches));

export const dark = computed(() => (route.value.theme ? route.value.theme === 'dark' : system.value));
export const colorblind = computed(() => route.value.palette !== 'redgreen');
export const look = computed(() => ({ dark: dark.value, colorblind: colorblind.value }));
