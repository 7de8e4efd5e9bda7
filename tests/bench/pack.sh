#!/bin/bash
# Compares packing with MXNet's im2rec. Runs both in turn, several times, and prints the medians and their ratio,
# because other work on a shared machine can change any single figure.
#   bash tests/bench/pack.sh           needs network access once: photographs from Debian, MXNet from PyPI
#   PEERS=dir                          see tests/peers
#   PHOTOS=dir                         uses these images, a folder for each class, instead of making some
#   BENCH_IMAGES=2000 BENCH_ROUNDS=5   number of images, number of rounds
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
at=build/bench
rounds=${BENCH_ROUNDS:-5}
threads=$(nproc)
photos=${PHOTOS:-$at/photos}
python=$(tests/peers mxnet)
mkdir -p "$at"

if [ ! -d "$photos" ]; then
  echo "pack: making photographs in $photos"
  mkdir -p "$at/wallpapers"
  (cd "$at/wallpapers" && apt-get download plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds &&
    for package in *.deb; do dpkg -x "$package" .; done) >"$at/download.log" 2>&1 ||
    { tail -n 5 "$at/download.log" >&2; echo "pack: skipped, the photographs cannot be downloaded" >&2; exit 0; }
  "$python" tests/bench/make_photos.py "$at/wallpapers" "$photos.part" "${BENCH_IMAGES:-2000}" 2>"$at/photos.log"
  mv "$photos.part" "$photos"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tool=$("$python" -c 'import os, mxnet; print(os.path.join(os.path.dirname(mxnet.__file__), "tools", "im2rec.py"))')
"$python" "$tool" --list --recursive "$work/theirs" "$photos" >/dev/null
images=$(wc -l <"$work/theirs.lst")
printf '{"schema": "packhorse/dataset/2", "name": "photos", "train": {"source": "%s"}}' "$(realpath "$photos")" \
  >"$work/photos.json"
build/bin/packhorse-list "$work/photos.json" --out "$work/list" >/dev/null 2>&1
cat "$photos"/*/* >/dev/null # so that both read from memory

# seconds COMMAND...: how long the command takes.
seconds() {
  local start=$EPOCHREALTIME
  "$@" >/dev/null 2>&1
  echo "$EPOCHREALTIME $start" | awk '{print $1 - $2}'
}
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# compare NAME "OUR OPTIONS" "THEIR OPTIONS"
compare() {
  local ours=() theirs=() round a b
  for ((round = 0; round < rounds; ++round)); do
    rm -rf "$work/pack"
    # shellcheck disable=SC2086 # options are words
    ours+=("$(seconds build/bin/packhorse-pack "$work/list/manifest.json" --out "$work/pack" --threads "$threads" $2)")
    # shellcheck disable=SC2086
    theirs+=("$(seconds "$python" "$tool" --num-thread "$threads" $3 "$work/theirs" "$photos")")
  done
  a=$(printf '%s\n' "${ours[@]}" | median)
  b=$(printf '%s\n' "${theirs[@]}" | median)
  echo "$images $a $b" | awk -v name="$1" '{printf "%-28s packhorse %6.0f images/s   im2rec %6.0f images/s   ratio %.2f\n",
    name, $1 / $2, $1 / $3, $3 / $2}'
}

echo "pack: $images photographs of $(($(du -sb "$photos" | cut -f1) / images)) bytes, $threads threads, medians of $rounds"
compare "pass-through" "--check header" "--pass-through"
compare "pass-through, all decoded" "--check decode" "--pass-through"
compare "short edge 256, quality 95" "--resize 256 --quality 95" "--resize 256 --quality 95"
