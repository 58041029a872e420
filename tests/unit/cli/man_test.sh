#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# man_test.sh SEEP MAN-DIRECTORY: every command has a manual page, groff has nothing to say about it, and
# every option that -h lists is explained in it (a flag that is on by default also by its --no- form).
seep=$1 dir=$2 bad=0

complain() { echo "$*" >&2; bad=1; }

for page in "$dir"/*.1; do
	if command -v groff >/dev/null; then
		said=$(groff -ww -man -Tutf8 "$page" 2>&1 >/dev/null)
		[ -z "$said" ] || complain "$page: $said"
	fi
done
commands=$("$seep" help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')
[ -n "$commands" ] || complain "seep help lists no commands"
for command in $commands; do
	page=$dir/seep-$command.1
	[ "$command" = help ] && page=$dir/seep.1
	[ -f "$page" ] || { complain "no $page"; continue; }
	for option in $("$seep" "$command" -h | sed -n 's/^  .\{4\}--\([a-z][a-z-]*\).*/\1/p'); do
		[ "$command" = help ] && continue
		sed 's/\\-/-/g' "$page" | grep -qE -- "--(no-)?$option([^a-z-]|\$)" || complain "$page: nothing about --$option"
	done
done
exit $bad
