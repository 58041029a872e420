# SPDX-License-Identifier: Apache-2.0
"""embed.py OUT DEPFILE DIR [DIR...]: the files of the first DIR that has an index.html, gzip'd, as a C table."""
import gzip
import os
import sys

TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
         '.svg': 'image/svg+xml', '.png': 'image/png', '.ico': 'image/x-icon', '.json': 'application/json',
         '.wasm': 'application/wasm', '.woff2': 'font/woff2', '.txt': 'text/plain; charset=utf-8',
         '.webmanifest': 'application/manifest+json'}

target, depfile, *places = sys.argv[1:]
root = next(p for p in places if os.path.isfile(os.path.join(p, 'index.html')))
files = []
for folder, folders, names in os.walk(root):
    folders.sort()
    files += [os.path.join(folder, name) for name in sorted(names) if os.path.splitext(name)[1] in TYPES]

with open(target, 'w', encoding='ascii') as out:
    out.write('/* SPDX-License-Identifier: Apache-2.0 */\n#include "server/embed.h"\n')
    rows = []
    for i, name in enumerate(files):
        path = '/' + os.path.relpath(name, root).replace(os.sep, '/')
        with open(name, 'rb') as f:
            plain = f.read()
        # No time in the header: the same files make the same program.
        packed = gzip.compress(plain, 9, mtime=0)
        small = len(packed) < len(plain)
        data = packed if small else plain
        out.write('static const unsigned char file_%d[] = {\n' % i)
        for at in range(0, len(data), 24):
            out.write(','.join(map(str, data[at:at + 24])) + ',\n')
        out.write('0 };\n')
        rows.append('\t{ "%s", "%s", %s, %s, file_%d, %d },\n' % (
            path.replace('\\', '\\\\').replace('"', '\\"'), TYPES[os.path.splitext(name)[1]],
            '"gzip"' if small else 'NULL', 'true' if path.startswith('/assets/') else 'false', i, len(data)))
    out.write('const struct embedded embedded_files[] = {\n%s};\nconst size_t embedded_nfiles = %d;\n' % (
        ''.join(rows), len(rows)))
with open(depfile, 'w', encoding='utf-8') as out:
    out.write('%s: %s\n' % (target, ' '.join(name.replace(' ', '\\ ') for name in files)))
