#!/usr/bin/env bash
# tests/cuda_plans/write_tables.sh TOOLS: writes the lists and tables of this folder again. TOOLS: the folder of plans_tool
# and network_specs. Takes some minutes. The tables depend on cuDNN's version, the lists on the networks and fusions.
set -euo pipefail
tools=$(cd "$1" && pwd)
cd "$(dirname "$0")"
mkdir -p networks
"$tools/network_specs" resnet-50 224 1000 256 f16 > networks/resnet-50.txt
"$tools/network_specs" inception-bn-21k 224 21841 256 f16 > networks/inception-bn-21k.txt
"$tools/network_specs" inception-bn-small 28 10 32 f16 > networks/inception-bn-small.txt
cat networks/*.txt | awk '!seen[$0]++' | "$tools/plans_tool" h200.json > h200_plans.txt
# Kinds first: for other sizes, the stand-in takes a signature's first line.
{ "$tools/plans_tool" --classes; cat networks/inception-bn-small.txt; } | "$tools/plans_tool" --signatures h200.json > signatures.txt
