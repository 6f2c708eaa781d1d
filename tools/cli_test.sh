#!/usr/bin/env bash
# The dmaudit command from outside: every verb, its exit codes (0 as expected, 1 a violation or another result, 2 unusable
# input), its messages, and that it never leaves half a file.
#
#   cli_test.sh DMAUDIT
set -u
(($# == 1)) && [[ -x $1 ]] || { echo "usage: cli_test.sh DMAUDIT" >&2; exit 2; }
dmaudit=$(realpath "$1")
dir=$(mktemp -d) || exit 2
chmod 755 "$dir"
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir" || exit 2
checks=0 failures=0

failed() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$1"
    sed 's/^/    /' out err | head -n 30
}
# gives CODE ARGUMENTS: runs the command; its output is in `out` and `err`.
gives() {
    local want=$1 code
    shift
    "$dmaudit" "$@" >out 2>err
    code=$?
    checks=$((checks + 1))
    ((code == want)) || failed "dmaudit $*: exit code $code, expected $want"
}
# Root may read and write everything: what is about permissions is then tried as nobody.
unprivileged=()
if [[ $(id -u) == 0 ]]; then
    unprivileged=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    "${unprivileged[@]}" test -x "$dmaudit" 2>/dev/null || unprivileged=(skip)
fi
gives_unprivileged() {
    local want=$1 code
    shift
    "${unprivileged[@]}" "$dmaudit" "$@" >out 2>err
    code=$?
    checks=$((checks + 1))
    ((code == want)) || failed "dmaudit $* (without privileges): exit code $code, expected $want"
}
# says out|err TEXT: the last output holds this text.
says() {
    checks=$((checks + 1))
    grep -qF -- "$2" "$1" || failed "not in $1: $2"
}
matches() {
    checks=$((checks + 1))
    grep -qE -- "$2" "$1" || failed "$1 does not match: $2"
}
silent() {
    checks=$((checks + 1))
    [[ ! -s $1 ]] || failed "$1 is not empty"
}
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" || failed "$what"
}

cat >clean.dma <<'END'
# dmaudit case 1
world banks=64K@0x80000000
b0 = buffer size=64
cpu_write b0 len=64
m0 = map_single b0 len=64 dir=to_device
device_read m0 len=64
expect clean
END
cat >broken.dma <<'END'
# dmaudit case 1
world banks=64K@0x80000000
k0 = alloc_coherent size=100
b0 = buffer size=300 at=16
b1 = buffer size=10 at=1K
cpu_write b1 len=10
m0 = map_single b0 len=300 dir=from_device
device_write m0 len=300 seed=7
free_coherent k0
cpu_read b0 len=8
cpu_read b1 len=10
END
grep -v '^expect' broken.dma >expected.dma && echo 'expect cpu-read-of-device-bytes' >>expected.dma

# ---- run ----
gives 0 run clean.dma
says out 'clean.dma: clean, as expected (4 of 4 steps executed)'
silent err
gives 1 run broken.dma
says out 'broken.dma: expected clean, found cpu-read-of-device-bytes'
matches out '^dmaudit.cc:1: ASSERTION FAILED: dmaudit cpu-read-of-device-bytes '
matches out '^DEDUP_TOKEN: cpu-read-of-device-bytes--D.from.s--cpu_read$'
says out 'replay: dmaudit run --provider builtin broken.dma'
cp out first
gives 1 run broken.dma
check 'a report is the same twice, byte for byte' cmp -s first out
gives 1 run -q broken.dma
check 'quiet: one line' [ "$(wc -l <out)" = 1 ]
gives 0 run expected.dma
says out 'as expected'
sed 's/^expect .*/expect overlap/' expected.dma >other.dma
gives 1 run other.dma
says out 'expected overlap, found cpu-read-of-device-bytes'
mkdir -p cases/below
cp clean.dma cases/a.dma
cp expected.dma cases/below/b.dma
echo 'not a case' >cases/README.md
gives 0 run cases
says out '2 cases: 2 as expected, 0 otherwise, 0 unusable'
gives 0 run -q cases
silent out
gives 0 run -v cases
says out 'cases/below/b.dma: cpu-read-of-device-bytes, as expected'
gives 1 run cases broken.dma
says out '3 cases: 2 as expected, 1 otherwise, 0 unusable'
: >empty.dma
gives 0 run empty.dma

