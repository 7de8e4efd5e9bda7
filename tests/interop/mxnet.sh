#!/bin/bash
# MXNet as referee: checks our shards, and that we read its own. tests/peers says where MXNet comes from.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
python=$(tests/peers mxnet)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" tests/interop/mxnet_referee.py build/bin "$scratch"
