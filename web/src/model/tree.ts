// SPDX-License-Identifier: Apache-2.0
// A call tree in columns, and where its boxes are.
//
// Nodes come in the order of a walk: a node's subtree is the range [i, end[i]).  So "the next
// sibling" is end[i], "skip what is too narrow" is i = end[i], sums are one loop from the back and
// positions one loop from the front; there are no objects, no recursion and no lists of children.
//
//      0 ┌──────────────── main ────────────────┐        parent  0 0 1 1 0
//      1 │ ┌──── a ────┐            ┌─ b ─┐      │        end     5 4 3 4 5
//      2 │ │ x │ │  y  │            └─────┘      │
import { column, demand, Frames, type RawFrames } from './frames';

export interface RawTree {
	strings: string[];
	frames: RawFrames;
	nodes: { parent: number[]; frame: number[]; value: number[]; base: number[] | null };
	cut?: { nodes: number; value: number };
}

/** How wide a box is: what it holds; in a difference also what changed below it, or what it held before. */
export type Widths = 'value' | 'change' | 'base';

export class CallTree {
	readonly n: number;
	readonly frames: Frames;
	readonly parent: Int32Array;
	readonly frame: Int32Array;
	readonly end: Int32Array;
	readonly depth: Int32Array;
	readonly rows: number;
	readonly value: Float64Array;
	readonly base: Float64Array | null;
	/** Sum of the absolute changes of all stacks through a node; of no difference: value. */
	readonly moved: Float64Array;
	readonly cut: { nodes: number; value: number };
	private hashes: Int32Array | null = null;

	constructor(raw: RawTree) {
		this.frames = new Frames(raw.strings, raw.frames);
		const { nodes } = raw;
		demand(!!nodes && Array.isArray(nodes.parent) && nodes.parent.length > 0, 'nodes');
		const n = (this.n = nodes.parent.length);
		this.parent = column(nodes.parent, n, 0, n, 'nodes.parent');
		this.frame = column(nodes.frame, n, 0, this.frames.count, 'nodes.frame');
		demand(nodes.value.length === n && (!nodes.base || nodes.base.length === n), 'nodes.value');
		this.value = Float64Array.from(nodes.value);
		this.base = nodes.base ? Float64Array.from(nodes.base) : null;
		this.cut = raw.cut ?? { nodes: 0, value: 0 };

		const depth = (this.depth = new Int32Array(n)), { parent } = this;
		let rows = 1;
		for (let i = 1; i < n; i++) {
			if (parent[i] >= i) demand(false, `node ${i} comes before its parent`);
			depth[i] = depth[parent[i]] + 1;
			// in the order of a walk a node is the child of the one before it, or of one of its ancestors
			if (depth[i] > depth[i - 1] + 1 || (depth[i] === depth[i - 1] + 1 && parent[i] !== i - 1)) demand(false, `node ${i} is out of order`);
			if (depth[i] >= rows) rows = depth[i] + 1;
		}
		this.rows = rows;
		const end = (this.end = new Int32Array(n));
		for (let i = n - 1; i >= 0; i--) {
			if (!end[i]) end[i] = i + 1;
			if (i && end[parent[i]] < end[i]) end[parent[i]] = end[i];
		}
		this.moved = this.base ? this.changes(this.base) : this.value;
	}

	private changes(base: Float64Array): Float64Array {
		const { n, value, parent } = this, below = new Float64Array(n), moved = new Float64Array(n);
		// what a node has itself is what its children leave of it; they come after it
		for (let i = n - 1; i >= 0; i--) {
			const change = value[i] - base[i];
			moved[i] += Math.abs(change - below[i]);
			if (i) {
				below[parent[i]] += change;
				moved[parent[i]] += moved[i];
			}
		}
		return moved;
	}

	/** What was allocated right there. */
	self(i: number, of = this.value): number {
		let left = of[i];
		for (let k = i + 1; k < this.end[i]; k = this.end[k]) left -= of[k];
		return left;
	}

