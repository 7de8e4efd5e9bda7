#!/usr/bin/env bash
# One build runs on every x86-64-v2 and picks its kernels when it starts: runs what is built here on older processors,
# which qemu-x86_64 plays, and compares the results with those of this machine. A few minutes; nothing is built.
#   tests/campaign/processors.sh
# An instruction that the processor does not have ends a program with SIGILL. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(uname -m)" != x86_64 ] || ! command -v qemu-x86_64 >/dev/null; then
  echo "processors: skipped: it needs an x86-64 machine and qemu-x86_64 (Debian's qemu-user)"
  exit 0
fi
bin=$PWD/build/bin tests=$PWD/build/tests
work=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-processors.XXXXXX")
trap 'rm -rf "$work"' EXIT
# A stage starts itself again unless this is set, and then it would run on this machine's processor.
export OMP_WAIT_POLICY=passive
passed=0 failed=0

# check NAME COMMAND...: what it prints is shown only if it fails.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1)) && echo "  ok      $name"
  else
    failed=$((failed + 1)) && echo "  FAILED  $name: $*" && tail -n 20 "$work/log"
  fi
}
# on PROCESSOR COMMAND...: "native" is this machine.
on() {
  local processor=$1 command=$2
  shift 2
  if [ "$processor" = native ]; then "$command" "$@"; else qemu-x86_64 -cpu "$processor" "$command" "$@"; fi
}

# Ten images a step: at half an image a second.
train_options=(--epochs 1 --global-batch 10 --precision f32 --threads 1 --workers 1 --log-interval 1)
"$bin/packhorse-demo-data" "$work/data" --train-per-class 2 --validation-per-class 1 >"$work/log" 2>&1
export DEMO_DATA=$work/data
"$bin/packhorse-list" data_manifests/demo.json --out "$work/list" >"$work/log" 2>&1
run_stages() { # PROCESSOR: pack, with smaller images, and train
  local to=$work/$1
  check "$1: pack" on "$1" "$bin/packhorse-pack" "$work/list/manifest.json" --out "$to/pack" --shards 2 --threads 1 --resize 20
  check "$1: verify" on "$1" "$bin/packhorse-verify" "$to/pack/manifest.json" --decode
  check "$1: train" on "$1" "$bin/packhorse-train" "$work/native/pack/manifest.json" --out "$to/train" "${train_options[@]}"
  cp "$work/log" "$to/train.log"
}
# losses PROCESSOR: of each step, then of the validation.
losses() { sed -nE 's/^.*"kind":"(step|validation)".*"loss":([0-9.e+-]+).*/\2/p' "$work/$1/train/metrics.jsonl"; }

same_shards() { # PROCESSOR
  local file
  for file in "$work"/native/pack/*.{rec,idx}; do cmp "$file" "$work/$1/pack/$(basename "$file")" || return 1; done
}
# Both start from the same weights. A sum of n products in f32, taken in another order, differs by about sqrt(n) * 2^-24
# of its terms; the longest sums here have some 3,000 terms and 13 layers follow each other: 13 * 55 * 6e-8 = 4e-5. The
# steps after the first start from weights that differ as much, so four times that is allowed.
same_losses() { # PROCESSOR
  paste <(losses native) <(losses "$1") | awk '
    {difference = ($1 - $2) / $1; if (difference < 0) difference = -difference; print $1, $2, difference}
    NF != 2 || difference > 1.6e-4 {bad = 1}
    END {exit bad || NR != 3}'
}

run_stages native
for processor in Nehalem Haswell; do
  case $processor in
    Nehalem) says='cpu backend: kernels x86-64, oneDNN [0-9.]+ sse41' ;;
    Haswell) says='cpu backend: kernels x86-64-v3, oneDNN [0-9.]+ avx2' ;;
  esac
  check "$processor: crc32c" on "$processor" "$tests/base_test" --gtest_filter='Crc32c.*'
  check "$processor: resampling" on "$processor" "$tests/image_test" --gtest_filter='Resample.*'
  check "$processor: kernels" on "$processor" "$tests/ops_test" --gtest_filter='Kernels.Run*'
  run_stages "$processor"
  check "$processor: shards are those of this machine" same_shards "$processor"
  check "$processor: losses are those of this machine" same_losses "$processor"
  check "$processor: the log says which kernels run" grep -qE "$says" "$work/$processor/train.log"
done
echo "processors: $passed passed, $failed failed, $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
