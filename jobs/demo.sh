#!/bin/bash
# The whole pipeline on real pictures, on this machine: what `make demo` runs. It goes through the job files as anyone
# would without SLURM, with two MPI ranks, and ends with a table.
#   PACKHORSE_DEMO_DIR    where the pictures are put (build/demo-data)
#   PACKHORSE_RANKS       MPI ranks (2)
set -euo pipefail
jobs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export PACKHORSE_RANKS=${PACKHORSE_RANKS:-2}
# shellcheck source=jobs/common.sh
. "$jobs/common.sh"
cd "$project"

DEMO_DATA=$(realpath -m "${PACKHORSE_DEMO_DIR:-build/demo-data}")
export DEMO_DATA
run=runs/demo
log=$run/logs
if [ -e "$run" ]; then
  say "starting over: the demo before this one is removed ($run)"
  rm -rf "$run"
fi
mkdir -p "$log"
began=$SECONDS

# step NAME COMMAND...: runs it; what it prints also goes to a log of its own.
step() {
  local name=$1
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2> >(tee "$log/$name.err" >&2) | tee "$log/$name.out"
}

step data "$bin/packhorse-demo-data" "$DEMO_DATA"
step pack bash "$jobs/pack.sbatch" data_manifests/demo.json
step train bash "$jobs/train.sbatch" $run/pack/manifest.json
tar -C "$log" -xf "$DEMO_DATA/validation.tar" FashionMNIST_val_0000000{1,2,3}.JPEG
step predict bash "$jobs/predict.sbatch" $run/train/manifest.json "$log"/FashionMNIST_val_*.JPEG
