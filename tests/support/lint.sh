#!/usr/bin/env bash
# What a compiler does not see, for the files that git knows below the current folder. Each finding is
# a line "file:line: what, and what would be right"; each check that found nothing says "ok NAME".
# Lengths are only reported. Run it as ./dev lint; lint.test.js plants one of each.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
node_bin=$here/../node_modules/.bin
status=0

# check NAME COMMAND...: what the command prints are findings.
check() {
	local name=$1 found
	shift
	found=$("$@" 2>&1)
	if [ -z "$found" ]; then
		echo "ok $name"
	else
		printf '%s\nnot ok %s\n' "$found" "$name"
		status=1
	fi
}

# tracked PATTERN...: the names of tracked files that are there, each with a NUL behind it.
tracked() { git ls-files -- "$@" | grep -vxFf <(git ls-files --deleted) | tr '\n' '\0'; }

format() {
	tracked '*.c' '*.h' | xargs -0 -r clang-format --dry-run 2>&1 |
		sed -nE 's/^([^: ]+):([0-9]+):.*\[-Wclang-format-violations\]$/\1 \2/p' | sort -u -k1,1 |
		while read -r file line; do
			echo "$file:$line: not laid out as .clang-format says; run ./dev format"
		done
}

# The code without comments, strings and characters, line by line, as "file:line:code"; of includes
# the name stays.
bare_code() {
	tracked '*.c' '*.h' '*.def' | xargs -0 -r awk '
		FNR == 1 { comment = 0 }
		{
			line = $0
			if (line !~ /^[ \t]*#[ \t]*include/ || comment) {
				gsub(/\\\\/, "", line)
				gsub(/\\"/, "", line)
				gsub(/\\\047/, "", line)
				gsub(/\047"\047/, "", line)
				if (!comment) gsub(/"[^"]*"/, "\"\"", line)
			}
			bare = ""
			while (line != "") {
				if (comment) {
					at = index(line, "*/")
					if (!at) break
					comment = 0
					line = substr(line, at + 2)
					gsub(/"[^"]*"/, "\"\"", line)
				} else {
					if (match(line, /\/[*\/]/) == 0) { bare = bare line; break }
					bare = bare substr(line, 1, RSTART - 1)
					if (substr(line, RSTART, 2) == "//") break
					comment = 1
					line = substr(line, RSTART + 2)
				}
			}
			if (bare ~ /[^ \t]/) print FILENAME ":" FNR ":" bare
		}'
}

# Which folders may include which: the arrows of docs/ARCHITECTURE.md.
includes() {
	awk -F: '
		BEGIN {
			may["core"] = "core"
			may["store"] = "core store"
			may["auth"] = "core store auth"
			may["signaling"] = "core store auth signaling"
			may["dataset"] = "core store auth dataset"
			may["client"] = "core client"
			may["service"] = "core store auth signaling dataset client service"
		}
		$3 ~ /^[ \t]*#[ \t]*include[ \t]*"/ {
			split($3, quoted, "\"")
			name = quoted[2]
			from = $1; sub(/\/.*/, "", from)
			to = name; sub(/\/.*/, "", to)
			if (!(from in may)) next
			if (name !~ /\// || name ~ /^\.\.?\//)
				print $1 ":" $2 ": include \"" name "\" names no folder; write it from the top, as in \"core/err.h\""
			else if (index(" " may[from] " ", " " to " ") == 0)
				print $1 ":" $2 ": includes \"" name "\", but " from "/ may only include " may[from] \
					"; move the shared part down, or hand the upper one a table"
		}' "$bare"
}

libwebsockets() {
	awk -F: '
		$3 ~ /^[ \t]*#[ \t]*include[ \t]*[<"]libwebsockets/ &&
		$1 !~ /^(service\/(listener|conn_ws|conn_http|conn_http_request)\.c|core\/worker\.c|tests\/.*)$/ {
			print $1 ":" $2 ": includes libwebsockets, which stays in service/listener.c, conn_ws.c," \
				" conn_http.c, conn_http_request.c and core/worker.c; go through their headers"
		}' "$bare"
}

