#!/usr/bin/env bash
# What reads bytes from outside, under libFuzzer and the address and undefined-behaviour sanitizers: each target for SECONDS
# seconds (60), from its seeds, the files of tests/fuzz/corpus, and what former runs found (build/fuzz/found).
#   tests/fuzz/run.sh [TARGET...]
# Needs clang++ with its runtime libraries; without them it says so and skips. An input that crashes, hangs for 20 s or takes
# 2 GB is kept in build/fuzz/findings. Ends with "fuzz: N passed, N failed".
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
seconds=${SECONDS_EACH:-60}
build=build/fuzz
sanitize=-fsanitize=address,undefined
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++ -x c++ -fsanitize=fuzzer,address -o /dev/null - 2>/dev/null; then
  echo "fuzz: skipped: clang++ with libFuzzer is not installed (clang, libclang-rt-dev)"
  exit 0
fi
CXXFLAGS="$sanitize -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined" LDFLAGS=$sanitize \
  make BUILD="$build" CXX=clang++ OPTIMISE=-O1 GPU=0 "$build/tests/fuzz/fuzzer"
fuzzer=$PWD/$build/tests/fuzz/fuzzer
targets=("$@")
if [ $# -eq 0 ]; then
  mapfile -t targets < <(PACKHORSE_FUZZ='' "$fuzzer" 2>&1 | sed -n 's/.*use one of: //p' | tr -d ' ' | tr ',' '\n')
fi
passed=0 failed=0
mkdir -p "$build/findings"
for target in "${targets[@]}"; do
  export PACKHORSE_FUZZ=$target
  found=$build/found/$target
  mkdir -p "$found" "tests/fuzz/corpus/$target"
  "$fuzzer" SEEDS "$build/seeds/$target"
  if "$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$build/findings/$target-" \
    -print_final_stats=1 "$found" "$build/seeds/$target" "tests/fuzz/corpus/$target" >"$build/$target.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log") inputs"
  else
    failed=$((failed + 1))
    echo "FAILED  $target: $build/$target.log"
    grep -m 3 -E 'ERROR|runtime error|SUMMARY' "$build/$target.log" || tail -n 5 "$build/$target.log"
  fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
