# SPDX-License-Identifier: Apache-2.0
"""embed.py NAME IN OUT: a file as a C array, for what a program carries with it."""
import sys

name, source, target = sys.argv[1:]
with open(source, 'rb') as f:
    data = f.read()
rows = [','.join(str(byte) if byte < 128 else str(byte - 256) for byte in data[i:i + 24])
        for i in range(0, len(data), 24)]
with open(target, 'w', encoding='ascii') as f:
    f.write('/* SPDX-License-Identifier: Apache-2.0 */\n#include <stddef.h>\n'
            'extern const char %s[];\nextern const size_t %s_len;\n'
            'const char %s[] = {\n%s, 0\n};\nconst size_t %s_len = sizeof(%s) - 1;\n' % (
                name, name, name, ',\n'.join(rows), name, name))
