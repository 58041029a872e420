# SPDX-License-Identifier: Apache-2.0
"""Sampled mode: for a program whose numbers are known, the estimates' 95 % intervals hold the truth
about as often as they say, per site and over all, and the estimates are not off in one direction."""
import math
import os

from harness import SOAK, case, check, check_between, check_equal, main

SEEDS = 1000 if SOAK else 40
PERIOD = 65536


EXACT = {'huge'}  # 600,000 bytes at this period: one block in 9,000 is missed
NUMBERS = [(value, unit) for value in ('allocated', 'in_use', 'freed') for unit in ('bytes', 'blocks')]


def truth_of(wanted, value, unit):
    allocated, freed = (wanted['alloc_bytes'], wanted['free_bytes']) if unit == 'bytes' else \
        (wanted['allocs'], wanted['frees'])
    return {'allocated': allocated, 'freed': freed, 'in_use': allocated - freed}[value]


@case
def intervals_cover_the_truth(w):
    held = {}  # (function, value, unit): whether the interval held the truth, run by run
    sums = {}
    spreads = {}  # standard errors as reported
    truth = None
    for seed in range(1, SEEDS + 1):
        run = w.preload('sample_sites', options='sample=%d,seed=%d' % (PERIOD, seed))
        check_equal(run.status, 0, 'status %s' % run.describe())
        truth = run.truth()['sites']
        path = w.ledger(run.pid)
        report = w.report(path)
        check(report.sampled and report.period == PERIOD, 'mode and period', report.sampled, report.period)
        for site, wanted in truth.items():
            found = list(report.chosen(site, 'heap'))
            check_equal(len(found), 1, 'sites of %s' % site)
            for value, unit in NUMBERS:
                numbers = found[0][value]
                low, high = (numbers.get('%s_%s' % (unit, end), numbers[unit]) for end in ('low', 'high'))
                key = (site, value, unit)
                held.setdefault(key, []).append(low <= truth_of(wanted, value, unit) <= high)
                sums.setdefault(key, []).append(numbers[unit])
                spreads.setdefault(key, []).append((high - low) / 2 / 1.96)
        os.unlink(path)
    shares = {key: sum(hits) / len(hits) for key, hits in held.items()}
    for key, share in sorted(shares.items()):
        print('# %-8s %-9s %-6s: %5.1f %% of %d' % (*key, 100 * share, SEEDS))
    total = [hit for hits in held.values() for hit in hits]
    # With n trials of probability 0.95, four standard deviations around it; the numbers of a site hang together.
    slack = 4 * math.sqrt(0.95 * 0.05 / (len(total) / len(NUMBERS)))
    check_between(sum(total) / len(total), 0.95 - slack - 0.005, 1.0, 'share of intervals that hold the truth')
    for key, found in sums.items():
        mean = sum(found) / len(found)
        spread = sum(spreads[key]) / len(spreads[key])
        wanted = truth_of(truth[key[0]], *key[1:])
        error = 5 * spread / math.sqrt(len(found)) + 1
        check_between(mean, wanted - error, wanted + error, 'mean estimate of %s, %s %s' % key)
        if SOAK:
            check_between(shares[key], 0.93, 1.0 if key[0] in EXACT else 0.97, 'coverage of %s, %s %s' % key)


@case
def large_blocks_are_never_missed(w):
    run = w.preload('sample_sites', options='sample=4096,seed=7')
    check_equal(run.status, 0, 'status %s' % run.describe())
    values = w.report(w.ledger(run.pid)).values('huge', 'heap')
    # 600,000 bytes at a period of 4,096: missed once in e^146.
    check_equal((values.allocs, values.frees, values.inuse), (40, 20, 20), 'blocks of 600,000 bytes')


@case
def the_same_seed_gives_the_same_answer(w):
    found = []
    for _ in range(2):
        run = w.preload('sample_sites', options='sample=%d,seed=12345' % PERIOD)
        check_equal(run.status, 0, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        found.append({site: report.values(site, 'heap').as_truth() for site in run.truth()['sites']})
    check_equal(found[0], found[1], 'two runs')


@case
def frees_are_matched(w):
    run = w.preload('threads_storm', '4', '20000', options='sample=%d,seed=3' % PERIOD)
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    wanted = run.truth()['sites']['storm_alloc']
    values = report.values('storm_alloc', 'heap')
    for name, truth in (('alloc_bytes', wanted['alloc_bytes']),
                        ('inuse_bytes', wanted['alloc_bytes'] - wanted['free_bytes'])):
        # Six standard errors of Poisson sampling: sqrt(bytes * (period + block)).
        error = 6 * math.sqrt(truth * (PERIOD + 2000))
        check_between(getattr(values, name), truth - error, truth + error, name)
    check_equal(report.losses.get('stale', 0), 0, 'records replaced')


main()
