#!/usr/bin/env bash
# tests/standin/build.sh OUT: the stand-ins, and the test of them, in a folder. CUDA: where nvcc is installed.
set -euo pipefail
out=$(mkdir -p "$1/alone" && cd "$1" && pwd)
cd "$(dirname "$0")"
cuda=${CUDA:-$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")}
cxx=${CXX:-g++}
flags=(-std=c++20 -O2 -g1 -fPIC -Wall -Wextra -Wpedantic -Wshadow -Wno-unknown-pragmas -I.. -isystem "$cuda/include"
  "-DSTANDIN_BUILD=\"$out\"" "-DSTANDIN_SOURCE=\"$PWD\"")

# objects SOURCE...: compiles what is older than its source, or than any header; ${parts[@]} are the objects.
objects() {
  parts=()
  for one in "$@"; do
    parts+=("$out/$one.o")
    [ -n "$(find "$out/$one.o" -newer "$one.cc" 2>/dev/null)" ] &&
      [ -z "$(find . \( -name '*.h' -o -name '*.cuh' \) -newer "$out/$one.o")" ] && continue
    "$cxx" "${flags[@]}" -c "$one.cc" -o "$out/$one.o"
  done
}

# runtime KERNELS LIBRARY
runtime() {
  objects fibres symbols kernel_table memory nodes runtime cudart "$1"
  "$cxx" -shared "${parts[@]}" -Wl,-soname,libcudart.so.13 -Wl,--version-script=cudart.map -o "$2" -ldl -pthread
}
runtime kernels "$out/libcudart.so.13"

objects shared_ranks nccl
"$cxx" -shared "${parts[@]}" -Wl,-soname,libnccl.so.2 -Wl,--version-script=nccl.map -o "$out/libnccl.so.2" \
  "$out/libcudart.so.13" -lrt -pthread

nvcc -std=c++20 -O2 -arch=sm_90 -cudart shared -Xcompiler -fPIC -shared -I.. test_plugin.cu -o "$out/libtest_plugin.so"

# The plug-in's kernels are in the test itself; and, for the plug-in alone, in a library as the real one is used.
objects test_kernels kernels_test rules_test orders_test nccl_test plugin_test
"$cxx" "${parts[@]}" -o "$out/standin_test" "$out/libcudart.so.13" "$out/libnccl.so.2" "-Wl,-rpath,$out" \
  -lgtest -lgtest_main -pthread -ldl
runtime test_kernels "$out/alone/libcudart.so.13"
objects open_plugin
"$cxx" "${parts[@]}" -o "$out/open_plugin" -ldl
