#!/bin/bash
# What the jobs do: run.sh STAGE MANIFEST [OPTIONS...]. A job file (STAGE.sbatch) says what it needs from SLURM, then
# becomes this script. Each job is one function. common.sh holds what the functions share.
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

list_job() { run_one list "$@"; }

# Given a description, this job lists the images first, unless that is done and the description is not newer.
pack_job() {
  local given=$1 list
  shift
  if is_description "$given"; then
    list=$(stage_folder list "$given")/manifest.json
    if [ -e "$list" ] && [ ! "$given" -nt "$list" ]; then
      say "listed before: $list"
    elif has_option --plan "$@"; then
      run_one list "$given" --plan
      say "the images are not listed yet, so this is the plan of list; list them, then ask for the plan of pack again"
      return
    else
      run_one list "$given"
    fi
    given=$list
  fi
  run_ranks pack "$given" "$@"
}

verify_job() { run_ranks verify "$@"; }

train_job() {
  local trained evaluated code=0
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

  run_ranks evaluate "$trained" || code=$?
  check_stage "$code"
  evaluated=$(stage_folder evaluate "$trained")/manifest.json
  run_one export "$evaluated"
}

evaluate_job() { run_ranks evaluate "$@"; }
export_job() { run_one export "$@"; }
predict_job() { run_one predict "$@"; }

stage=${1:-}
declare -F "${stage}_job" >/dev/null || fail "usage: run.sh STAGE MANIFEST [OPTIONS...] (STAGE: list, pack, ...)"
shift
need_manifest "$@"
# The stage answers these at once. It needs no ranks, and no other stage runs before or after it.
if has_option '--help|-h|--version|--print-out' "$@"; then
  run_one "$stage" "$@"
else
  "${stage}_job" "$@"
fi