	change(i: number): number {
		return this.value[i] - (this.base ? this.base[i] : 0);
	}

	name(i: number): string {
		if (i === 0 && !this.frame[0]) return 'all';
		return this.frames.name(this.frame[i]) || (this.frame[i] ? '(unknown)' : '(stack unknown)');
	}

	/** Nodes from the root to i, both included. */
	path(i: number): number[] {
		const out: number[] = [];
		for (; i > 0; i = this.parent[i]) out.push(i);
		out.push(0);
		return out.reverse();
	}

	within(i: number, ancestor: number): boolean {
		return i >= ancestor && i < this.end[ancestor];
	}

	/** A node's name in links: the same path of functions and lines has the same in every tree. */
	hash(i: number): string {
		return (this.pathHashes()[i] >>> 0).toString(16).padStart(8, '0');
	}

	/** 0 where there is none */
	byHash(text: string): number {
		const wanted = parseInt(text, 16) | 0, hashes = this.pathHashes();
		if (!/^[0-9a-f]{8}$/.test(text)) return 0;
		const i = hashes.indexOf(wanted);
		return i < 0 ? 0 : i;
	}

	private pathHashes(): Int32Array {
		if (this.hashes) return this.hashes;
		const { frames, n, parent, frame } = this, own = new Int32Array(frames.count);
		for (let f = 0; f < frames.count; f++) {
			let h = 0x811c9dc5;
			const text = `${frames.name(f)}\n${frames.at(f)}`;
			for (let k = 0; k < text.length; k++) h = Math.imul(h ^ text.charCodeAt(k), 0x01000193);
			own[f] = h;
		}
		const hashes = new Int32Array(n);
		for (let i = 1; i < n; i++) {
			let h = Math.imul(hashes[parent[i]], 0x5bd1e995) ^ own[frame[i]];
			h ^= h >>> 13;
			hashes[i] = Math.imul(h, 0x9e3779b1) | 0 || 1;
		}
		return (this.hashes = hashes);
	}

	/** The node that a stack (names and lines, leaf first) leads to, as far as it can be followed. */
	follow(stack: { name: string; at: string }[]): number {
		const { frames } = this;
		let i = 0;
		for (let s = stack.length - 1; s >= 0; s--) {
			let next = -1;
			for (let k = i + 1; k < this.end[i]; k = this.end[k]) {
				if (frames.name(this.frame[k]) !== stack[s].name || frames.at(this.frame[k]) !== stack[s].at) continue;
				next = k;
				break;
			}
			if (next < 0) break;
			i = next;
		}
		return i;
	}
}

/** Left edges and widths in the unit of the values; the root begins at 0. */
export interface Layout {
	left: Float64Array;
	width: Float64Array;
}

export function layOut(tree: CallTree, widths: Widths): Layout {
	const { n, parent } = tree, left = new Float64Array(n), next = new Float64Array(n);
	const width = widths === 'change' ? tree.moved : widths === 'base' && tree.base ? tree.base : tree.value;
	for (let i = 1; i < n; i++) {
		const p = parent[i];
		left[i] = left[p] + next[p];
		next[p] += width[i];
	}
	return { left, width };
}

export interface Found {
	hit: Uint8Array; // by node
	boxes: number;
	share: number; // of all, each stack counted once
}

export function search(tree: CallTree, wanted: string, width: Float64Array): Found | null {
	if (!wanted) return null;
	const fits = tree.frames.matching(wanted), { n, frame, end } = tree, hit = new Uint8Array(n);
	let boxes = 0, sum = 0, covered = 0;
	for (let i = 1; i < n; i++) {
		if (!fits[frame[i]]) continue;
		hit[i] = 1;
		boxes++;
		if (i >= covered) {
			sum += width[i];
			covered = end[i];
		}
	}
	return { hit, boxes, share: width[0] > 0 ? sum / width[0] : 0 };
}
