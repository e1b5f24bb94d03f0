# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the help of a Makefile from its comments: "##@ group", "target: … ## description", and
# "NAME ?= default## description".

BEGIN {
	terminal = system("test -t 1") == 0 && ENVIRON["NO_COLOR"] == ""
	bold = terminal ? "\033[1m" : ""
	colour = terminal ? "\033[36m" : ""
	faint = terminal ? "\033[2m" : ""
	reset = terminal ? "\033[0m" : ""
	printf "%sUsage:%s make %s<target>%s [NAME=value]\n", bold, reset, colour, reset
}

/^##@ / { group = substr($0, 5); next }

/^[a-z][a-z0-9-]*:.*## / {
	split($0, parts, "## ")
	sub(/:.*/, "", parts[1])
	announce()
	printf "  %s%-18s%s %s\n", colour, parts[1], reset, parts[2]
}

/^[A-Z0-9_]+ +\?=.*##/ {
	split($0, parts, "##")
	sub(/^ +/, "", parts[2])
	settings[++count] = sprintf("  %s%-18s%s %s", colour, $1, reset, parts[2])
}

END {
	printf "\n%sSettings%s\n", bold, reset
	for (i = 1; i <= count; i++) print settings[i]
}

function announce() {
	if (group != shown) printf "\n%s%s%s\n", bold, group, reset
	shown = group
}
