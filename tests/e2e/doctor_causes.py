# SPDX-License-Identifier: Apache-2.0
"""Causes that need more than a malloc and a free; each named first, its bytes within 2 % of what the target knows."""
from doctor_look import Target, classes, doctor, near
from harness import Skip, case, check, check_equal, main


def first(d, cause, what):
    names = [v['cause'] for v in d['verdicts']]
    check(names and names[0] == cause, what, 'verdicts', names, 'wanted first', cause)
    v = d['verdicts'][0]
    check(v['evidence'] and v['remedies'] and v['title'], what, v)
    check_equal(sum(classes(d).values()), d['facts']['rss'], what + ': sum of the classes')
    check(classes(d)['unclassified'] <= d['facts']['rss'] * 0.01, what, 'not classified', classes(d)['unclassified'])
    return v


@case
def fastbins(w):
    t = Target(w, 'fastbins')
    if t.truth['cause'] != 'fastbins':
        raise Skip('this C library has no fastbins')
    d = doctor(w, t.truth['pid'])
    v = first(d, 'fastbins', 'fastbins')
    freed, rss = t.truth['classes']['cached'], d['facts']['rss']
    near(classes(d)['cached'], freed, rss, 'what was freed')
    near(v['bytes'], freed, rss, 'bytes of the verdict')
    near(d['facts']['fastbins'], freed, rss, 'what of it is in fastbins')
    # Seven of each of nine sizes are in the tcache.
    check_equal(d['facts']['tcache'], sum(7 * (32 + 16 * k) for k in range(9)), 'what of it is in the tcache')
    t.end(w)


@case
def huge_pages(w):
    t = Target(w, 'huge')
    if t.truth['cause'] != 'huge-pages':
        raise Skip('the kernel gave no huge pages: transparent_hugepage is "never", or memory is in pieces')
    for options in ((), ('--no-clone',)):
        d = doctor(w, t.truth['pid'], *options)
        table, rss = t.truth['classes']['anonymous'], d['facts']['rss']
        v = first(d, 'huge-pages', 'huge pages')
        near(classes(d)['anonymous'], table, rss, 'the table')
        # All but the page of each 2 MiB that has the byte.
        near(v['bytes'], table - table // (2 << 20) * 4096, rss, 'bytes of the verdict')
        check_equal(v['problem'], True, 'a problem')
    t.end(w)


if __name__ == '__main__':
    main()
