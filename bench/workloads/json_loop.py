# SPDX-License-Identifier: Apache-2.0
"""json_loop.py [ROUNDS]: CPython encoding and decoding JSON; with PYTHONMALLOC=malloc every object is a malloc.

The pure-Python encoder and scanner are used beside the C ones, so that stacks are as deep and as varied
as an interpreter's are.  Twelve rounds are about five million allocations.
"""
import json
import json.decoder
import json.encoder
import json.scanner
import sys


def document(n):
    return [{'id': i, 'name': 'item %d' % i, 'tags': ['a%d' % (i % 7), 'b', str(i)],
             'nested': {'x': i * 1.5, 'y': [i, i + 1, None, True]}} for i in range(n)]


def pure_python_dumps(value):
    encode = json.encoder._make_iterencode(
        {}, json.encoder.JSONEncoder().default, json.encoder.py_encode_basestring_ascii, None, repr,
        ': ', ', ', False, False, False)
    return ''.join(encode(value, 0))


def pure_python_loads(text):
    decoder = json.decoder.JSONDecoder()
    decoder.parse_string = json.decoder.py_scanstring
    decoder.scan_once = json.scanner.py_make_scanner(decoder)
    return decoder.decode(text)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    data = document(1500)
    for _ in range(rounds):
        for _ in range(4):
            text = json.dumps(data)
            if json.loads(text) != data:
                sys.exit('a round trip through the C code changed the data')
        text = pure_python_dumps(data[:500])
        if pure_python_loads(text) != data[:500]:
            sys.exit('a round trip through the Python code changed the data')


main()
