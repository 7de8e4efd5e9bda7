#!/usr/bin/env bash
# Whether this build does what another revision's build does, to the last bit, on a part of the demo's data. It is for
# changes that must not change behaviour: run it before they are merged.
#
#     make same-as REV=main
#
# The revision is built in build/same-as/SHA, a git worktree that stays, so the next comparison starts at once. Both
# builds list, pack, train, evaluate and predict in folders of the same names below build/same-as/runs, which stay
# too. Each line says what is the same, or where it first differs: this build's value, then the revision's. The exit
# code is 0 only if nothing differs.
set -euo pipefail
project=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd -P)
compare_tool=$project/build/tests/same_as/compare
home=$project/build/same-as
runs=$home/runs

fail() { printf 'error: %s\n  where: %s\n  try: %s\n' "$1" "$2" "$3" >&2; exit 1; }

# ---- The two builds -------------------------------------------------------------------------------------------------
[ -n "${1:-}" ] || fail "no revision was given" "the command line" "make same-as REV=main"
[ -x "$compare_tool" ] || fail "the tool that compares is not built" "$compare_tool" "make same-as REV=$1"
sha=$(git -C "$project" rev-parse --verify --quiet "$1^{commit}") ||
  fail "git does not know this revision" "$1" "git fetch, or a revision that git log shows"
tree=$home/$sha
# --force: if build/ was removed, git still lists the worktree.
[ -e "$tree/.git" ] || git -C "$project" worktree add --quiet --force --detach "$tree" "$sha"
git -C "$tree" reset --quiet --hard "$sha"
printf 'builds %s\n' "$(git -C "$tree" log -1 --format='%h %s')"
# The make that started this script must not hand its flags and its job slots to another tree.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -C "$tree" -j"$(nproc)" stages
declare -A bin=([this]=$project/build/bin [that]=$tree/build/bin)
declare -A manifests=([this]=$project/data_manifests [that]=$tree/data_manifests)

# ---- What both are given --------------------------------------------------------------------------------------------
DEMO_DATA=$home/data
export DEMO_DATA
"${bin[this]}/packhorse-demo-data" "$DEMO_DATA" --train-per-class 300 --validation-per-class 50
images=()
for number in 1 2 3 4 5; do images+=("FashionMNIST_val_0000000$number.JPEG"); done
mkdir -p "$home/images"
tar -C "$home/images" -xf "$DEMO_DATA/validation.tar" "${images[@]}"

rm -rf "$runs"
for side in this that; do
  mkdir -p "$runs/$side"
  cp -r "${manifests[$side]}" "$runs/$side/data_manifests"
done

# ---- Running a stage of both ----------------------------------------------------------------------------------------
export PMIX_MCA_gds=hash # as in jobs/common.sh
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
same=0 different=0

finish() {
  printf '%d same, %d different\n' "$same" "$different"
  [ "$different" -eq 0 ] && [ "$same" -gt 0 ]
  exit
}
differs() {
  printf 'DIFFERS %s: %s\n' "$1" "$2"
  different=$((different + 1))
}

# option SIDE STAGE NAME|NAME...: the first of the names that the side's stage knows, as options come to be renamed.
option() {
  local help name names
  help=$("${bin[$1]}/packhorse-$2" --help)
  IFS='|' read -ra names <<<"$3"
  for name in "${names[@]}"; do
    if [[ $help =~ (^|[[:space:],])"$name"([[:space:],=]|$) ]]; then
      printf '%s' "$name"
      return
    fi
  done
  fail "packhorse-$2 has none of the options $3" "${bin[$1]}" "add the name that its --help shows to ${BASH_SOURCE[0]}"
}

