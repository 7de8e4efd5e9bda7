#!/usr/bin/env bash
# Builds everything with libraries of a prefix, as on a cluster, and runs it: copies of the packages' files, a parallel
# HDF5 among them, and a fresh copy of the sources. Takes as long as a build. Ends with "N passed, N failed".
#   tests/campaign/prefix.sh
# Without a mirror of Debian's packages it says so and passes: nothing was tried.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
packages=("libhdf5-${MPI:-openmpi}-dev" libdnnl-dev libtbb-dev libjpeg62-turbo-dev libpng-dev libarchive-dev libfmt-dev zlib1g-dev
  libcli11-dev nlohmann-json3-dev libtomlplusplus-dev)
if ! tests/build/prefix.sh "$work/prefix" "${packages[@]}"; then
  echo "campaign: no prefix: packages cannot be had here"
  exit 0
fi
mkdir "$work/tree"
tar -c --exclude=./build --exclude=./runs --exclude=./.git . | tar -x -C "$work/tree"
cd "$work/tree"
export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig CMAKE_PREFIX_PATH=$work/prefix
passed=0 failed=0
check() { # WORDS COMMAND...
  local words=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $words"
    tail -n 20 "$work/log"
  fi
}
# The make that started this must not hand its flags to another tree.
check "the stages are built" env -u WHY -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -j"$(nproc)" build/bin/packhorse-{demo-data,list,pack,train,evaluate,export}
unset LD_LIBRARY_PATH
loaded() { ldd build/bin/packhorse-"$1" | grep -qE "$2.* => $work/prefix/lib/"; }
for library in libhdf5 libdnnl libtbb libjpeg libfmt; do
  check "packhorse-train loads the prefix's $library" loaded train "$library"
done
for library in libpng libarchive; do
  check "packhorse-pack loads the prefix's $library" loaded pack "$library"
done
check "no library is missing" bash -c '! ldd build/bin/* | grep "not found"'
DEMO_DATA=$work/data
export DEMO_DATA PMIX_MCA_gds=hash OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
check "data are made" build/bin/packhorse-demo-data "$DEMO_DATA" --train-per-class 50 --validation-per-class 10
check "list" build/bin/packhorse-list data_manifests/demo.json --out "$work/list"
check "pack on two ranks" mpirun -np 2 --oversubscribe --bind-to none build/bin/packhorse-pack "$work/list/manifest.json" --out "$work/pack"
check "train on two ranks" mpirun -np 2 --oversubscribe --bind-to none build/bin/packhorse-train "$work/pack/manifest.json" \
  --out "$work/train" --epochs 1 --global-batch 100 --threads 1
check "evaluate" build/bin/packhorse-evaluate "$work/train/manifest.json" --out "$work/evaluate"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
