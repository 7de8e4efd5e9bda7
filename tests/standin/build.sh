#!/usr/bin/env bash
# tests/standin/build.sh OUT: the stand-ins and what tests them, in a folder. CUDA: where nvcc is installed.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
cuda=${CUDA:-$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")}
cxx=${CXX:-g++}
flags="-std=c++20 -O2 -g1 -fPIC -Wall -Wextra -Wpedantic -Wshadow -I.. -I../../lib -isystem $cuda/include"

compile() { $cxx $flags -c "$1.cc" -o "$out/$1.o"; }
for source in fibres symbols kernel_table memory nodes runtime cudart kernels; do compile $source; done
objects=$(printf "$out/%s.o " fibres symbols kernel_table memory nodes runtime cudart kernels)
$cxx -shared $objects -Wl,-soname,libcudart.so.13 -Wl,--version-script=cudart.map -o "$out/libcudart.so.13" -ldl -pthread
