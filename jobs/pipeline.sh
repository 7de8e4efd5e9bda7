#!/bin/bash
# Runs every stage of a data set: list, pack, train, evaluate, export.
#   jobs/pipeline.sh data_manifests/imagenet-21k.json        as SLURM jobs, each after the one before
#   jobs/pipeline.sh data_manifests/demo.json --local        on this machine, one after the other
#   jobs/pipeline.sh birds.json --run slow --train '--epochs 90 --lr 0.05' --evaluate '--split train'
#
# --STAGE OPTIONS gives a stage options of its own, as one word. --config FILE.toml gives each stage what is in its
# table ([pack], [train]). --run NAME makes a training beside the others of this
# data set, with its evaluation and its export. Under SLURM, a job that fails cancels the jobs that wait for it. The
# variables of sbatch (SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...) apply to every job. Without SLURM, every
# stage runs on this machine.
set -euo pipefail
jobs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=jobs/common.sh
. "$jobs/common.sh"

usage() { fail "usage: pipeline.sh DESCRIPTION [--local] [--run NAME] [--config FILE.toml] [--list|--pack|--train|--evaluate|--export 'OPTIONS']..."; }
stages=(list pack train evaluate export)
declare -A own
local_run='' name='' settings=()
[ $# -ge 1 ] || usage
description=$1
shift
while [ $# -gt 0 ]; do
  case $1 in
    --local) local_run=yes ;;
    --run) [ $# -ge 2 ] || usage && name=$2 && shift ;;
    --config) [ $# -ge 2 ] || usage && settings=(--config "$2") && shift ;;
    --list | --pack | --train | --evaluate | --export) [ $# -ge 2 ] || usage && own[${1#--}]=$2 && shift ;;
    *) usage ;;
  esac
  shift
done
need_manifest "$description"
is_description "$description" || fail "not the description of a data set: $description (data_manifests/ has examples)"
case $description in
  *.rec) run=runs/$(basename "$description" .rec) ;;
  *) run=runs/$(json_text "$description" name) ;;
esac
trained=$run${name:+/$name}
[ -z "$name" ] || own[train]="--run $name ${own[train]:-}"
export PACKHORSE_TRAIN_ONLY=1

declare -A given=([list]=$description [pack]=$run/list/manifest.json [train]=$run/pack/manifest.json
  [evaluate]=$trained/train/manifest.json [export]=$trained/evaluate/manifest.json)
# arguments STAGE: of its job, in the array `words`.
arguments() { read -ra words <<<"${own[$1]:-}"; words=("${given[$1]}" "${settings[@]}" "${words[@]}"); }

if [ -n "$local_run" ] || ! command -v sbatch >/dev/null; then
  [ -n "$local_run" ] || say "sbatch is not installed: the stages run on this machine, one after the other"
  for stage in "${stages[@]}"; do
    arguments "$stage"
    bash "$jobs/$stage.sbatch" "${words[@]}"
  done
  exit 0
fi

mkdir -p "$run/logs"
before=''
for stage in "${stages[@]}"; do
  options=(--parsable --output="$run/logs/%x-%j.out" --kill-on-invalid-dep=yes)
  [ -z "$before" ] || options+=(--dependency="afterok:$before")
  arguments "$stage"
  # --parsable prints "job" or "job;cluster".
  before=$(sbatch "${options[@]}" "$jobs/$stage.sbatch" "${words[@]}" | cut -d ';' -f 1)
  printf '%-9s job %s\n' "$stage" "$before"
done
echo "the logs are in $run/logs; squeue --me shows the state of the jobs"