# on SIDE LOG RANKS STAGE ARGUMENTS...: what it prints goes to LOG.out and LOG.err.
on() {
  local side=$1 log=$2 ranks=$3 stage=$4 word arguments=() launcher=()
  shift 4
  for word in "$@"; do
    [[ $word != --*\|* ]] || word=$(option "$side" "$stage" "$word") || exit 1
    arguments+=("$word")
  done
  [ "$ranks" -eq 1 ] || launcher=(mpirun -np "$ranks" --oversubscribe --bind-to none)
  (cd "$runs/$side" && "${launcher[@]}" "${bin[$side]}/packhorse-$stage" "${arguments[@]}") \
    >"$runs/$side/$log.out" 2>"$runs/$side/$log.err" </dev/null
}

# The first error that a side printed.
complaint() { grep -m 1 '^error' "$runs/$1/$2.err" || echo "no message, see $runs/$1/$2.err"; }

# both LABEL LOG RANKS STAGE ARGUMENTS...: false if there is nothing to compare; then it says so.
both() {
  local label=$1 log=$2 this=0 that=0
  shift
  on this "$@" || this=$?
  on that "$@" || that=$?
  [ "$this" -ne 0 ] || [ "$that" -ne 0 ] || return 0
  if [ "$this" -eq 0 ]; then
    differs "$label" "only the revision's build fails: $(complaint that "$log")"
  elif [ "$that" -eq 0 ]; then
    differs "$label" "only this build fails: $(complaint this "$log")"
  elif grep -q 'no AVX-512' "$runs/this/$log.err" && grep -q 'no AVX-512' "$runs/that/$log.err"; then
    printf 'skip    %s: %s\n' "$label" "$(complaint this "$log")"
  else
    fail "both builds fail: $(complaint this "$log")" "$runs/this/$log.err" "make demo, until it ends well"
  fi
  return 1
}

# alike LABEL PATTERN... [OBJECT@ATTRIBUTE...]: every file that the patterns find on either side.
alike() {
  local label=$1 pattern side found files=() attributes=()
  shift
  for pattern in "$@"; do
    if [[ $pattern == *@* ]]; then
      attributes+=("$pattern")
      continue
    fi
    mapfile -t found < <(for side in this that; do (cd "$runs/$side" && compgen -G "$pattern"); done | LC_ALL=C sort -u)
    # A pattern that finds nothing is handed on itself, to be missed by name.
    files+=("${found[@]:-$pattern}")
  done
  if "$compare_tool" "$label" "$runs/this" "$runs/that" "${files[@]}" "${attributes[@]}"; then
    same=$((same + 1))
  else
    different=$((different + 1))
  fi
}

# ---- The way through the pipeline -----------------------------------------------------------------------------------
both list list 1 list data_manifests/demo.json --out list || finish
alike list list/train.lst list/validation.lst list/classes.tsv
both pack pack 2 pack list/manifest.json --out pack --threads 1 || finish
alike pack 'pack/*.rec' 'pack/*.idx' pack/quarantine.tsv

# An epoch has 23 steps: the second one begins, and there are two checkpoints and two validations.
for precision in f32 bf16; do
  for ranks in 1 2; do
    label="train $precision $ranks rank$([ "$ranks" -eq 1 ] || echo s)"
    out=train-$precision-$ranks
    both "$label" "$out" "$ranks" train pack/manifest.json --out "$out" --precision "$precision" --limit-steps 26 \
      '--log-interval|--log-steps' 1 --threads 1 '--workers|--feed-threads' 1 || continue
    alike "$label, checkpoints" "$out/checkpoints/*.h5" @batches_taken @epoch
    alike "$label, journal" "$out/metrics.jsonl"
  done
done

if both evaluate evaluate 2 evaluate train-f32-1/manifest.json --out evaluate \
  --threads 1 '--workers|--feed-threads' 1; then
  alike evaluate evaluate/evaluation.h5 all@top1 all@top5 all@top20 all@loss
fi
if both predict predict 1 predict train-f32-1/manifest.json --json --threads 1 "${images[@]/#/$home/images/}"; then
  for side in this that; do mv "$runs/$side/predict.out" "$runs/$side/predict.json"; done
  alike predict predict.json
fi
finish
