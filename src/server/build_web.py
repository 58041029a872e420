# SPDX-License-Identifier: Apache-2.0
"""build_web.py NPM SOURCE WORK STAMP DEPFILE must|may: the page, built in a copy of its sources so that the tree stays clean.

Without node's packages (no network, and none installed before) it may fail: then the server gets the plain page."""
import os
import shutil
import subprocess
import sys

npm, source, work, stamp, depfile, need = sys.argv[1:]
SKIP = {'node_modules', 'dist', '.vite', 'test-results', 'playwright-report'}

sources = []
for folder, folders, names in os.walk(source):
    folders[:] = sorted(f for f in folders if f not in SKIP)
    sources += [os.path.join(folder, name) for name in sorted(names)]

os.makedirs(work, exist_ok=True)
wanted = set()
for path in sources:
    name = os.path.relpath(path, source)
    wanted.add(name)
    target = os.path.join(work, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy2(path, target)
for folder, folders, names in os.walk(work):
    folders[:] = [f for f in folders if f not in SKIP]
    for name in names:
        path = os.path.join(folder, name)
        if os.path.relpath(path, work) not in wanted:
            os.unlink(path)


def run(*command):
    done = subprocess.run([npm, *command], cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.stdout.write(done.stdout)
    return done.returncode == 0


def same_lock():
    """npm ci was done for exactly these packages."""
    try:
        with open(os.path.join(work, 'package-lock.json'), 'rb') as a, open(os.path.join(work, '.installed'), 'rb') as b:
            return a.read() == b.read()
    except OSError:
        return False


installed = same_lock()
if not installed and run('ci', '--no-audit', '--no-fund', '--ignore-scripts'):
    shutil.copy(os.path.join(work, 'package-lock.json'), os.path.join(work, '.installed'))
    installed = True
good = installed and run('run', 'build')
if not good:
    shutil.rmtree(os.path.join(work, 'dist'), ignore_errors=True)
    if need == 'must':
        sys.exit('the web page could not be built')
    print('the web page could not be built; the server gets a plain one (-Dweb=disabled leaves it out)')
with open(stamp, 'w', encoding='ascii') as f:
    f.write('built\n' if good else 'plain\n')
with open(depfile, 'w', encoding='utf-8') as f:
    f.write('%s: %s\n' % (stamp, ' '.join(path.replace(' ', '\\ ') for path in sources)))