# ---- what cannot be used: exit code 2, and a message that names it ----
gives 2 run nowhere.dma
says err 'nowhere.dma: no such file or folder'
mkdir no-cases
gives 2 run no-cases
says err 'no-cases: no case files there'
gives 2 run
gives 2
gives 2 frobnicate
gives 2 run --frobnicate clean.dma
bad() { # TEXT LINE EXPECTATION
    printf '%s\n' "$1" >bad.dma
    gives 2 run bad.dma
    says err "bad.dma:$2: $3"
    silent out
}
bad 'hello world' 1 "unknown op 'hello'"
bad $'b0 = buffer size=64\n\nb1 = bufer size=1' 3 "unknown op 'bufer' (did you mean 'buffer'?)"
bad $'b0 = buffer size=64\nexpect nonsense' 2 "expected 'clean' or the name of a rule, found 'nonsense'"
bad 'b0 = buffer size=12x' 1 "expected a number"
bad 'b0 = buffer' 1 "'buffer' needs 'size='"
bad 'cpu_read b7 len=1' 1 "the name 'b7' is not defined"
bad 'world pages=3' 1 "'world' has no key 'pages'"
bad 'world banks=1@0x80000000' 1 ''
bad '# dmaudit case 9' 1 'this is version 1 of the case format'
bad "$(printf 'b0 = buffer size=64%05000d' 0)" 1 ''
printf 'b0 = buffer size=64\nb0\0b1' >bad.dma
gives 2 run bad.dma
says err 'bad.dma:2: '
gives 2 run bad.dma clean.dma broken.dma
says out '3 cases: 1 as expected, 1 otherwise, 1 unusable'
head -c 1100000 /dev/zero | tr '\0' '\n' >long.dma
gives 2 run long.dma
says err 'long.dma: a case file has at most'
if [[ ${unprivileged[*]} != skip ]]; then
    cp clean.dma locked.dma
    chmod 0 locked.dma
    for verb in run show min; do
        gives_unprivileged 2 $verb locked.dma
        says err 'locked.dma: cannot be read: '
    done
fi
gives 2 show nothing
says err 'nothing: cannot be read: '
gives 2 show nowhere.dma
says err 'nowhere.dma: cannot be read: '
gives 2 run --provider nobody clean.dma
says err '--provider nobody: no such provider'
gives 2 run --provider ./clean.dma clean.dma
says err './clean.dma: expected a shared object'
gives 2 run --provider ./nowhere.so clean.dma
says err './nowhere.so'
gives 2 fuzz --provider nobody --runs 1
gives 2 min --provider nobody broken.dma
gives 2 fuzz --profile nobody --runs 1
says err 'expected one of all streaming coherent pool scatter managed dma_buf opaque noncoherent hostile'
gives 2 fuzz
says err 'give --seconds, --runs or --ops'
gives 2 fuzz --runs 1 --seed x
gives 2 explain nothing
says err 'nothing: no such rule'
gives 2 show bad.dma
says err 'bad.dma:2: '
gives 2 pack bad.dma -o x.bin
check 'nothing is written for an unusable case' [ ! -e x.bin ]
gives 2 pack clean.dma

# ---- binary cases: every byte string is a case ----
for ((i = 0; i < 40; i++)); do
    { printf '\1\1\0\0'; awk -v s="$i" 'BEGIN { x = s * 7919 + 17; for (i = 0; i < 500; i++) { x = (x * 1103515245 + 12345) % 2147483648; printf "%02x", int(x / 65536) % 256 } }' | sed 's/../\\x&/g' | xargs -0 printf; } >garbage.bin
    gives 0 run garbage.bin # conforming: the built-in provider never fails
    gives 0 show garbage.bin
done
printf '\377\376\375' >three
gives 0 show three
for name in clean.dma broken.dma expected.dma; do
    gives 0 show $name
    cp out canonical.dma
    gives 0 pack $name -o packed.bin
    gives 0 show packed.bin
    check "$name survives packing" cmp -s out canonical.dma
    gives 0 show canonical.dma
    check 'the canonical text is its own' cmp -s out canonical.dma
    cp packed.bin again.bin
    gives 0 pack canonical.dma -o again.bin
    check 'packing is the same twice' cmp -s packed.bin again.bin
done
gives 1 run packed.bin broken.dma
gives 0 show --cpp broken.dma
says out 'dmaudit::Case '
gives 0 show broken.dma -o shown.dma
silent out
check 'written to a file' grep -q '^cpu_read b0 len=8' shown.dma

