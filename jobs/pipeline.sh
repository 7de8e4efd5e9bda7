#!/bin/bash
# Runs every stage of a data set: list, pack, train, evaluate, export.
#   jobs/pipeline.sh data_manifests/imagenet-21k.json        as SLURM jobs, each after the one before
#   jobs/pipeline.sh data_manifests/demo.json --local        on this machine, one after the other
#
# Under SLURM, a job that fails cancels the jobs that wait for it. The variables of sbatch (SBATCH_PARTITION,
# SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...) apply to every job. Without SLURM, every stage runs on this machine.
set -euo pipefail
jobs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=jobs/common.sh
. "$jobs/common.sh"

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${2:---local}" != --local ]; then
  fail "usage: pipeline.sh DESCRIPTION [--local]"
fi
need_manifest "$1"
description=$1
is_description "$description" || fail "not the description of a data set: $description (data_manifests/ has examples)"
run=runs/$(json_text "$description" name)
export PACKHORSE_TRAIN_ONLY=1

# Each stage, and the argument of its job.
steps=(list "$description" pack "$run/list/manifest.json" train "$run/pack/manifest.json"
  evaluate "$run/train/manifest.json" export "$run/evaluate/manifest.json")

if [ "${2:-}" = --local ] || ! command -v sbatch >/dev/null; then
  [ "${2:-}" = --local ] || say "sbatch is not installed: the stages run on this machine, one after the other"
  for ((i = 0; i < ${#steps[@]}; i += 2)); do
    bash "$jobs/${steps[i]}.sbatch" "${steps[i + 1]}"
  done
  exit 0
fi

mkdir -p "$run/logs"
before=''
for ((i = 0; i < ${#steps[@]}; i += 2)); do
  options=(--parsable --output="$run/logs/%x-%j.out" --kill-on-invalid-dep=yes)
  [ -z "$before" ] || options+=(--dependency="afterok:$before")
  # --parsable prints "job" or "job;cluster".
  before=$(sbatch "${options[@]}" "$jobs/${steps[i]}.sbatch" "${steps[i + 1]}" | cut -d ';' -f 1)
  printf '%-9s job %s\n' "${steps[i]}" "$before"
done
echo "the logs are in $run/logs; squeue --me shows the state of the jobs"
