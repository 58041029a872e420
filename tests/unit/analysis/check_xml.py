#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""JUnit files are well-formed XML, and their counts are those of their test cases."""
import sys
import xml.etree.ElementTree as ET

for path in sys.argv[1:]:
    root = ET.parse(path).getroot()
    assert root.tag == 'testsuites', root.tag
    suites = root.findall('testsuite')
    cases = [c for s in suites for c in s.findall('testcase')]
    failures = [c for c in cases if c.find('failure') is not None]
    assert suites and len(cases) == int(root.get('tests')), (len(cases), root.get('tests'))
    assert len(failures) == int(root.get('failures')), (len(failures), root.get('failures'))
    for s in suites:
        assert len(s.findall('testcase')) == int(s.get('tests')) > 0
        assert len(s.findall('testcase/failure')) == int(s.get('failures'))
    for c in cases:
        assert c.get('name') and c.get('classname')
print('ok', len(sys.argv) - 1, 'files')
