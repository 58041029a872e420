# SPDX-License-Identifier: Apache-2.0
"""Viewers that are web pages, in a real browser: DHAT's, which valgrind brings, and speedscope's, from its npm package.
Each is given a file of seep's the way a person gives it one, and asked what it shows.

The package is installed by npm into the build directory, at the version and with the content that tests/npm's lock file
names; without npm, or where it cannot download, the cases are skipped.
"""
import base64
import glob
import json
import os
import re
import shutil
import subprocess

from browser import Browser
from harness import Skip, case, check, check_between, check_equal, main, need_program

SITES = ('tiny', 'small', 'medium', 'large', 'huge')
SAMPLE = 'sample_sites'
UNITS = {'B': 1, 'KB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30}


def exported(w, name):
    """A file of what the target allocated, and what it said of itself."""
    run = w.preload(SAMPLE)
    check_equal(run.status, 0, 'status of the target %s' % run.describe())
    path = w.file(name)
    written = w.seep('export', w.ledger(run.pid), '-o', path)
    check_equal(written.status, 0, 'status of seep export %s' % written.describe())
    return path, run.truth()['sites']


# ---- DHAT --------------------------------------------------------------------------------------------


@case
def the_dhat_viewer_shows_it(w):
    pages = glob.glob('/usr/lib*/valgrind/dh_view.html') + glob.glob('/usr/libexec/valgrind/dh_view.html')
    if not pages:
        raise Skip('there is no dh_view.html')
    path, sites = exported(w, 'out.dhat')
    with Browser(w) as browser:
        browser.open(pages[0])
        browser.wait("!!document.querySelector('input[type=file]')")
        browser.choose('input[type=file]', path)
        browser.wait("document.body.innerText.includes('Total:')")
        # by bytes, not as it comes up, small parts fold away
        browser.run("gSelect.selectedIndex = gSelectData.findIndex(d => d.label() === 'Total (bytes)'); gSelect.onchange()")
        text = browser.run('document.body.innerText')
        roots = browser.run('[gRoot._totalBytes, gRoot._totalBlocks, gRoot._atTEndBytes, gRoot._atTEndBlocks]')
        check_equal(browser.errors, [], 'exceptions of the page')
    wanted = [sum(s['alloc_bytes'] for s in sites.values()), sum(s['allocs'] for s in sites.values()),
              sum(s['alloc_bytes'] - s['free_bytes'] for s in sites.values()),
              sum(s['allocs'] - s['frees'] for s in sites.values())]
    for found, truth, what in zip(roots, wanted, ('bytes', 'blocks', 'bytes at the end', 'blocks at the end')):
        check_between(found - truth, 0, 20000, what + ' beyond what the target counted')
    # and that is what a person sees
    shown = re.search(r'Total:\s+([\d,]+) bytes .* in ([\d,]+) blocks', text)
    check(shown, 'no totals in', text[:2000])
    check_equal([int(n.replace(',', '')) for n in shown.groups()], roots[:2], 'the totals shown')
    for name in ('small', 'medium', 'large', 'huge'):
        check(re.search(r'\b%s \(' % name, text), 'no', name, 'in', text[:4000])


# ---- speedscope --------------------------------------------------------------------------------------


def npm_package(name):
    """The folder of an installed package."""
    build = os.environ.get('SEEP_NPM')
    if not build:
        raise Skip('SEEP_NPM, the folder to install npm packages in, is not set')
    npm = need_program('npm')
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'npm')
    folder, stamp = os.path.join(build, 'node_modules', name), os.path.join(build, 'installed-lock.json')
    with open(os.path.join(source, 'package-lock.json')) as f:
        lock = f.read()
    try:
        with open(stamp) as f:
            if f.read() == lock and os.path.isdir(folder):
                return folder
    except FileNotFoundError:
        pass
    os.makedirs(build, exist_ok=True)
    for file in ('package.json', 'package-lock.json'):
        shutil.copy(os.path.join(source, file), build)
    try:
        made = subprocess.run([npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'], cwd=build,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Skip('npm could not install %s within two minutes' % name) from None
    if made.returncode:
        raise Skip('npm cannot install %s here: %s' % (name, made.stderr.strip().splitlines()[-1:]))
    with open(stamp, 'w') as f:
        f.write(lock)
    return folder


def size_of(text):
    """The bytes of "11.44 MB (28%)", and how far off the rounding may be."""
    number, unit = re.match(r'([\d.]+) (\w+)', text).groups()
    return float(number) * UNITS[unit], UNITS[unit] * 0.006 if unit != 'B' else 0.5


def conform(schema, value, root, where='file'):
    """The part of JSON Schema that speedscope's schema uses."""
    if '$ref' in schema:
        return conform(root['definitions'][schema['$ref'].rsplit('/', 1)[1]], value, root, where)
    if 'anyOf' in schema:
        errors = [conform(s, value, root, where) for s in schema['anyOf']]
        return None if None in errors else ' or '.join(errors)
    types = {'object': dict, 'array': list, 'string': str, 'number': (int, float)}
    if 'type' in schema and not isinstance(value, types[schema['type']]):
        return '%s is no %s' % (where, schema['type'])
    if value not in schema.get('enum', [value]) or value != schema.get('const', value):
        return '%s cannot be %r' % (where, value)
    for name in schema.get('required', []):
        if name not in value:
            return '%s has no %s' % (where, name)
    parts = [(schema['properties'][k], v, k) for k, v in value.items() if k in schema.get('properties', {})] \
        if isinstance(value, dict) else []
    parts += [(schema['items'], v, i) for i, v in enumerate(value)] if isinstance(value, list) else []
    for part, v, name in parts:
        error = conform(part, v, root, '%s.%s' % (where, name))
        if error:
            return error
    return None


@case
def speedscope_imports_it(w):
    release = os.path.join(npm_package('speedscope'), 'dist', 'release')
    page = glob.glob(os.path.join(release, 'index.html'))
    check_equal(len(page), 1, "the package's page")
    path, sites = exported(w, 'out.speedscope.json')
    with open(path) as f, open(os.path.join(release, 'file-format-schema.json')) as g:
        data, schema = json.load(f), json.load(g)
    schema = dict(schema, **schema['definitions']['FileFormat.File'])
    check_equal(conform(schema, data, schema), None, 'its schema')
    with open(path, 'rb') as f:
        content = base64.b64encode(f.read()).decode()
    # how its own command line hands a file to the page
    script = w.file('profile.js')
    with open(script, 'w') as f:
        f.write('speedscope.loadFileFromBase64(%s, %s)' % (json.dumps('out.speedscope.json'), json.dumps(content)))
    with Browser(w) as browser:
        browser.open(page[0], '#view=sandwich&localProfilePath=' + script.lstrip('/'))
        browser.wait("document.querySelectorAll('table tr').length > %d" % len(SITES))
        title = browser.run('document.title')
        rows = browser.run("[...document.querySelectorAll('table tr')].map(r => [...r.cells].map(c => c.innerText.trim()))")
        check_equal(browser.errors, [], 'exceptions of the page')
    check(SAMPLE in title, 'its title', title)
    found = {}
    for row in rows:
        total, own, name = [cell for cell in row if cell][:3]
        found.setdefault(name, []).append((total, own))
    for name in SITES:
        check(name in found, name, 'is not in the table', sorted(found))
        own, rounding = size_of(found[name][0][1])
        truth = sites[name]['alloc_bytes'] - sites[name]['free_bytes']
        check_between(own, truth - rounding, truth + rounding, name + ' itself')
    everything = sum(s['alloc_bytes'] - s['free_bytes'] for s in sites.values())
    total, rounding = size_of(found['_start'][0][0])
    check_between(total, everything - rounding, everything + 20000 + rounding, 'all of it')


if __name__ == '__main__':
    main()
