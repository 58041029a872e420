// SPDX-License-Identifier: Apache-2.0
// Draws a call tree on a canvas and says what lies under a point.  Knows no framework and no DOM but its canvas.
//
// Only what can be seen is visited: a walk along the tree that leaves out the subtree of every box narrower
// than half a pixel or beyond the last row, so a frame costs by the pixels on the screen and not by the
// nodes.  The canvas is as large as the viewport, not as the picture; scrolling moves `top`.
import { shortName } from '../model/format';
import { ALLOCATOR, LIBRARY } from '../model/frames';
import type { CallTree, Found, Layout } from '../model/tree';
import { Palette, type Look } from './color';

export const ROW = 20;
const MIN = 0.5; // pixels
const FONT = '11.5px ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';

export interface Scene {
	tree: CallTree;
	layout: Layout;
	diff: boolean;
	flame: boolean; // root at the bottom
	zoom: number;
	selected: number; // -1: none
	hover: number; // -1: none
	found: Found | null;
	top: number; // pixels scrolled
	look: Look;
}

export class FlamePainter {
	private ctx: CanvasRenderingContext2D;
	private palette: Palette;
	private glyph = 7;
	private shorts = new Map<string, string>();
	wide = 0;
	high = 0;

	constructor(readonly canvas: HTMLCanvasElement, look: Look) {
		this.ctx = canvas.getContext('2d', { alpha: false })!;
		this.palette = new Palette(look);
	}

	resize(wide: number, high: number) {
		const ratio = devicePixelRatio || 1, w = Math.max(1, Math.round(wide * ratio)), h = Math.max(1, Math.round(high * ratio));
		this.wide = wide;
		this.high = high;
		if (this.canvas.width !== w) this.canvas.width = w;
		if (this.canvas.height !== h) this.canvas.height = h;
		this.canvas.style.width = wide + 'px';
		this.canvas.style.height = high + 'px';
	}

	/** How high all of it is. */
	height(s: Scene): number {
		return Math.max(s.tree.rows * ROW + 2, this.high);
	}

	/** The upper edge of a row on the canvas. */
	rowTop(s: Scene, depth: number): number {
		return (s.flame ? this.height(s) - (depth + 1) * ROW - 1 : depth * ROW + 1) - s.top;
	}

	scale(s: Scene): number {
		const w = s.layout.width[s.zoom];
		return w > 0 ? this.wide / w : 0;
	}

	draw(s: Scene) {
		const { ctx } = this, ratio = devicePixelRatio || 1, { look, tree } = s;
		if (look.dark !== this.palette.look.dark || look.colorblind !== this.palette.look.colorblind) this.palette = new Palette(look);
		ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
		ctx.fillStyle = look.dark ? '#12161b' : '#ffffff';
		ctx.fillRect(0, 0, this.wide, this.high);
		if (!(s.layout.width[0] > 0)) return;
		ctx.font = FONT;
		ctx.textBaseline = 'middle';
		this.glyph = ctx.measureText('0000000000').width / 10;
		for (const i of tree.path(s.zoom)) if (i !== s.zoom) this.box(s, i, 0, this.wide, true);
		const scale = this.scale(s), { left, width } = s.layout, { depth, end } = tree, from = left[s.zoom];
		const deepest = s.flame ? (this.height(s) - s.top) / ROW : (s.top + this.high) / ROW;
		for (let i = s.zoom; i < end[s.zoom]; ) {
			const w = width[i] * scale;
			if (w < MIN || depth[i] > deepest) {
				i = end[i];
				continue;
			}
			this.box(s, i, (left[i] - from) * scale, w, false);
			i++;
		}
	}

