# SPDX-License-Identifier: Apache-2.0
"""A million blocks live over 50,000 sites: the ledger holds them all, and the report is quick."""
import os
import time

from harness import SOAK, case, check, check_equal, main


@case
def a_million_blocks(w):
    sites, blocks = (50000, 1000000) if SOAK else (10000, 200000)
    run = w.preload('million_sites', str(sites), str(blocks))
    check_equal(run.status, 0, 'status %s' % run.describe())
    path = w.ledger(run.pid)
    wanted_bytes = sum(16 + i % 48 for i in range(blocks))
    start = time.monotonic()
    report = w.report(path)
    seconds = time.monotonic() - start
    values = report.values('hop_0', 'heap')
    check_equal((values.inuse, values.inuse_bytes), (blocks, wanted_bytes), 'in use')
    check_equal(report.count_sites('hop_0'), sites, 'sites')
    # Sixteen bytes for each block are the record; the table must not be emptier than half full.
    print('# report: %.2f s; ledger: %.1f bytes for each block' % (
        seconds, os.stat(path).st_blocks * 512 / blocks))
    if SOAK:
        start = time.monotonic()
        text = w.seep('report', path)
        seconds = time.monotonic() - start
        check_equal(text.status, 0, 'text report')
        check(seconds <= 2.0, 'seep report took %.2f s' % seconds)


main()