banned() {
	awk '
		BEGIN {
			instead["strcpy"] = instead["strcat"] = "memcpy with a known size, or buf_add (core/buf.h)"
			instead["sprintf"] = instead["vsprintf"] = "snprintf, or buf_addf (core/buf.h)"
			instead["gets"] = "fgets, or read into a buf with a maximum"
			instead["atoi"] = instead["atol"] = "strtoll with its end and range checked"
			instead["strtok"] = "walk a struct str (core/str.h)"
			instead["alloca"] = "an array of fixed size, or malloc"
			instead["printf"] = "log_info (core/log.h); only the command line (service/cli*.c, config*.c) prints"
		}
		{
			match($0, /^[^:]*:[0-9]+:/)
			place = substr($0, 1, RLENGTH)
			rest = substr($0, RLENGTH + 1)
			while (match(rest, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
				name = substr(rest, RSTART, RLENGTH - 1)
				sub(/[ \t]+$/, "", name)
				member = substr(rest, RSTART - 1, 1) == "." || substr(rest, RSTART - 2, 2) == "->"
				rest = substr(rest, RSTART + RLENGTH)
				if (!(name in instead) || member) continue
				if (name == "printf" && place ~ /^(service\/(cli|config)[^\/]*\.c|tests\/.*):[0-9]+:$/) continue
				print place " " name " is banned; use " instead[name]
			}
		}' "$bare"
}

# A path that only one machine has.
paths() {
	tracked ':!*package-lock.json' |
		xargs -0 -r grep -nIoE '(^|[^A-Za-z0-9_.~%*)}-])/(home|root|work|Users|private|Volumes)/[A-Za-z0-9_.-]+' |
		sed -E 's|^([^:]+:[0-9]+):[^/]*(/.*)|\1: \2 is a path of one machine; make it relative to the tree, or an option|'
}

readmes() {
	local folder
	tracked '*/*' | tr '\0' '\n' | sed -nE 's|^([^./][^/]*)/.*|\1|p' | sort -u | grep -vxE 'cmake|docs' |
		while read -r folder; do
			git ls-files --error-unmatch "$folder/README.md" >/dev/null 2>&1 ||
				echo "$folder/README.md:1: is missing; write what lives there, which header to read first, who may call it"
		done
}

# The operator's page names every metric and every limit.
operations() {
	[ -f core/metrics.def ] && [ -f service/config_keys.def ] || return 0
	{
		grep -oE '"signalbox_[a-z_]+"' core/metrics.def
		sed -nE 's/^KEY[A-Z_]*\(limits, ([a-z_]+),.*/\1/p' service/config_keys.def
	} | tr -d '"' | while read -r name; do
		grep -qF "\`$name\`" docs/OPERATIONS.md ||
			echo "docs/OPERATIONS.md:1: does not name $name; say what it means for an operator"
	done
}

# Each test that the threat model names, as `FILE: NAME`, is there: NAME stands in tests/*/FILE.
threats() {
	[ -f docs/SECURITY.md ] || return 0
	grep -noE '`[0-9a-z_-]+: [^`]+`' docs/SECURITY.md | tr -d '`' |
		while IFS= read -r found; do
			local line=${found%%:*} rest=${found#*:} files
			files=$(git ls-files "tests/*/${rest%%: *}.test.js" "tests/*/${rest%%: *}.test.mjs" "tests/*/${rest%%: *}.c" \
				"tests/*/${rest%%: *}.test.py")
			[ -n "$files" ] && grep -qF -- "${rest#*: }" $files ||
				echo "docs/SECURITY.md:$line: there is no test \"${rest#*: }\" in tests/*/${rest%%: *}; name the one that shows it"
		done
}

# Migrations are numbered without holes, and each number is one file's.
migrations() {
	local expected=1 name number
	for name in $(git ls-files 'schema/sql/*.sql' | sed 's|.*/||' | sort); do
		number=$((10#${name%%_*}))
		[ "$number" = "$expected" ] ||
			echo "schema/sql/$name:1: should have the number $expected; a new one takes the next that is free"
		expected=$((number + 1))
	done
}

scripts() {
	tracked dev .ci/run '*.sh' '*/run' |
		xargs -0 -r awk 'FNR == 1 && /^#!.*[/ ](ba)?sh/ { print FILENAME }' |
		xargs -r -d '\n' shellcheck --severity=warning --format=gcc
}

types() {
	[ -f web/sdk/tsconfig.json ] || return 0
	"$node_bin/tsc" -p web/sdk --noEmit --pretty false | sed -E 's/^([^(]+)\(([0-9]+),[0-9]+\): /\1:\2: /'
}

lengths() {
	tracked '*.c' |
		xargs -0 -r ctags --languages=C --kinds-C=f -x --_xformat='%F %n %{end} %N' |
		awk '$3 - $2 >= 60 { print $1 ":" $2 ": warning: " $4 " has " $3 - $2 + 1 " lines; split it, or say why above it" }'
	tracked '*.c' '*.h' '*.js' '*.mjs' | xargs -0 -r wc -l |
		awk '$2 != "total" && $1 > 800 { print $2 ":1: warning: the file has " $1 " lines; split it" }'
}

tidy() {
	[ -f build/dev/compile_commands.json ] || { echo "dev:1: nothing to look at; run ./dev build dev first" && return; }
	tracked '*.c' ':!tests' | xargs -0 -r -n 1 -P 2 clang-tidy --quiet -p build/dev 2>/dev/null |
		grep -E '^[^ ].*(warning|error):' | sed "s|^$PWD/||" | sort -u
}

bare=$(mktemp) && trap 'rm -f "$bare"' EXIT
bare_code >"$bare"
check 'layout' format
check 'includes point down' includes
check 'libwebsockets in its files' libwebsockets
check 'no banned calls' banned
check 'no paths of one machine' paths
check 'a README.md in each folder' readmes
check 'operations are explained' operations
check 'threats have their tests' threats
check 'migrations in a row' migrations
check 'shell scripts' scripts
check 'types of the SDK' types
[ "${1-}" != --tidy ] || check 'clang-tidy' tidy
lengths
exit $status
