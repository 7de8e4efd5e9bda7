#!/usr/bin/env bash
# Compares training steps with PyTorch's. Runs both in turn, several times, and prints the ratio of the medians:
#   bash tests/bench/train.sh [NETWORK DTYPE CLASSES]     without arguments: the networks that RESULTS.md lists
#   ROUNDS=3 SECONDS_EACH=15 THREADS=N BATCH=32           number of rounds, length of each, threads (all), batch size
# tests/peers says where PyTorch comes from.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${ROUNDS:-3} each=${SECONDS_EACH:-15} threads=${THREADS:-$(nproc)} batch=${BATCH:-32}
python=$(tests/peers torch)
make -j2 build/tests/engine_bench
log=$(mktemp)
trap 'rm -f "$log"' EXIT

rate() { sed -E 's/.*: ([0-9.]+) images\/s.*/\1/' <<<"$1"; }
processor() { sed -E 's/.* ([0-9.]+) a processor second.*/\1/' <<<"$1"; }

problems() {
  if [ "$#" -eq 3 ]; then
    echo "$@"
    return
  fi
  printf '%s\n' "inception-bn-21k bf16 1000" "inception-bn-21k f32 1000" "inception-bn-21k bf16 21841" "resnet-50 bf16 1000"
}

while read -r network dtype classes; do
  : >"$log"
  for ((round = 0; round < rounds; ++round)); do
    ours=$(build/tests/engine_bench "$network" "$batch" "$dtype" "threads=$threads" "classes=$classes" "seconds=$each")
    theirs=$("$python" tests/bench/train_torch.py "$network" "$batch" "$dtype" "threads=$threads" "classes=$classes" "seconds=$each")
    echo "$ours"
    echo "$theirs"
    echo "$(rate "$ours") $(rate "$theirs") $(processor "$ours") $(processor "$theirs")" >>"$log"
  done
  awk -v what="$network, $dtype, $classes classes, batch $batch, $threads threads" '
    function median(values, n, i, j, t) {
      for (i = 2; i <= n; ++i) for (j = i; j > 1 && values[j] < values[j - 1]; --j) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
      return values[int((n + 1) / 2)]
    }
    { ours[NR] = $1; theirs[NR] = $2; p[NR] = $3; q[NR] = $4 }
    END {
      printf "ratio: %s: %.2f to %.2f images/s, %.2f times PyTorch; of processor time %.2f times\n", what, median(ours, NR),
             median(theirs, NR), median(ours, NR) / median(theirs, NR), median(p, NR) / median(q, NR)
    }' "$log"
done < <(problems "$@")
