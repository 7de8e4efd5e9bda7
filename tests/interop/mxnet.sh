#!/bin/bash
# MXNet as referee of the shards; tests/peers says where it comes from.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
python=$(tests/peers mxnet)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" tests/interop/mxnet_referee.py build/bin "$scratch"
