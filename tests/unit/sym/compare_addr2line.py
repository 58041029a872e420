#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Compares the symbolizer with addr2line -afiC over many addresses of real files.

    compare_addr2line.py SYM_LOOKUP COUNT FILE...

Every address must give the same functions, files and lines. Differences of a known kind are
counted and shown:

  symbol table alias  no DWARF there; of several symbols around one address each tool takes one
  assembler name      C functions whose DWARF gives an assembler name (__GI___libc_malloc):
                      addr2line shows that, seep the name in the source
  no symbol covers it addr2line takes the nearest symbol before, however far; seep says unknown
  file symbol         no DWARF there; addr2line prints the nearest STT_FILE symbol
  fuller name         C++ without a linkage name in DWARF: seep takes the
                      symbol table's name, or puts the scopes of the declaration in front
  clone mark          foo.constprop.0 in addr2line, foo in seep
  as llvm-symbolizer  a third reader agrees with seep: addr2line names files of DWARF 5 line
                      tables wrongly and knows no inlined function in some of clang's units

Exit status 77 (skipped) when addr2line or llvm-symbolizer is missing.
"""
import collections
import random
import re
import shutil
import subprocess
import sys


def text_range(path):
    out = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    m = re.search(r"\]\s+\.text\s+PROGBITS\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)", out)
    return int(m[1], 16), int(m[2], 16)


def clean(path):
    path = re.sub(r" \(discriminator \d+\)$", "", path)
    while "/./" in path or "//" in path:
        path = path.replace("/./", "/").replace("//", "/")
    return path


def parse(text, separate):
    """address -> [(function, file:line)]"""
    found, frames = {}, None
    lines = iter(text.splitlines())
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            frames = found.setdefault(int(line, 16), [])
            continue
        if separate:
            function, place = line.rsplit("\t", 1)
        else:
            function, place = line, next(lines)
        place = clean(place)
        place = re.sub(r":\?$", ":0", place)
        frames.append((function, place))
    return found


def llvm(path, addresses):
    tool = shutil.which("llvm-symbolizer") or shutil.which("llvm-symbolizer-14")
    if not tool or not addresses:
        return {}
    out = subprocess.run([tool, "-a", "--inlines", "--output-style=GNU", "-C", "-e", path],
                         input="".join(f"0x{a:x}\n" for a in addresses), capture_output=True, text=True).stdout
    return parse(out, False)


def same_place(ours, theirs):
    """Equal, or ours is relative because the file has only a relative build directory."""
    if ours == theirs:
        return True
    return ours[0] != "/" and theirs.endswith("/" + re.sub(r"^(\./)+", "", ours))


def same_places(ours, theirs):
    return len(ours) == len(theirs) and all(same_place(a[1], b[1]) for a, b in zip(ours, theirs))


def line_of(place):
    return place.rsplit(":", 1)[1]


def bare(function):
    """A name without parameters, template arguments and the marks of clones."""
    function = function.replace("(anonymous namespace)", "anonymous")
    function = re.sub(r"(\.(constprop|isra|part|cold|lto_priv)(\.\d+)*)+$", "", function)
    function = re.sub(r"[(<].*", "", re.sub(r" \[clone.*", "", function))
    return function.rsplit(" ", 1)[-1]  # without a return type


def c_alias(ours, theirs):
    return re.sub(r"^_*(GI_+|libc_|IO_|new_)*", "", ours) == re.sub(r"^_*(GI_+|libc_|IO_|new_)*", "", theirs)


def last(function):
    """The function's own name: no scopes, template arguments, parameters, return type."""
    function = re.sub(r" \[clone.*| \(\.(constprop|isra|part|cold).*", "", function)
    function = function.replace("(anonymous namespace)", "anonymous")
    operator = re.search(r"(^|[: ])operator\W", function)
    if operator:
        return "operator"
    before = None
    while before != function:  # innermost brackets first
        before = function
        function = re.sub(r"<[^<>()]*>|\([^<>()]*\)|\{[^<>(){}]*\}|'[^<>()']*'", "", function)
    function = re.sub(r"( const)?( \[clone.*)?$", "", function)
    return bare(function).rsplit("::", 1)[-1]


def same_name(a, b):
    """The same function, one of them perhaps without its scopes."""
    return last(a) == last(b) or c_alias(last(a), last(b))


def same_names(ours, theirs):
    return len(ours) == len(theirs) and all(same_name(a[0], b[0]) for a, b in zip(ours, theirs))


def explain(ours, theirs, third):
    if same_places(ours, theirs):
        if [f[0] for f in ours] == [f[0] for f in theirs]:
            return "same"
        if [bare(f[0]) for f in ours] == [bare(f[0]) for f in theirs]:
            return "clone mark"
        if all(c_alias(bare(a[0]), bare(b[0])) for a, b in zip(ours, theirs)):
            return "assembler name"
        if len(ours) == 1 and ours[0][0] == "??":
            return "no symbol covers it"
        if all(same_name(a[0], b[0]) or last(b[0]) in a[0] for a, b in zip(ours, theirs)):
            return "fuller name"
        if len(ours) == 1 and (ours[0][1].startswith("??") or ".S:" in ours[0][1]):
            return "symbol table alias"
    if ours[0][1] == "??:0" and len(theirs) == 1 and theirs[0][1].endswith(":0"):
        return "file symbol"
    if third and same_places(ours, third):
        if same_names(ours, third):
            return "as llvm-symbolizer"
        if len(theirs) == len(ours) and all(
                same_name(a[0], b[0]) or same_name(a[0], c[0]) or last(b[0]) in a[0]
                for a, b, c in zip(ours, theirs, third)):
            return "place as llvm-symbolizer, name as either"
    return None


def main():
    lookup, count, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    third_reader = shutil.which("llvm-symbolizer") or shutil.which("llvm-symbolizer-14")
    if not shutil.which("addr2line") or not shutil.which("readelf") or not third_reader:
        sys.exit(77)
    bad = compared = 0
    for path in files:
        lo, size = text_range(path)
        random.seed(path.rsplit("/", 1)[-1])
        addresses = sorted(random.sample(range(lo, lo + size), min(count, size)))
        text = "".join(f"0x{a:x}\n" for a in addresses)
        ours = parse(subprocess.run([lookup, path], input=text, capture_output=True, text=True, check=True).stdout,
                     True)
        theirs = parse(subprocess.run(["addr2line", "-afiC", "-e", path], input=text, capture_output=True,
                                      text=True, check=True).stdout, False)
        differ = [a for a in addresses if explain(ours[a], theirs[a], None) != "same"]
        third = llvm(path, differ)
        classes = collections.Counter(same=len(addresses) - len(differ))
        for a in differ:
            why = explain(ours[a], theirs[a], third.get(a))
            classes[why or "UNEXPLAINED"] += 1
            if not why:
                bad += 1
                if bad <= 20:
                    print(f"{path} 0x{a:x}\n  seep      {ours[a]}\n  addr2line {theirs[a]}\n  llvm      {third.get(a)}")
        compared += len(addresses)
        print(path, dict(classes))
    print(f"{compared} addresses compared, {bad} differences unexplained")
    sys.exit(1 if bad else 0)


main()
