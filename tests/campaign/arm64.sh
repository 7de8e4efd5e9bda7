#!/usr/bin/env bash
# arm64 (Grace, Graviton): builds the stages and the unit tests of this checkout with Debian's cross compiler and its
# arm64 libraries, and runs the tests of the rooms with qemu-aarch64. In a folder that holds a Debian of its own, so
# this machine stays as it is; only what is committed is built.
#   tests/campaign/arm64.sh [SUITE]
# The folder is build/elsewhere/arm64. KEEP=1 keeps it, and uses one that is there. Needs root, debootstrap and a mirror
# of Debian (apt's own, or MIRROR); without them it says so and skips. Ends with "N passed, N failed".
# shellcheck disable=SC2016  # variables belong to the shells inside
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
project=$PWD
# shellcheck source=tests/support/bare_debian.sh
. tests/support/bare_debian.sh
suite=${1:-trixie}
reason=$(bare_debian_missing)
if [ -n "$reason" ]; then
  echo "arm64: skipped: $reason"
  exit 0
fi
folder=$project/build/elsewhere/arm64
mkdir -p "${folder%/*}"
[ -n "${KEEP:-}" ] || trap 'rm -rf --one-file-system "$folder"' EXIT

# quiet NAME COMMAND...: what it prints goes to a log, whose end is shown if it fails.
quiet() {
  local log=$folder.$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2 && echo "error: arm64: failed; the whole log is $log" >&2 && return 1; }
}

# Programs of the build machine (some tests ask them and WordNet), and for arm64 only what is linked. libopenmpi-dev wants a Fortran compiler for arm64, in
# whose place the cross compiler would go: it is only unpacked.
tools=(make git pkg-config g++-aarch64-linux-gnu qemu-user libcli11-dev nlohmann-json3-dev hdf5-tools wordnet-base
  gnuplot-nox)
libraries=(libjpeg62-turbo-dev libpng-dev libhdf5-dev libtbb-dev libdnnl-dev libarchive-dev libfmt-dev zlib1g-dev
  libtomlplusplus-dev libgtest-dev libopenmpi40)
machine() {
  make_bare_debian "$suite" "$folder"
  inside "$folder" root bash -euc 'dpkg --add-architecture arm64; apt-get update
    apt-get install -y --no-install-recommends "$@"
    cd /var/tmp && apt-get download libopenmpi-dev:arm64 && dpkg -x libopenmpi-dev_*_arm64.deb /' \
    bash "${tools[@]}" "${libraries[@]/%/:arm64}"
}
if [ -z "${KEEP:-}" ] || [ ! -d "$folder" ]; then quiet machine machine; fi

clone() {
  rm -rf "$folder/root/packhorse.new"
  git -c safe.directory='*' clone --quiet --no-hardlinks "file://$project" "$folder/root/packhorse.new"
  # Files that are as they were keep their times, and what was compiled from them.
  mkdir -p "$folder/root/packhorse"
  cp -a "$folder/root/packhorse.new/.git" "$folder/root/packhorse/.git.new"
  rm -rf "$folder/root/packhorse/.git" "$folder/root/packhorse.new"
  mv "$folder/root/packhorse/.git.new" "$folder/root/packhorse/.git"
  inside "$folder" root git -C packhorse reset --quiet --hard
}
quiet clone clone

# cross TARGET...: make, for arm64
cross() {
  inside "$folder" root bash -euc 'cd packhorse
    export PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
    make -k -j"$(nproc)" CXX=aarch64-linux-gnu-g++ AR=aarch64-linux-gnu-ar "$@"' bash "$@"
}
mapfile -t rooms < <(make -s print-rooms | sed -E 's/^[0-9] ([a-z0-9]+):.*/\1/')
binaries=()
for room in "${rooms[@]}"; do
  compgen -G "tests/$room/*_test.cc" >/dev/null && binaries+=("build/tests/${room}_test")
done
quiet build cross stages "${binaries[@]}"
echo "  ok      arm64: the stages and ${#binaries[@]} test binaries are built"

# Each program by qemu-aarch64: the kernel knows no arm64 program, so tests that start one, or mpirun, are left out.
passed=1 failed=0
run() { # ROOM [FILTER]
  local log=$folder.$1.log ok bad code=0 start=$SECONDS
  inside "$folder" root bash -euc 'cd packhorse; qemu-aarch64 "build/tests/$1_test" --gtest_color=no "--gtest_filter=$2"' \
    bash "$1" "${2:-*}" >"$log" 2>&1 || code=$?
  ok=$(grep -c '^\[       OK \]' "$log" || true)
  bad=$(grep -cE '^\[  FAILED  \] .*\([0-9]+ ms\)$' "$log" || true)
  [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  [ "$ok" -gt 0 ] || bad=1
  printf '  %-7s arm64: %-10s %4d passed %3d failed %4d s\n' "$([ "$bad" -eq 0 ] && echo ok || echo FAILED)" "$1" "$ok" \
    "$bad" $((SECONDS - start))
  [ "$bad" -eq 0 ] || grep -E 'Failure|FAILED|rror' "$log" | tail -n 20
  passed=$((passed + ok)) failed=$((failed + bad))
}
for room in "${rooms[@]}"; do
  compgen -G "tests/$room/*_test.cc" >/dev/null || continue
  case $room in
    step) run step '-TrainerTest.*:Trainer.RanksAgree' ;; # they train networks with oneDNN: hours in qemu
    report) run report '-Plot.AMissing*' ;; # in qemu, who starts a program does not learn that it is missing
    train) run train '-AgreedPrecision.*' ;;
    ops) run ops '*reference*' ;;
    ranks) run "$room" 'World.ASingle*' ;;
    comm) run "$room" 'Agreement.OfOneRank*:HostAllreduce.OneRank*:HostAllreduce.OfOneRank*' ;;
    *) run "$room" ;;
  esac
done
echo "arm64: $passed passed, $failed failed, $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
