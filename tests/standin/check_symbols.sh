#!/usr/bin/env bash
# tests/standin/check_symbols.sh OUT: the real libraries have every function that the stand-ins in OUT have under a name of
# CUDA's or NCCL's, with the same version; and the stand-ins have what the plug-ins in OUT (lib*plugin.so) need. So what
# runs with these can be loaded with those. CUDA: where the real libraries are.
set -euo pipefail
out=$1
cuda=${CUDA:-$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")}
failed=0

# "VERSION NAME" of each function that the object has (in a section) or needs (*UND*).
has() { objdump -T "$1" | awk '$0 !~ /\*UND\*/ && NF > 5 { print $(NF - 1), $NF }' | tr -d '()' | sort -u; }
needs() { objdump -T "$1" | awk '/\*UND\*/ { print $(NF - 1), $NF }' | tr -d '()' | sort -u; }

# LIBRARY PATTERN: a stand-in against the real one.
compare() {
  local real extra
  real=$(find -L "$cuda"/lib* -maxdepth 1 -name "$1" -print -quit 2>/dev/null)
  if [ -z "$real" ]; then
    echo "no real $1 under $cuda: not compared"
    return
  fi
  extra=$(comm -13 <(has "$real") <(has "$out/$1" | grep -E "$2"))
  if [ -n "$extra" ]; then
    printf 'the real %s has none of these:\n%s\n' "$1" "$extra"
    failed=1
  else
    echo "$1: $(has "$out/$1" | grep -cE "$2") functions, all in the real one"
  fi
}
compare libcudart.so.13 ' (__)?cuda'
compare libnccl.so.2 ' nccl'

for plugin in "$out"/lib*plugin.so; do
  missing=$(comm -23 <(needs "$plugin" | grep -E ' (__)?(cuda[A-Z]|nccl[A-Z])' | grep -v cudnn) \
    <(cat <(has "$out/libcudart.so.13") <(has "$out/libnccl.so.2") | sort -u))
  [ -z "$missing" ] && echo "$(basename "$plugin"): finds all that it needs" && continue
  printf '%s needs what the stand-ins do not have:\n%s\n' "$(basename "$plugin")" "$missing"
  failed=1
done
exit $failed
