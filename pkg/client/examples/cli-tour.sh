#!/bin/sh
# A tour of the command line. It needs a running server (`samsa dev`), takes its
# address from SAMSA_ADDRESS and the program from SAMSA (samsa in PATH), and leaves
# nothing behind.
set -eu

SAMSA=${SAMSA:-samsa}
bucket=tour-$$
work=$(mktemp -d)
trap '$SAMSA bucket delete "$bucket" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

say() { printf '\n# %s\n' "$*"; }
fail() { echo "cli-tour: $*" >&2; exit 1; }

say "A bucket that makes streams when something is appended to them"
$SAMSA bucket create "$bucket" --auto-create-on-append --retention 1d
$SAMSA bucket list --prefix tour-
$SAMSA bucket config "$bucket"

say "A stream, and a first record"
$SAMSA stream -b "$bucket" create greetings
echo "Hello, World!" | $SAMSA data -b "$bucket" -s greetings append --from-stdin
$SAMSA data -b "$bucket" -s greetings read

say "Headers, and JSON in and out"
$SAMSA data -b "$bucket" -s greetings append --body 'with a header' --header source=tour
$SAMSA data -b "$bucket" -s greetings read --tail-offset 1 |
	$SAMSA data -b "$bucket" -s copy append --from-stdin --format json
$SAMSA data -b "$bucket" -s copy read

say "A file goes in by lines and comes back identical"
i=0
while [ $i -lt 5000 ]; do
	echo "line $i of a file"
	i=$((i + 1))
done >"$work/in"
$SAMSA data -b "$bucket" -s file append --from-stdin <"$work/in"
$SAMSA data -b "$bucket" -s file read --format text >"$work/out"
cmp "$work/in" "$work/out" || fail "the file came back different"

say "A subscriber sees what is appended after it"
$SAMSA data -b "$bucket" -s file subscribe --format text --start-seq-num 5000 --limit 1 >"$work/live" &
subscriber=$!
echo "breaking news" | $SAMSA data -b "$bucket" -s file append --from-stdin
wait $subscriber
[ "$(cat "$work/live")" = "breaking news" ] || fail "the subscriber saw something else"

say "Part of a stream"
$SAMSA data -b "$bucket" -s file read --format text --start-seq-num 10 --limit 3
$SAMSA data -b "$bucket" -s file read --format text | head -n 2

say "Only the owner of a fenced stream can append"
$SAMSA data -b "$bucket" -s greetings fence owner-1
$SAMSA data -b "$bucket" -s greetings append --body mine --fencing-token owner-1
if $SAMSA data -b "$bucket" -s greetings append --body theirs --fencing-token owner-0; then
	fail "a stale fencing token was accepted"
fi

say "Trimming, and the tail"
$SAMSA data -b "$bucket" -s file trim 5000
$SAMSA data -b "$bucket" -s file read --format text --limit 1
$SAMSA stream -b "$bucket" tail file --format json

say "Settings"
$SAMSA stream -b "$bucket" reconfigure greetings --retention 30d --storage-class express

say "The end of the tour"