	private box(s: Scene, i: number, x: number, w: number, outer: boolean) {
		const { ctx } = this, { tree, look } = s, y = this.rowTop(s, tree.depth[i]);
		if (y + ROW < 0 || y > this.high) return;
		const found = s.found !== null, hit = found && s.found!.hit[i] === 1;
		const x0 = Math.max(x, 0), x1 = Math.min(x + w, this.wide), gap = w > 3 ? 1 : 0;
		ctx.globalAlpha = found && !hit ? 0.28 : outer ? 0.62 : 1;
		ctx.fillStyle = hit ? (look.dark ? '#b98a10' : '#ffd24d') : this.color(s, i);
		ctx.fillRect(x0, y, Math.max(x1 - x0 - gap, MIN), ROW - 1);
		const room = Math.floor((x1 - x0 - 7) / this.glyph);
		if (room >= 3) {
			ctx.globalAlpha = found && !hit ? 0.55 : 1;
			ctx.fillStyle = look.dark ? '#eef2f6' : '#14191f';
			ctx.fillText(this.label(tree, i, room), x0 + 4, y + ROW / 2);
		}
		ctx.globalAlpha = 1;
		if (i === s.hover || i === s.selected) {
			ctx.strokeStyle = look.dark ? '#ffffff' : '#0b0f14';
			ctx.lineWidth = i === s.selected ? 2 : 1;
			ctx.strokeRect(x0 + 0.5, y + 0.5, Math.max(x1 - x0 - 2, 1), ROW - 2);
		}
	}

	private color(s: Scene, i: number): string {
		const { tree } = s;
		if (s.diff) return this.palette.change(tree.change(i), tree.moved[i], tree.moved[0]);
		const f = tree.frame[i], { frames } = tree;
		return this.palette.plain(f, frames.name(f), frames.module(f), (frames.flags[f] & (ALLOCATOR | LIBRARY)) !== 0);
	}

	/** The name and the line; the name; the short name; as much of that as there is room for. */
	private label(tree: CallTree, i: number, room: number): string {
		const name = tree.name(i), at = tree.frames.at(tree.frame[i]);
		if (at && name.length + at.length + 2 <= room) return `${name}  ${at}`;
		if (name.length <= room) return name;
		let short = this.shorts.get(name);
		if (short === undefined) this.shorts.set(name, (short = shortName(name)));
		return short.length <= room ? short : short.slice(0, room - 1) + '…';
	}

	/** The node at a point of the canvas, or -1. */
	at(s: Scene, x: number, y: number): number {
		const { tree, layout } = s, d = s.flame ? Math.floor((this.height(s) - 1 - y - s.top) / ROW) : Math.floor((y + s.top - 1) / ROW);
		if (d < 0 || d >= tree.rows || x < 0 || x > this.wide || !(layout.width[0] > 0)) return -1;
		if (d < tree.depth[s.zoom]) return tree.path(s.zoom)[d];
		const scale = this.scale(s), at = layout.left[s.zoom] + x / (scale || 1);
		let i = s.zoom;
		while (tree.depth[i] < d) {
			let next = -1;
			for (let k = i + 1; k < tree.end[i]; k = tree.end[k]) {
				if (at < layout.left[k] || at >= layout.left[k] + layout.width[k]) continue;
				if (layout.width[k] * scale >= MIN) next = k;
				break;
			}
			if (next < 0) return -1;
			i = next;
		}
		return i;
	}

	/** Where to go from a node with an arrow key; -1: nowhere. */
	static neighbour(s: Scene, i: number, to: 'in' | 'out' | 'left' | 'right'): number {
		const { tree, layout: { width } } = s;
		if (to === 'out') return i ? tree.parent[i] : -1;
		if (to === 'in') {
			let best = -1;
			for (let k = i + 1; k < tree.end[i]; k = tree.end[k]) if (width[k] > 0 && (best < 0 || width[k] > width[best])) best = k;
			return best;
		}
		if (!i) return -1;
		const p = tree.parent[i];
		let before = -1;
		for (let k = p + 1; k < tree.end[p]; k = tree.end[k]) {
			if (!(width[k] > 0)) continue;
			if (k === i && to === 'left') return before;
			if (before === i && to === 'right') return k;
			before = k;
		}
		return -1;
	}
}
