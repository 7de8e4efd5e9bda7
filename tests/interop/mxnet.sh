#!/bin/bash
# MXNet as referee of the shards. Makes its virtual environment once, under build/interop/mxnet; PEERS=dir uses the one
# in dir/mxnet instead.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
at=${PEERS:-build/interop}/mxnet
if ! "$at/bin/python" -c 'import mxnet, cv2' 2>/dev/null; then
  echo "mxnet: installing MXNet 1.9.1 into $at"
  tests/deps python3-venv
  python3 -m venv "$at"
  # MXNet 1.9.1 needs a NumPy that still has np.bool, and OpenCV one that fits that NumPy.
  "$at/bin/pip" install -q 'numpy<1.24' mxnet==1.9.1 opencv-python-headless==4.8.1.78
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$at/bin/python" tests/interop/mxnet_referee.py build/bin "$scratch"
