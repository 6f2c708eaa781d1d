#!/usr/bin/env bash
# Conforming operations over random worlds: no rule may be broken. Every conforming profile in turn, until each has executed
# its share of OPS operations. A violation is a false alarm or a bug; it is left in FINDINGS. Profile mixed executes as many
# as each of them and is not counted: in one case of four its client errs, and no rule of the provider may be broken then.
#
#   campaign.sh DMAUDIT OPS [SEED [FINDINGS]]
set -u
(($# >= 2)) && [[ -x $1 ]] || { echo "usage: campaign.sh DMAUDIT OPS [SEED [FINDINGS]]" >&2; exit 2; }
dmaudit=$1 ops=$2 seed=${3:-1} findings=${4:-findings}
profiles=$("$dmaudit" fuzz --profile - 2>&1 | sed -n 's/.*expected one of //p')
profiles=${profiles/ hostile/} # its client errs
profiles=${profiles/ mixed/}
read -ra profiles <<<"$profiles"
((${#profiles[@]} > 0)) || { echo "campaign.sh: dmaudit lists no profiles" >&2; exit 2; }
share=$(((ops + ${#profiles[@]} - 1) / ${#profiles[@]})) total=0 bad=0 start=$SECONDS
for profile in "${profiles[@]}" mixed; do
    out=$("$dmaudit" fuzz --profile "$profile" --ops "$share" --seed "$seed" --findings "$findings")
    code=$?
    executed=$(sed -n 's/^[0-9]* steps: \([0-9]*\) executed.*/\1/p' <<<"$out")
    printf '%-12s %12s executed ops, %s\n' "$profile" "${executed:-no}" "$(tail -n 1 <<<"$out")"
    ((code == 0)) || { printf '%s\n' "$out"; bad=1; }
    [[ $profile == mixed ]] || total=$((total + ${executed:-0}))
done
printf '%-12s %12s executed ops by clients that conform, and mixed, in %s s\n' 'in all' "$total" $((SECONDS - start))
((bad == 0 && total >= ops))
