# SPDX-License-Identifier: Apache-2.0
"""build_web.py SCRIPT SOURCE WORK STAMP DEPFILE must|may: the page, built by scripts/web in a copy of its sources, so that the tree stays clean.

Without node's packages (no network, and none installed before) it may fail: then the server gets the plain page."""
import os
import shutil
import subprocess
import sys

script, source, work, stamp, depfile, need = sys.argv[1:]
SKIP = {'node_modules', 'dist', '.vite'}

sources = [script]
for folder, folders, names in os.walk(source):
    folders[:] = sorted(f for f in folders if f not in SKIP)
    sources += [os.path.join(folder, name) for name in sorted(names)]

good = subprocess.run([sys.executable, script, work, 'build'], stdin=subprocess.DEVNULL).returncode == 0
if not good:
    shutil.rmtree(os.path.join(work, 'dist'), ignore_errors=True)
    if need == 'must':
        sys.exit('the web page could not be built')
    print('the web page could not be built; the server gets a plain one (-Dweb=disabled leaves it out)')
with open(stamp, 'w', encoding='ascii') as f:
    f.write('built\n' if good else 'plain\n')
with open(depfile, 'w', encoding='utf-8') as f:
    f.write('%s: %s\n' % (stamp, ' '.join(path.replace(' ', '\\ ') for path in sources)))
