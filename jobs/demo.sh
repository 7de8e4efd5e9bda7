#!/bin/bash
# Runs the whole pipeline on real images, on this machine, in runs/demo below the current folder. `make demo` starts it;
# after `make install` it shows that the installation works. It uses the job files in the way of every user without
# SLURM, with two MPI ranks, and prints a table at the end.
#   PACKHORSE_DEMO_DIR        folder for the images (runs/demo-data)
#   PACKHORSE_FASHION_MNIST   folder of Fashion-MNIST's four files (/usr/share/datasets/fashion-mnist)
#   PACKHORSE_RANKS           number of MPI ranks (2)
set -euo pipefail
jobs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export PACKHORSE_RANKS=${PACKHORSE_RANKS:-2}
# shellcheck source=jobs/common.sh
. "$jobs/common.sh"

DEMO_DATA=$(realpath -m "${PACKHORSE_DEMO_DIR:-runs/demo-data}")
export DEMO_DATA
run=runs/demo
log=$run/logs
if [ -e "$run" ]; then
  say "starting again: the results of the last demo are removed ($run)"
  rm -rf "$run"
fi
mkdir -p "$log"
began=$SECONDS

# step NAME COMMAND...: runs the command. Its output also goes to a log of its own.
step() {
  local name=$1
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2> >(tee "$log/$name.err" >&2) | tee "$log/$name.out"
}

step data "$bin/packhorse-demo-data" "$DEMO_DATA" ${PACKHORSE_FASHION_MNIST:+--source "$PACKHORSE_FASHION_MNIST"}
step pack bash "$jobs/pack.sbatch" "$project/data_manifests/demo.json"
step train bash "$jobs/train.sbatch" $run/pack/manifest.json
mkdir "$run/images"
tar -C "$run/images" -xf "$DEMO_DATA/validation.tar" FashionMNIST_val_0000000{1,2,3}.JPEG
step predict bash "$jobs/predict.sbatch" $run/train/manifest.json $run/images/*.JPEG
printf '\nThe right answers, from the ground truth:\n'
head -n 3 "$DEMO_DATA/validation_ground_truth.txt"

# ---- The table ------------------------------------------------------------------------------------------------------
# number STAGE NAME: the first number with this name in the counts of a stage, or after them.
number() {
  local text pattern="\"$2\": ([-0-9.e]+)"
  text=$(<"$run/$1/manifest.json")
  [[ ${text#*\"counts\"} =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}
# rate STAGE NAME: images per second, a count of the stage divided by the whole time of the stage.
rate() { awk "BEGIN {printf \"%.0f images/s, start and end included\", $(number "$1" "$2") / $(number "$1" seconds)}"; }
percent() { awk "BEGIN {printf \"%.2f %%\", 100 * $(number "$1" "$2")}"; }
setting() { [[ $(<"$run/$1/manifest.json") =~ \"$2\":\ \"([a-z0-9]+)\" ]] && printf '%s' "${BASH_REMATCH[1]}"; }
row() { printf '  %-12s %s\n' "$1" "$2"; }

printf '\n== the demo took %d s\n' $((SECONDS - began))
row listed "$(number list listed) images, $(rate list listed)"
row packed "$(number pack packed) images, $(rate pack packed); quarantined: $(number pack quarantined)"
row trained "$(number train images) images in $(number train epochs) epochs, $(number train images_per_second | cut -d . -f 1) images/s in steps"
row evaluated "$(number evaluate listed) images, $(rate evaluate listed)"
row accuracy "top-1 $(percent evaluate top1), top-5 $(percent evaluate top5) of the validation images, in $(setting evaluate precision)"
row metrics "$run/export/metrics.h5"
row page "$run/export/report.html"
row model "$run/train/checkpoints/best.h5"
