#!/usr/bin/env bash
# Whether the build in a folder that holds another release (tests/elsewhere.sh made it) makes the same lists and shards
# as this machine's, byte for byte, and whether each continues and evaluates the other's training.
#   tests/support/elsewhere_same.sh SUITE FOLDER
# Weights of the two may differ in their last bits, as their oneDNN does: the same checkpoint must give the same
# answers, but for images whose two best classes are closer than rounding.
# shellcheck disable=SC2016  # variables in single quotes are for the shell of a side
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
project=$PWD
suite=$1 folder=$2
# shellcheck source=tests/support/bare_debian.sh
. tests/support/bare_debian.sh

there_work=$folder/root/same
here_work=$project/build/elsewhere/$suite.same
rm -rf "$there_work" "$here_work"
mkdir -p "$there_work" "$here_work"
trap 'rm -rf "$here_work"' EXIT
env -u MAKEFLAGS make --no-print-directory stages
inside "$folder" root bash -euc 'cd packhorse; make'

# on SIDE COMMAND: in this side's folder, with the stages in the path.
on() {
  case $1 in
    here) (cd "$here_work" && PATH=$project/build/bin:$PATH bash -euc "$2" </dev/null) ;;
    there) inside "$folder" root bash -euc "cd same; PATH=\$HOME/packhorse/build/bin:\$PATH; $2" ;;
  esac
}
fail() {
  echo "DIFFERS: $1"
  exit 1
}
other() { if [ "$1" = here ]; then echo there; else echo here; fi; }
work_of() { if [ "$1" = here ]; then echo "$here_work"; else echo "$there_work"; fi; }

on here 'packhorse-demo-data data --train-per-class 300 --validation-per-class 50'
cp -r data_manifests "$here_work"
cp -r "$here_work/data" "$here_work/data_manifests" "$there_work"
for side in here there; do
  on $side 'DEMO_DATA=$PWD/data packhorse-list data_manifests/demo.json --out run/list
    packhorse-pack run/list/manifest.json --out run/pack'
done
compared=0
while read -r file; do
  cmp "$here_work/run/$file" "$there_work/run/$file" || fail "$file"
  compared=$((compared + 1))
done < <(cd "$here_work/run" && find . -name '*.lst' -o -name '*.rec' -o -name '*.idx' -o -name '*.tsv')
[ "$compared" -ge 10 ] || fail "only $compared files were there to compare"
echo "same: $compared files of lists and shards"

# One side trains and stops after its first epoch; the other continues to the end; both evaluate what came out.
train="packhorse-train run/pack/manifest.json --out run/train --epochs 2 --global-batch 100 --precision f32 --threads 1"
for side in here there; do
  on $side "rm -rf run/train
    $train --checkpoint-steps 10 >train.log 2>&1 & child=\$!
    until ls run/train/checkpoints/*.h5 >/dev/null 2>&1; do kill -0 \$child; sleep 0.1; done
    kill -USR1 \$child
    code=0; wait \$child || code=\$?
    [ \$code -eq 75 ] || { cat train.log; echo \"the training ended with code \$code before it could be stopped\"; exit 1; }"
  rm -rf "$(work_of "$(other $side)")/run/train"
  cp -r "$(work_of $side)/run/train" "$(work_of "$(other $side)")/run/train"
  on "$(other $side)" "$train --checkpoint-steps 10 2>&1 | tee continued.log; grep -qi 'continu' continued.log"
  rm -rf "$(work_of $side)/run/train"
  cp -r "$(work_of "$(other $side)")/run/train" "$(work_of $side)/run/train"
  for evaluator in here there; do
    on $evaluator "packhorse-evaluate run/train/manifest.json --out run/evaluate --threads 1 >/dev/null"
    grep -oE '"(top1|top5|loss)": [0-9.e-]+' "$(work_of $evaluator)/run/evaluate/manifest.json" |
      sort -u >"$(work_of $evaluator)/answers"
  done
  # 500 validation images: at most one of them may change sides.
  paste "$here_work/answers" "$there_work/answers" | tee "$here_work/both" |
    awk '{difference = $2 - $4; if ($1 != $3 || difference > 0.0021 || difference < -0.0021) exit 1} END {exit NR < 2}' ||
    fail "what evaluate says of one checkpoint: $(paste -sd ';' "$here_work/both")"
  echo "same: begun $side, continued $(other $side), evaluated on both: $(paste -sd ' ' "$here_work/answers")"
  rm -rf "$here_work/run/evaluate" "$there_work/run/evaluate"
done
