#!/usr/bin/env bash
# tests/standin/build.sh OUT: the stand-ins, and the test of them, in a folder. CUDA: where nvcc is installed.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
cuda=${CUDA:-$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")}
cxx=${CXX:-g++}
flags="-std=c++20 -O2 -g1 -fPIC -Wall -Wextra -Wpedantic -Wshadow -I.. -isystem $cuda/include -DSTANDIN_BUILD=\"$out\""

# What is older than its source, or than any header.
compile() {
  local newest
  newest=$(ls -t "$1.cc" ./*.h ./*.cuh | head -1)
  [ "$out/$1.o" -nt "$newest" ] || $cxx $flags -c "$1.cc" -o "$out/$1.o"
}
objects() { for one in "$@"; do compile "$one" || exit 1; echo "$out/$one.o"; done; }

parts=$(objects fibres symbols kernel_table memory nodes runtime cudart kernels)
$cxx -shared $parts -Wl,-soname,libcudart.so.13 -Wl,--version-script=cudart.map -o "$out/libcudart.so.13" -ldl -pthread

parts=$(objects shared_ranks nccl)
$cxx -shared $parts -Wl,-soname,libnccl.so.2 -Wl,--version-script=nccl.map -o "$out/libnccl.so.2" \
  "$out/libcudart.so.13" -lrt -pthread

nvcc -std=c++20 -O2 -arch=sm_90 -cudart shared -Xcompiler -fPIC -shared -I.. test_plugin.cu -o "$out/libtest_plugin.so"
parts=$(objects test_kernels kernels_test rules_test orders_test nccl_test)
$cxx $parts -o "$out/standin_test" "$out/libcudart.so.13" "$out/libnccl.so.2" "-Wl,-rpath,$out" -lgtest -lgtest_main -pthread -ldl