# ---- min ----
gives 0 min broken.dma
says err '1-minimal'
cp out small.dma
steps() { grep -cvE '^(#|world|device |expect|$)' "$1"; }
check 'a minimised case is smaller' [ "$(steps small.dma)" -lt "$(steps broken.dma)" ]
gives 0 run small.dma
says out 'small.dma: cpu-read-of-device-bytes, as expected'
grep -v '^expect' small.dma >bare.dma
gives 1 run bare.dma
token=$(grep '^DEDUP_TOKEN' out)
check 'it is the same bug' [ "$token" = "$(grep '^DEDUP_TOKEN' first)" ]
for ((line = 1; line <= $(wc -l <bare.dma); line++)); do
    sed "${line}d" bare.dma >less.dma
    "$dmaudit" run less.dma >out 2>err
    grep -qxF "$token" out && ! sed -n "${line}p" bare.dma | grep -qE '^(#|world|device )' && failed "line $line of the minimised case could be left out"
done
gives 0 min broken.dma -o min.dma
silent out
check 'the same to a file' cmp -s small.dma min.dma
gives 0 min --tries 3 broken.dma
says err 'the budget ran out'
gives 2 min clean.dma
says err 'no violation with provider builtin'

# ---- files are written whole or not at all ----
leaves_nothing() {
    check "no temporary file is left in $1" [ -z "$(find "$1" -name '*.tmp')" ]
}
gives 2 pack clean.dma -o missing/x.bin
says err 'missing/x.bin: cannot be written: '
check 'no folder is made' [ ! -e missing ]
mkdir folder
gives 2 pack clean.dma -o folder
says err 'folder: cannot be written: '
gives 2 show clean.dma -o folder
gives 2 min broken.dma -o folder
leaves_nothing .
check 'the folder is empty' [ -z "$(ls -A folder)" ]
echo old >kept.dma
gives 2 show bad.dma -o kept.dma
check 'an older file stays if there is nothing to write' [ "$(cat kept.dma)" = old ]
gives 0 show clean.dma -o kept.dma
check 'and is replaced if there is' [ "$(head -n 1 kept.dma)" = '# dmaudit case 1' ]
if [[ ${unprivileged[*]} != skip ]]; then
    mkdir readonly
    echo old >readonly/x
    chmod a-w readonly
    gives_unprivileged 2 pack clean.dma -o readonly/x
    says err 'readonly/x: cannot be written: '
    check 'the older file is as it was' [ "$(cat readonly/x)" = old ]
    leaves_nothing readonly
fi
if [[ -w /dev/full ]]; then
    "$dmaudit" show clean.dma >/dev/full 2>err
    check 'a full disk below stdout is not silent' [ $? -ne 0 ]
fi

