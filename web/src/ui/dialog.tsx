// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Icon, ICONS } from './bits';

/** The browser's own modal dialog: it keeps the focus inside, closes on Escape and gives the focus back. */
export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
	const box = useRef<HTMLDialogElement>(null);
	useLayoutEffect(() => { // at once: a key that comes before it is modal would be the page's
		const d = box.current!;
		if (!d.open) d.showModal();
		return () => d.close();
	}, []);
	return (
		<dialog
			ref={box}
			class={wide ? 'wide' : ''}
			aria-label={title}
			onCancel={e => {
				e.preventDefault();
				onClose();
			}}
			onClick={e => {
				if (e.target === box.current) onClose();
			}}
		>
			<div class="dialog-head">
				<h2>{title}</h2>
				<button type="button" class="quiet" aria-label="Close" onClick={onClose}><Icon d={ICONS.close} /></button>
			</div>
			<div class="dialog-body">{children}</div>
		</dialog>
	);
}
