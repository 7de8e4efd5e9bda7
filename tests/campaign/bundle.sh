#!/usr/bin/env bash
# What `make bundle` made, unpacked on a bare machine where stand-ins play CUDA, cuDNN, NCCL and the GPU: the check of a
# GPU runs whole there, at sizes that suit them. A folder that holds this release of Debian is the machine.
#   tests/campaign/bundle.sh
# Needs root, debootstrap and a mirror of Debian (apt's own, or MIRROR); without them it says so and skips. Ends with
# gpu-check's last line. KEEP=1 keeps the folder, build/elsewhere/bundle, and uses one that is there.
# shellcheck disable=SC2016  # variables belong to the shell inside
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
project=$PWD
# shellcheck source=tests/support/bare_debian.sh
. tests/support/bare_debian.sh
reason=$(bare_debian_missing)
tests/found-gpu --show | grep -q '^no CUDA' && reason="the GPU plug-in is not built here (make deps-gpu)"
if [ -n "$reason" ]; then
  echo "bundle: skipped: $reason"
  exit 0
fi
make bundle
make standins
folder=$project/build/elsewhere/bundle
mkdir -p "${folder%/*}"
[ -n "${KEEP:-}" ] || trap 'rm -rf --one-file-system "$folder"' EXIT
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
if [ -z "${KEEP:-}" ] || [ ! -d "$folder" ]; then make_bare_debian "$release" "$folder"; fi
home=$folder$(inside "$folder" root pwd)
rm -rf "${home:?}"/*
tar -xzf build/packhorse-gpu-check.tar.gz -C "$home"
cp -r build/standin tests/cuda_plans/signatures.txt "$home"
inside "$folder" root bash -euc 'export LD_LIBRARY_PATH=$PWD/standin TOY=1 PACKHORSE_STANDIN_DEVICES=1 PACKHORSE_STANDIN_CUDNN=$PWD/signatures.txt
  ! LD_LIBRARY_PATH= ldd packhorse-gpu-check/bin/packhorse-train | grep -q "libhdf5.*=> /" || { echo "this machine is not bare"; exit 1; }
  packhorse-gpu-check/gpu-check'