# ---- fuzz ----
gives 0 fuzz --runs 300 --findings none
says out '300 cases in '
says out '0 findings'
check 'no findings, no folder' [ ! -e none ]
gives 0 fuzz --profile hostile --runs 300 --findings none
says out 'violations by rule:'
provider=$("$dmaudit" providers | sed -n 's/^\(broken-[a-z0-9-]*\):.*/\1/p' | head -n 1)
if [[ -n $provider ]]; then
    gives 1 fuzz --provider "$provider" --profile streaming --runs 400 --seed 5 --findings one
    matches out '^[1-9][0-9]* findings, saved in one$'
    gives 1 fuzz --provider "$provider" --profile streaming --runs 400 --seed 5 --findings two
    check 'the same fuzz run twice gives the same findings' diff -r one two
    leaves_nothing one
    gives 0 run --provider "$provider" one
    for f in one/*.dma; do
        gives 0 run "$f" --provider "$provider" # as the file expects
        grep -v '^expect' "$f" >bare.dma
        gives 1 run --provider "$provider" bare.dma
        gives 0 run bare.dma # the built-in provider is right
    done
    echo file >taken
    gives 2 fuzz --provider "$provider" --profile streaming --runs 400 --seed 5 --findings taken
    says err 'cannot be written: '
fi
if "$dmaudit" providers | grep -q '^linux:'; then # it has pools only
    gives 2 fuzz --provider linux --profile streaming --runs 50 --findings none
    says err 'the provider was never called'
fi
gives 0 fuzz --seconds 0.2 --findings none
gives 0 fuzz --ops 20000 --findings none
check 'as many operations as were asked for, and not many more' \
    awk '/ steps: /{ n = $3 } END { exit !(n >= 20000 && n < 20200) }' out

# ---- verify: every case of a small scope ----
gives 0 verify --facet streaming --depth 2
says out 'every case up to depth 2 was run; equal states are merged'
says out '0 findings'
silent err
grep -v 'cases/s' out >first
gives 0 verify --facet streaming --depth 2 --threads 2
check 'verify: the same on two threads' diff <(grep -v 'cases/s' out) first
gives 0 verify --facet streaming --depth 2 --no-merge
says out 'equal states are not merged'
if "$dmaudit" providers | grep -q '^linux:'; then
    gives 0 verify --provider linux --facet pool --scope deep --depth 3
    says out 'the provider offers no hash of its state, so equal states are not merged'
fi
gives 0 verify --facet pool --list
says out 'declare_pool dev={0,1}'
# Interrupted, it keeps what it has and goes on from there.
rm -f cut
timeout -s TERM 5 "$dmaudit" verify --facet streaming --depth 9 --alive 3 --state cut >out 2>err
check 'verify: an interrupted search says so' grep -q 'not complete (interrupted)' out
check 'verify: ... and keeps its state' test -s cut
gives 0 verify --facet streaming --depth 9 --alive 3 --state cut --runs 1
says out 'goes on from cut'
gives 0 verify --facet pool --depth 3 --runs 100 --state kept
says out 'not complete (the budget of executions is used up)'
gives 0 verify --facet pool --depth 3 --state kept
says out 'goes on from kept'
grep -A4 '^ *depth' out >resumed
gives 0 verify --facet pool --depth 3
check 'verify: the same when it is resumed' diff <(grep -A4 '^ *depth' out) resumed
gives 2 verify --facet streaming --depth 3 --state kept
says err '--state kept: it is of another search'
head -c 3000 kept >cut
gives 2 verify --facet pool --depth 3 --state cut
says err '--state cut: the file is damaged or cut off'
gives 2 verify --facet pool --depth 2 --state nowhere/kept
says err 'nowhere/kept'
gives 2 verify --facet pool --depth 2 --state /dev/full
says err 'expected a file to keep the state in'
gives 1 verify --provider broken-counts-instances --facet coherent --scope deep --depth 2 --findings fickle
says out 'not when the case runs alone'
check 'verify: what does not replay is not saved' test ! -e fickle
gives 2 verify --facet nonsense
says err 'a facet of streaming coherent pool'
gives 2 verify --provider nonsense
gives 2 verify --depth 0
gives 1 verify --provider broken-abort-in-unmap --facet streaming --depth 2 --most-deaths 5 --findings died
says out 'the provider ends the process too often'
says out 'provider-crash'
check 'verify: what a provider does not survive is replayed' "$dmaudit" run -q --isolate --provider broken-abort-in-unmap died
gives 1 verify --provider broken-no-clean-at-map --facet streaming --depth 2 --findings found-by-verify
says out 'missing-invalidate'
says out 'saved in found-by-verify'
gives 0 run --provider broken-no-clean-at-map found-by-verify

# ---- in child processes ----
gives 0 run --isolate clean.dma
gives 1 run --isolate broken.dma
grep -v 'replay:' out >isolated
gives 1 run broken.dma
grep -v 'replay:' out >not-isolated
check 'a report from a child is the same' cmp -s isolated not-isolated
gives 0 run --isolate --times 3 cases
gives 0 min --isolate broken.dma -o min-isolated.dma
# Interrupted while a provider hangs again and again, it gives what it has.
printf '# dmaudit case 1\nb0 = buffer size=300\nk0 = alloc_coherent size=8192\nfree_coherent k0\n' >hangs.dma
timeout -s TERM 6 "$dmaudit" min --isolate --provider broken-loop-in-alloc hangs.dma -o best.dma 2>err
check 'min: it says that it was interrupted' grep -q 'interrupted: it may become smaller' err
check 'min: ... and gives the best so far' grep -q 'expect no-progress' best.dma
check 'a case is made as small in children' cmp -s small.dma min-isolated.dma
# A case that expects the end of the process runs in a child without being told to.
gives 0 run --provider broken-abort-in-unmap died
gives 0 min --provider broken-abort-in-unmap "$(ls died/provider-crash*.dma | head -n 1)" -o one.dma
# A provider that hangs in this process is not waited for.
timeout -k 30 -s TERM 1 "$dmaudit" min --provider broken-loop-in-alloc hangs.dma >out 2>err
check 'min: SIGTERM ends it, whatever the provider does' test $? -eq 124
gives 2 min --isolate --provider broken-loop-in-alloc hangs.dma -o nowhere/best.dma
says err 'nowhere/best.dma: the folder cannot be written to'
gives 2 score --quick --json nowhere/score.json
says err 'nowhere/score.json: the folder cannot be written to'
gives 0 fuzz --isolate --runs 200 --findings none
says out 'in child processes'
grep 'steps:' out >isolated
gives 0 fuzz --runs 200 --findings none
grep 'steps:' out >not-isolated
check 'the same campaign in children' cmp -s isolated not-isolated
for provider in broken-segfault-in-free broken-exit-in-close broken-cleans-for-ever; do
    "$dmaudit" providers | grep -q "^$provider:" || continue
    gives 1 fuzz --provider $provider --runs 60 --findings $provider
    says out 'in child processes'
    for f in $provider/*.dma; do
        gives 0 run --provider $provider "$f"
        gives 0 min --provider $provider "$f" -o again.dma
        check 'what is small stays' cmp -s again.dma "$f"
        gives 0 min --provider $provider "$f" -o again.dma --tries 1
        grep -v '^expect' "$f" >bare.dma
        gives 1 run --provider $provider bare.dma
        says out 'DEDUP_TOKEN: '
    done
done
if "$dmaudit" providers | grep -q '^broken-counts-instances:'; then
    printf 'b0 = buffer size=8\nk0 = alloc_coherent size=8\nk1 = alloc_coherent size=8\n' >twice.dma
    gives 1 run --times 2 --provider broken-counts-instances twice.dma
    says out 'not-deterministic'
    gives 0 min --provider broken-counts-instances twice.dma -o again.dma
    says err 'took different courses'
    gives 0 run --provider broken-counts-instances again.dma
fi
gives 2 run --times 0 clean.dma

# ---- what must not get lost, or happen unasked ----
printf 'old' >real
ln -s real link && ln -s nowhere-yet dangling
gives 0 show clean.dma -o link
check 'a link stays a link' [ -L link ]
check 'what it leads to is written' grep -q 'dmaudit case' real
gives 0 show clean.dma -o dangling
check 'a link to what there is not yet stays one' [ -L dangling ]
check 'and what it leads to is made' grep -q 'dmaudit case' nowhere-yet
mkfifo pipe
cat pipe >through-pipe &
gives 0 show clean.dma -o pipe
wait $!
check 'a pipe stays a pipe' [ -p pipe ]
check 'and is written to' grep -q 'dmaudit case' through-pipe
mkdir circle && ln -s circle circle/circle && cp clean.dma circle/a.dma && ln -s loop circle/loop
gives 2 run circle
says err 'circle/loop: cannot be read'
says out '3 cases: 1 as expected, 0 otherwise, 2 unusable'
printf '# provider: nosuch\nb0 = buffer size=1\n' >first-line.dma
gives 2 run first-line.dma
says err 'nosuch'
printf '# dmaudit case 1\n# provider: ./some.so\nb0 = buffer size=1\n' >loads.dma
for verb in run min; do
    gives 2 $verb loads.dma
    says err 'loads.dma: its comment names a shared object'
done
printf 'b0 = buffer size=8\nb0 = buffer\n' >text.txt
gives 2 run text.txt
says err 'text.txt:2: '
for verb in providers explain 'fuzz --runs 10'; do
    # shellcheck disable=SC2086
    "$dmaudit" $verb >/dev/full 2>err
    check "$verb: output that cannot be written" [ $? -eq 2 ]
done
printf 'b0 = buffer size=1\nm0 = map_single b0 dir=to_device\nm1 = map_single b0 dir=from_device\nexpect overlapping-mapping\n' >"it's two.dma"
gives 0 run "it's two.dma"
says out "replay: dmaudit run --provider builtin 'it'\\''s two.dma'"
"$dmaudit" fuzz --seconds 60 --findings none >out 2>err &
sleep 3
kill -INT $!
wait $!
check 'a campaign that is stopped says so with its code' [ $? -eq 130 ]
says out 'executed ops by kind'

# ---- the rest ----
gives 2 explain --markdown rules
says err 'needs --cases'
gives 1 explain --markdown rules --cases cases
says err 'overlap: no case breaks it'
gives 0 explain --markdown classes
says out '| 42 | '
gives 0 explain ops
says out 'mN = map_single bN|kN [off=] [len=] dir=bidirectional|to_device|from_device|none [dev='
says out 'kN = alloc_coherent [dev=] size= [align='
says out 'at_end [dev=] [abrupt=yes]'
gives 0 explain
check 'a line for each rule' [ "$(wc -l <out)" -ge 40 ]
while read -r name _; do
    gives 0 explain "$name"
    says out 'whose fault: '
done < <("$dmaudit" explain)
gives 0 providers
matches out '^builtin: '
gives 0 --version
matches out '^dmaudit [0-9]+\.[0-9]+\.[0-9]+$'
for verb in '' run show pack min fuzz explain providers; do
    # shellcheck disable=SC2086
    gives 0 $verb --help
    silent err
done

echo "$checks checks, $failures failures"
((failures == 0))
