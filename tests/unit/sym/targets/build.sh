#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the programs the symbolizer is tested with: build.sh SRCDIR OUTDIR STAMP CC CXX CLANG RUSTC
# CLANG and RUSTC may be empty; their programs are then not built and not tested.
set -eu
src=$1 out=$2 stamp=$3 cc=$4 cxx=$5 clang=$6 rustc=$7
stamp=$(realpath "$stamp")
mkdir -p "$out"
cd "$out"

for dwarf in 4 5; do
	$cc -O2 -g -gdwarf-$dwarf -fPIE -pie -o inlined-gcc-$dwarf "$src/inlined.c"
	$cxx -O2 -g -gdwarf-$dwarf -o scopes-gcc-$dwarf "$src/scopes.cc"
	if [ -n "$clang" ]; then
		$clang -O2 -g -gdwarf-$dwarf -o inlined-clang-$dwarf "$src/inlined.c"
		$clang++ -O2 -g -gdwarf-$dwarf -o scopes-clang-$dwarf "$src/scopes.cc"
	fi
done
$cc -O2 -g -static -no-pie -o inlined-static "$src/inlined.c"
$cc -O2 -g -no-pie -o inlined-nopie "$src/inlined.c"
$cc -O2 -g -gz=zlib -o inlined-compressed "$src/inlined.c"
# Where binutils can do it: from 2.40 on.
objcopy --compress-debug-sections=zstd inlined-gcc-5 inlined-zstd 2>/dev/null || rm -f inlined-zstd
$cc -O2 -o inlined-plain "$src/inlined.c"
$cc -O2 -g -Wl,--build-id=none -o inlined-noid "$src/inlined.c"
$cc -O2 -g -DANOTHER=1 -Wl,--build-id=0xabcdef0123456789abcdef0123456789abcdef01 -o inlined-another "$src/inlined.c"
$cc -O2 -g -gsplit-dwarf -c -o inlined-split.o "$src/inlined.c"
$cc -o inlined-split inlined-split.o

# Stripped, with its debug file named by .gnu_debuglink; the test puts them where it wants.
objcopy --only-keep-debug inlined-gcc-5 inlined-stripped.debug
cp inlined-gcc-5 inlined-stripped
objcopy --strip-all --add-gnu-debuglink=inlined-stripped.debug inlined-stripped

# A supplementary file that exists nowhere.
printf 'common.debug\0ABCDEFGHIJKLMNOPQRST' >alt.tmp
objcopy --add-section=.gnu_debugaltlink=alt.tmp inlined-gcc-5 inlined-alt

# MiniDebugInfo: a symbol table in a section, packed with xz.
cp inlined-plain mini.tmp
objcopy --strip-debug --remove-section=.comment mini.tmp
rm -f mini.tmp.xz
xz mini.tmp
cp inlined-plain inlined-mini
objcopy --strip-all --add-section=.gnu_debugdata=mini.tmp.xz inlined-mini

if [ -n "$rustc" ]; then
	for mangling in legacy v0; do
		unstable=
		[ $mangling = legacy ] && unstable="-Z unstable-options"
		RUSTC_BOOTSTRAP=1 $rustc -g -O --edition 2021 --crate-type cdylib --crate-name scopes -C panic=abort \
			-C symbol-mangling-version=$mangling $unstable -o scopes-rust-$mangling.so "$src/scopes.rs"
	done
fi
touch "$stamp"
