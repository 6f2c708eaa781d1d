#!/usr/bin/env bash
# The pages that are written by the tool are what it writes today, and nothing is missing in them: every rule has a case that
# breaks it and a near miss. That the cases do what they expect is shown by replaying them.
#
#   pages_test.sh DMAUDIT SOURCE_DIR
set -u
(($# == 2)) && [[ -x $1 ]] || { echo "usage: pages_test.sh DMAUDIT SOURCE_DIR" >&2; exit 2; }
dmaudit=$(realpath "$1")
cd "$2" || exit 2
new=$(mktemp -d) || exit 2
trap 'rm -rf "$new"' EXIT
bad=0
"$dmaudit" explain --markdown rules --cases corpus/regressions >"$new/rules.md" || bad=1
"$dmaudit" explain --markdown classes >"$new/classes.md" || bad=1
for page in rules classes; do
    diff -u "docs/$page.md" "$new/$page.md" || {
        echo "docs/$page.md is not what the tool writes: see the command at its head" >&2
        bad=1
    }
done
# What is named, by name: the page links to files that are there.
while read -r link; do
    [[ -f docs/$link ]] || { echo "docs/rules.md links to $link, which is not there" >&2; bad=1; }
done < <(grep -o '(\.\./corpus/[^)]*)' docs/rules.md | tr -d '()')
exit $bad
