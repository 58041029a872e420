// SPDX-License-Identifier: Apache-2.0
// Colours of boxes.  A plain picture is coloured by module, so that one's own code, libraries and the
// runtime stand apart; within a module the shade tells neighbours from each other.  A difference
// is coloured by what changed: red and green, or orange and blue, which nearly everyone can tell
// apart.  Strength is the share that changed, so that a picture in grey still reads.

export interface Look {
	dark: boolean;
	colorblind: boolean;
}

export const hash = (s: string): number => {
	let h = 2166136261;
	for (let i = 0; i < s.length; i++) h = Math.imul(h ^ s.charCodeAt(i), 16777619);
	return (h ^ (h >>> 15)) >>> 0;
};

// Hues for modules, in the order in which they are met; the first is the program itself.
const HUES = [205, 32, 160, 275, 340, 95, 235, 15, 185, 300, 60, 130];

/** For all pictures the same. */
const modules = new Map<string, number>();

export class Palette {
	private cache = new Map<number, string>();

	constructor(readonly look: Look) {}

	private hue(module: string): number {
		let i = modules.get(module);
		if (i === undefined) {
			i = modules.size;
			modules.set(module, i);
		}
		return HUES[i % HUES.length];
	}

	/** key: a number that stands for the frame; soft: not the program's own */
	plain(key: number, name: string, module: string, soft: boolean): string {
		let c = this.cache.get(key);
		if (c !== undefined) return c;
		const h = hash(name), shade = h % 9, hue = this.hue(module) + ((h >>> 8) % 25) - 12;
		if (!name && !module) c = this.look.dark ? 'hsl(215 6% 30%)' : 'hsl(215 12% 87%)';
		else if (soft) c = this.look.dark ? `hsl(${this.hue(module)} 14% ${25 + shade}%)` : `hsl(${this.hue(module)} 26% ${82 + shade}%)`;
		else c = this.look.dark ? `hsl(${hue} 42% ${27 + shade * 1.6}%)` : `hsl(${hue} 70% ${70 + shade * 1.7}%)`;
		this.cache.set(key, c);
		return c;
	}

	/** change and all movement of a node, and the movement of everything */
	change(change: number, moved: number, whole: number): string {
		const grey = this.look.dark ? [62, 68, 76] : [221, 225, 230];
		if (!moved || !change) return `rgb(${grey.join()})`;
		const pure = Math.min(Math.abs(change) / moved, 1), large = whole ? Math.min(Math.abs(change) / whole, 1) : 0;
		const by = Math.sqrt(pure) * (0.38 + 0.62 * Math.pow(large, 0.3));
		const ends = this.look.dark
			? this.look.colorblind ? [[196, 104, 18], [36, 112, 190]] : [[184, 56, 52], [34, 124, 70]]
			: this.look.colorblind ? [[240, 142, 50], [92, 164, 230]] : [[238, 112, 102], [96, 186, 118]];
		const end = ends[change > 0 ? 0 : 1];
		return `rgb(${grey.map((g, k) => Math.round(g + (end[k] - g) * by)).join()})`;
	}
}
