#!/usr/bin/env bash
# PyTorch as referee: for each network, the same weights and images give the same logits, losses and gradients, and ten
# steps of SGD give the same result. tests/peers says where PyTorch comes from.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(tests/peers torch)
make -j2 build/tests/interop/dump_step
folder=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-interop.XXXXXX")
trap 'rm -rf "$folder"' EXIT
while read -r network size classes batch; do
  build/tests/interop/dump_step "$network" "$size" "$classes" "$batch" "$folder/$network.h5"
done <<END
inception-bn-small 28 10 8
inception-bn 64 100 8
inception-bn-21k 64 100 8
resnet-50 64 100 8
END
"$python" tests/interop/torch_referee.py "$folder"/*.h5
