# shellcheck shell=bash
# What the scripts of this folder share: where the project and its executables are, how many ranks to start and how, and
# what a signal means. Other scripts source this file; nobody runs it. Nothing here knows a site: slurm/README.md says
# how to describe yours.
#
# It reads these variables from the environment. All of them are optional:
#   PACKHORSE_BIN         folder of the packhorse-* executables
#   PACKHORSE_RANKS       number of MPI ranks, if SLURM's --ntasks does not give it
#   PACKHORSE_LAUNCHER    command that starts the ranks instead of mpirun ("srun --mpi=pmix")
#   PACKHORSE_SITE        file to source first (modules, paths): slurm/site.conf.example
set -euo pipefail

say() { printf 'packhorse: %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# shellcheck source=/dev/null
[ -z "${PACKHORSE_SITE:-}" ] || . "$PACKHORSE_SITE"

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# In a checkout the executables are in build/bin. After `make install`, this folder is PREFIX/share/packhorse/jobs and
# the executables are in PREFIX/bin.
find_executables() {
  local place
  for place in "${PACKHORSE_BIN:-$project/build/bin}" "${PACKHORSE_BIN:-$project/../../bin}"; do
    if [ -x "$place/packhorse-list" ]; then
      (cd "$place" && pwd -P)
      return
    fi
  done
  [ -z "${PACKHORSE_BIN:-}" ] || fail "packhorse's executables are not in PACKHORSE_BIN ($PACKHORSE_BIN)"
  fail "packhorse's executables are neither in $project/build/bin (run 'make') nor in $(realpath -m "$project/../../bin");" \
    "name their folder in PACKHORSE_BIN"
}
bin=$(find_executables)

# ---- The arguments of a job -----------------------------------------------------------------------------------------
# json_text FILE KEY: the first text value of a key in a JSON file. Stages write "schema" and "stage" before all else.
# A file of records, which may be large, is none.
json_text() {
  local text pattern="\"$2\"[[:space:]]*:[[:space:]]*\"([^\"]*)\""
  [ -f "$1" ] && [[ $1 != *.rec ]] && text=$(<"$1") && [[ $text =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# json_number FILE KEY: the same for a number.
json_number() {
  local text pattern="\"$2\"[[:space:]]*:[[:space:]]*([0-9]+)"
  [ -f "$1" ] && [[ $1 != *.rec ]] && text=$(<"$1") && [[ $text =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# The first argument is a manifest or a description. If it is an option (--help, for example), the stage judges it.
need_manifest() {
  [ $# -gt 0 ] || fail "give the description of a data set or the manifest.json of a stage, then the stage's options"
  [[ $1 == -* || -f $1 || -f $1/manifest.json ]] || fail "no such file: $1 (seen from $PWD)"
}
# A file of MXNet's records stands for a description.
is_description() { [[ $1 == *.rec || $(json_text "$1" schema) == packhorse/dataset/* ]]; }

# has_option OPTIONS ARGUMENTS...: whether one of the OPTIONS ("--help|-h") is among the arguments.
has_option() {
  local options="|$1|" word
  shift
  for word in "$@"; do
    [[ $options != *"|${word%%=*}|"* ]] || return 0
  done
  return 1
}

# ---- How ranks are started ------------------------------------------------------------------------------------------
nodes=${SLURM_JOB_NUM_NODES:-1}
# A container without /sys does not know its sockets. One is then a safe guess.
sockets=$({ lscpu -p=SOCKET 2>/dev/null || true; } | awk '!/^#/ && !seen[$0]++ {count++} END {print (count > 0 ? count : 1)}')

# gpus_of_a_node: SLURM's answer; without SLURM, those that this process sees if the executables can use them.
gpus_of_a_node() {
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    echo "${SLURM_GPUS_ON_NODE:-0}"
  elif [ ! -e "$bin/../lib/packhorse/packhorse-cuda.so" ]; then
    echo 0
  elif [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true
  else
    { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU ' || true
  fi
}
gpus=$(gpus_of_a_node)

# The tasks of SLURM. Without them PACKHORSE_RANKS, then one rank for each GPU, then one for each CPU socket.
ranks=${SLURM_NTASKS:-${PACKHORSE_RANKS:-$((nodes * (gpus > 0 ? gpus : sockets)))}}

# The shared-memory store of PMIx can crash across nodes. Its plain store does not.
export PMIX_MCA_gds=hash
# OpenMPI asks root twice. root runs jobs only in a container or a test; other users do not get these variables.
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# The command before a stage of many ranks. For one rank it is empty: that rank starts no MPI at all.
launcher=()
set_launcher() {
  launcher=()
  [ "$ranks" -gt 1 ] || return 0
  if [ -n "${PACKHORSE_LAUNCHER:-}" ]; then
    read -ra launcher <<<"$PACKHORSE_LAUNCHER"
    return
  fi
  command -v mpirun >/dev/null || fail "mpirun is not in PATH (load the site's MPI module, or set PACKHORSE_LAUNCHER)"
  # With one rank for each socket, each rank stays close to the memory of its socket. With any other number, the ranks
  # share the cores among themselves.
  local a_node=$(((ranks + nodes - 1) / nodes)) version
  local a_socket=$((sockets > 1 && ranks == nodes * sockets))
  version=$(mpirun --version 2>&1) || true
  case $version/$a_socket in
    # Hydra: MPICH's launcher, and Intel's
    *HYDRA*/1 | *Intel*/1) launcher=(mpirun -np "$ranks" -ppn "$a_node" -bind-to socket) ;;
    *HYDRA*/0 | *Intel*/0) launcher=(mpirun -np "$ranks" -ppn "$a_node" -bind-to none) ;;
    */1) launcher=(mpirun -np "$ranks" --map-by "ppr:1:socket" --bind-to socket) ;;
    */0) launcher=(mpirun -np "$ranks" --map-by "ppr:$a_node:node" --bind-to none --oversubscribe) ;;
  esac
}
set_launcher

# ---- Running a stage ------------------------------------------------------------------------------------------------
# run_one STAGE ARGUMENTS...: as one process.
run_one() {
  local stage=$1
  shift
  "$bin/packhorse-$stage" "$@"
}

# stage_folder STAGE MANIFEST [OPTIONS...]: the folder that the stage would write to. Only the stage knows its rule.
stage_folder() {
  local stage=$1
  shift
  run_one "$stage" --print-out "$@"
}

stop_signal=''
# A stop request becomes USR1 for the ranks. mpirun passes USR1 on, but on TERM it would kill them within a second. The
# ranks agree on a step, write a checkpoint and end with code 75.
pass_on() {
  stop_signal=$1
  say "asked to stop (SIG$1): the ranks finish their step and write a checkpoint"
  [ -z "${child:-}" ] || kill -USR1 "$child" 2>/dev/null || true
}

# run_ranks STAGE ARGUMENTS...: as all ranks. It passes signals on to them.
run_ranks() {
  local stage=$1 code=0
  shift
  say "$stage: $ranks rank(s) on $nodes node(s)"
  # Ranks on one machine need no route over a network. OpenMPI 5 would warn that the kernel has none from it to itself.
  [ "$nodes" -gt 1 ] || export OMPI_MCA_reachable=${OMPI_MCA_reachable:-weighted}
  "${launcher[@]}" "$bin/packhorse-$stage" "$@" &
  child=$!
  # If a trapped signal arrives, wait returns early with a code above 128, and the child may still run.
  while :; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  return "$code"
}

# Only for a job whose stage can stop and continue later. For the others, SLURM's own behaviour is right.
stop_on_request() {
  # Ctrl-C reaches every process of the terminal's job; the prompt must wait for the checkpoint.
  trap 'pass_on INT' INT
  trap 'pass_on USR1' USR1
  trap 'pass_on TERM' TERM
}

# check_stage CODE: ends the job unless the stage succeeded. A stage that stopped on request can continue later: if SLURM
# asked (time limit, or the site), this job goes back into the queue.
check_stage() {
  local code=$1
  [ "$code" -ne 0 ] || return 0
  [ "$code" -eq 75 ] || [ -n "$stop_signal" ] || exit "$code"
  if [ -n "${SLURM_JOB_ID:-}" ] && [ "$stop_signal" != TERM ]; then
    say "stopped; job $SLURM_JOB_ID is queued again and continues from what is done"
    trap 'exit 75' TERM # that is how SLURM ends this script, and no request of anybody's
    scontrol requeue "$SLURM_JOB_ID" && sleep 60 # SLURM ends this script. It must not end by itself before that.
    fail "SLURM did not requeue the job; submit it again, and it continues from what is done"
  fi
  say "stopped; the same command continues from what is done"
  exit 75
}
