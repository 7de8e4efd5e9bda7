#!/bin/bash
# What the jobs do: run.sh STAGE MANIFEST [OPTIONS...]. A job file (STAGE.sbatch) says what it needs from SLURM, then
# becomes this script. Each job is one function. common.sh holds what the functions share.
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

list_job() { run_one list "$@"; }

# Given a description, this job lists the images first: some may have been added or removed.
pack_job() {
  local given=$1 list
  shift
  if is_description "$given"; then
    list=$(stage_folder list "$given")/manifest.json
    if ! has_option --plan "$@"; then
      run_one list "$given"
    elif [ ! -e "$list" ]; then
      run_one list "$given" --plan
      say "the images are not listed yet, so this is the plan of list; list them, then ask for the plan of pack again"
      return
    fi
    given=$list
  fi
  run_ranks pack "$given" "$@"
}

verify_job() { run_ranks verify "$@"; }

train_job() {
  local trained evaluated packed code=0
  if [[ $1 == *.rec ]]; then
    packed=$(stage_folder list "$1")
    packed=${packed%/list}/pack/manifest.json
    [ "$packed" -nt "$1" ] || pack_job "$1"
    shift
    set -- "$packed" "$@"
  fi
  if has_option --plan "$@"; then
    run_ranks train "$@"
    return
  fi
  stop_on_request
  trained=$(stage_folder train "$@")/manifest.json
  # If this job was stopped while it evaluated, and SLURM started it again, its training is done.
  if [ -n "${SLURM_JOB_ID:-}" ] && [ "$(json_text "$trained" slurm_job)" = "$SLURM_JOB_ID" ]; then
    say "trained before: $trained"
  else
    run_ranks train "$@" || code=$?
    check_stage "$code"
  fi
  # pipeline.sh sets PACKHORSE_TRAIN_ONLY, because it starts a job for each of the next stages.
  [ -z "${PACKHORSE_TRAIN_ONLY:-}" ] || return 0

  evaluate_job "$trained" || code=$?
  check_stage "$code"
  evaluated=$(stage_folder evaluate "$trained")/manifest.json
  export_job "$evaluated"
}

# validated MANIFEST: whether there were images to validate the training with.
validated() { [[ $(<"$1") == *'"top1"'* ]]; }

evaluate_job() {
  if [ "$(json_text "$1" stage)" = train ] && ! validated "$1" && ! has_option '--data|--split' "$@"; then
    say "evaluate: skipped: the data set has no images for validation"
    return
  fi
  run_ranks evaluate "$@"
}

# Without images for validation there is no evaluation: then the training itself is exported.
export_job() {
  local given=$1 train
  shift
  if [ ! -e "$given" ]; then
    train=${given%/evaluate/manifest.json}/train/manifest.json
    if [ ! -e "$train" ] || validated "$train"; then fail "no such file: $given (seen from $PWD)"; fi
    given=$train
  fi
  run_one export "$given" "$@"
}
predict_job() { run_one predict "$@"; }

stage=${1:-}
declare -F "${stage}_job" >/dev/null || fail "usage: run.sh STAGE MANIFEST [OPTIONS...] (STAGE: list, pack, ...)"
shift
if [ "$stage" != export ] || [ $# -eq 0 ]; then need_manifest "$@"; fi
# A run that is repeated has the ranks that it had, unless somebody says otherwise.
if [ -z "${SLURM_NTASKS:-}${PACKHORSE_RANKS:-}" ] && [ "$(json_text "$1" stage)" = "$stage" ]; then
  ranks=$(json_number "$1" ranks)
  set_launcher
fi
# The stage answers these at once. It needs no ranks, and no other stage runs before or after it.
if has_option '--help|-h|--version|--print-out' "$@"; then
  run_one "$stage" "$@"
else
  "${stage}_job" "$@"
fi
