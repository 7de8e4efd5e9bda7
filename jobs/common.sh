# shellcheck shell=bash
# What every job file shares: where the project and its executables are, how many ranks to start and how, what a signal
# means. Sourced, never run. Nothing here knows a site; slurm/README.md says how to tell it about yours.
#
# Read from the environment, all optional:
#   PACKHORSE_BIN         folder of the packhorse-* executables
#   PACKHORSE_RANKS       MPI ranks, where SLURM's --ntasks does not say
#   PACKHORSE_LAUNCHER    command that starts them ("srun --mpi=pmix"), instead of mpirun
#   PACKHORSE_SITE        a file to source first (modules, paths): slurm/site.conf.example
set -euo pipefail

say() { printf 'packhorse: %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# shellcheck source=/dev/null
[ -z "${PACKHORSE_SITE:-}" ] || . "$PACKHORSE_SITE"

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# In a checkout the executables are in build/bin; installed, this folder is PREFIX/share/packhorse/jobs.
find_executables() {
  local place
  for place in "${PACKHORSE_BIN:-}" "$project/build/bin" "$project/../../bin"; do
    if [ -x "$place/packhorse-list" ]; then
      (cd "$place" && pwd -P)
      return
    fi
  done
  fail "packhorse's executables are neither in $project/build/bin nor in PACKHORSE_BIN; run 'make' first"
}
bin=$(find_executables)

# ---- What a job was given -------------------------------------------------------------------------------------------
# The first text value of a key in a JSON file; stages write "schema" and "stage" before everything else.
json_text() {
  local text pattern="\"$2\"[[:space:]]*:[[:space:]]*\"([^\"]*)\""
  [ -f "$1" ] && text=$(<"$1") && [[ $text =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# The first argument is a manifest or description, unless it is an option (--help, say): then the stage answers.
need_manifest() {
  [ $# -gt 0 ] || fail "give a data set's description or a stage's manifest.json, then the stage's own options"
  [[ $1 == -* || -f $1 ]] || fail "no such file: $1 (seen from $PWD)"
}
is_description() { [ "$(json_text "$1" schema)" = packhorse/dataset/1 ]; }

# The value of --NAME among arguments, or nothing.
option_value() {
  local name=$1 word
  shift
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      "$name") printf '%s' "${1:-}" ;;
      "$name"=*) printf '%s' "${word#*=}" ;;
    esac
  done
}

# Whether the arguments only ask (--plan, --help): then nothing is made, and no next stage can follow.
only_asks() {
  local word
  for word in "$@"; do
    case $word in --plan | --help | -h | --version) return 0 ;; esac
  done
  return 1
}

# stage_folder STAGE MANIFEST [OPTIONS...]: where the stage writes. The rule of every stage: --out, or for its own
# manifest that one's folder, or the stage's folder beside that of the stage before.
stage_folder() {
  local stage=$1 given=$2 out
  shift 2
  out=$(option_value --out "$@")
  if [ -n "$out" ]; then
    printf '%s' "$out"
  elif is_description "$given"; then
    printf 'runs/%s/%s' "$(json_text "$given" name)" "$stage"
  elif [ "$(json_text "$given" stage)" = "$stage" ]; then
    dirname "$given"
  else
    printf '%s/%s' "$(dirname "$(dirname "$(realpath -s "$given")")")" "$stage"
  fi
}

# ---- How ranks are started ------------------------------------------------------------------------------------------
nodes=${SLURM_JOB_NUM_NODES:-1}
# A container without /sys does not know its sockets; one is then a safe guess.
sockets=$({ lscpu -p=SOCKET 2>/dev/null || true; } | awk '!/^#/ && !seen[$0]++ {count++} END {print (count > 0 ? count : 1)}')

# SLURM's tasks; else PACKHORSE_RANKS; else one a GPU that the job was given; else one a CPU socket.
ranks=${SLURM_NTASKS:-${PACKHORSE_RANKS:-$((nodes * ${SLURM_GPUS_ON_NODE:-$sockets}))}}

# PMIx's shared-memory store can crash across nodes; its plain one does not.
export PMIX_MCA_gds=hash
# OpenMPI asks root twice. A job of root's is a container's or a test's; nobody else gets these.
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# The command that goes before a stage of many ranks; empty for one, which then starts no MPI at all.
launcher=()
set_launcher() {
  [ "$ranks" -gt 1 ] || return 0
  if [ -n "${PACKHORSE_LAUNCHER:-}" ]; then
    read -ra launcher <<<"$PACKHORSE_LAUNCHER"
    return
  fi
  command -v mpirun >/dev/null || fail "mpirun is not in PATH (load the site's MPI module, or set PACKHORSE_LAUNCHER)"
  # One rank a socket stays on its socket's memory; any other number shares the cores out by itself.
  if [ "$sockets" -gt 1 ] && [ "$ranks" -eq $((nodes * sockets)) ]; then
    launcher=(mpirun -np "$ranks" --map-by "ppr:1:socket" --bind-to socket)
  else
    launcher=(mpirun -np "$ranks" --map-by "ppr:$(((ranks + nodes - 1) / nodes)):node" --bind-to none --oversubscribe)
  fi
}
set_launcher

# ---- Running a stage ------------------------------------------------------------------------------------------------
# run_one STAGE ARGUMENTS...: one process. run_ranks STAGE ARGUMENTS...: all ranks, with signals passed on.
run_one() {
  local stage=$1
  shift
  "$bin/packhorse-$stage" "$@"
}

stop_signal=''
# A stop request becomes USR1 for the ranks: mpirun passes that on, and would kill them within a second on TERM. They
# agree on a step, write a checkpoint and end with code 75.
pass_on() {
  stop_signal=$1
  say "asked to stop (SIG$1): the ranks finish their step and write a checkpoint"
  [ -z "${child:-}" ] || kill -USR1 "$child" 2>/dev/null || true
}

run_ranks() {
  local stage=$1 code=0
  shift
  say "$stage: $ranks rank(s) on $nodes node(s)"
  "${launcher[@]}" "$bin/packhorse-$stage" "$@" &
  child=$!
  # wait comes back early, with a code above 128, whenever a trapped signal arrives; the child may live on.
  while :; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  return "$code"
}

# Only for a stage that can stop and go on. Other stages keep SLURM's own behaviour.
stop_on_request() {
  trap 'pass_on USR1' USR1
  trap 'pass_on TERM' TERM
}

# Ends the job unless the stage did well. One that was stopped on request can go on later: under SLURM, where a time
# limit or the site asked for it, this very job is queued again.
check_stage() {
  local code=$1
  [ "$code" -ne 0 ] || return 0
  [ "$code" -eq 75 ] || [ -n "$stop_signal" ] || exit "$code"
  if [ -n "${SLURM_JOB_ID:-}" ] && [ "$stop_signal" != TERM ]; then
    say "stopped; job $SLURM_JOB_ID is queued again and goes on from what is done"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60 # SLURM ends this script; it must not end by itself before that
    fail "SLURM did not requeue the job; submit it again and it goes on from what is done"
  fi
  say "stopped; the same command goes on from what is done"
  exit 75
}
