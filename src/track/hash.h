/* SPDX-License-Identifier: Apache-2.0 */
/* Mixing functions of the tracker's tables. */
#ifndef SEEP_TRACK_HASH_H
#define SEEP_TRACK_HASH_H

#include <stdint.h>

/* Finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static inline uint64_t hash_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t hash_two(uint64_t a, uint64_t b)
{
	return hash_mix(a * 0x9e3779b97f4a7c15ull ^
	                (b + 0x2545f4914f6cdd1dull) * 0xd6e8feb86659fd93ull);
}

#endif
