#!/usr/bin/env bash
# Builds and tests a fresh clone of this checkout on a bare Debian of another release, as its users would: in a folder
# that holds that release and git, make and g++, nothing else.
#   tests/elsewhere.sh [SUITE] [PART...]
# SUITE: bookworm, trixie, or another that debootstrap knows. Without it: the other of Debian 12 and 13.
# PARTS, all of them if none is named:
#   unit    make deps; the unit tests of the rooms
#   root    make demo, make test
#   user    the same as an ordinary user, after an administrator ran the one command that make printed; then this
#           user's own images through the pipeline, installed
#   lint    make lint
#   same    lists and shards are those of this machine, byte for byte; each of the two continues and evaluates the
#           other's training
# The folder is build/elsewhere/SUITE. KEEP=1 keeps it, and uses one that is there. Only what is committed is cloned.
# Needs root, debootstrap and a mirror of Debian (apt's own, or MIRROR); without them it says so and skips.
# Ends with "elsewhere: N passed, N failed, N skipped".
# shellcheck disable=SC2016,SC2317  # variables belong to the shells inside; check() calls most of the functions
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
project=$PWD
# shellcheck source=tests/support/bare_debian.sh
. tests/support/bare_debian.sh

parts=(unit root user lint same)
other_release() { if grep -qs '^VERSION_CODENAME=trixie' /etc/os-release; then echo bookworm; else echo trixie; fi; }
suite=${1:-$(other_release)}
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || parts=("$@")
for part in "${parts[@]}"; do
  case $part in
    unit | root | user | lint | same) ;;
    *) echo "error: there is no part '$part'; the parts are unit, root, user, lint and same" >&2 && exit 2 ;;
  esac
done

passed=0 failed=0 skipped=0
reason=$(bare_debian_missing)
if [ -n "$reason" ]; then
  echo "skipped: $suite: $reason"
  echo "elsewhere: 0 passed, 0 failed, ${#parts[@]} skipped"
  exit 0
fi

home=$project/build/elsewhere
folder=$home/$suite
logs=$home/$suite.logs
mkdir -p "$logs"
[ -n "${KEEP:-}" ] || trap 'rm -rf --one-file-system "$folder"' EXIT

# check NAME COMMAND...: what it prints goes to a log. A failure shows the log's end.
check() {
  local name=$1 start=$SECONDS
  shift
  if "$@" >"$logs/$name.log" 2>&1; then
    passed=$((passed + 1))
    printf '  %-28s ok      %4d s  %s\n' "$suite: $name" $((SECONDS - start)) \
      "$(grep -hE '^[0-9]+ passed, [0-9]+ failed|^lint: ' "$logs/$name.log" | tail -n 1)"
  else
    failed=$((failed + 1))
    printf '  %-28s FAILED  %4d s  (%s)\n' "$suite: $name" $((SECONDS - start)) "$logs/$name.log"
    tail -n 40 "$logs/$name.log"
    return 1
  fi
}
# as USER COMMAND: in this user's clone.
as() { inside "$folder" "$1" bash -euc "cd packhorse; $2"; }

clone_for() {
  local user=$1 user_home
  user_home=$(inside "$folder" "$user" pwd)
  rm -rf "$folder$user_home/packhorse"
  git -c safe.directory='*' clone --quiet --no-hardlinks "file://$project" "$folder$user_home/packhorse"
  inside "$folder" root chown -R "$user:" "$user_home/packhorse"
}

bare_machine() {
  [ -n "${KEEP:-}" ] && [ -d "$folder" ] || make_bare_debian "$suite" "$folder" || return 1
  inside "$folder" root bash -euc 'apt-get update; apt-get install -y --no-install-recommends git make g++
    id user >/dev/null 2>&1 || useradd --create-home --shell /bin/bash user' || return 1
  clone_for root && clone_for user
}

# ---- The parts ------------------------------------------------------------------------------------------------------
part_unit() { check unit as root 'make test-rooms'; }

part_root() {
  check demo-as-root as root 'make demo' || true
  check test-as-root as root 'make test' || true
}

# What an ordinary user meets on a machine that lacks the packages: one command, which an administrator runs as it is.
told_what_to_ask_for() {
  local target=$1 asked code=0
  as user "make $target" >"$logs/asked.out" 2>&1 || code=$?
  cat "$logs/asked.out"
  [ "$code" -ne 0 ] || { echo "make $target ended with code 0 on a machine without packages" && return 1; }
  asked=$(grep -E '^ +sudo ' "$logs/asked.out")
  [ "$(wc -l <<<"$asked")" -eq 1 ] || { echo "make $target printed not one command but: $asked" && return 1; }
  inside "$folder" root bash -euc "sudo() { \"\$@\"; }; $asked"
}
# The packages that the parts before installed are removed again: this user's machine has none.
forget_packages() {
  inside "$folder" root bash -euc 'apt-get purge -y --auto-remove "lib*-dev" openmpi-bin pkg-config pkgconf hdf5-tools \
    gnuplot-nox wordnet-base dataset-fashion-mnist slurm-wlm munge clang-tidy clang-format shellcheck
    apt-get install -y --no-install-recommends git make g++'
}
own_images() {
  as user 'make PREFIX="$HOME/installed" install
    images=$HOME/photos && mkdir -p "$images"/{trouser,bag}
    build/bin/packhorse-demo-data "$HOME/data" --train-per-class 60 --validation-per-class 10
    mkdir "$HOME/tars" && tar -C "$HOME/tars" -xf "$HOME/data/train.tar"
    set -- "$HOME"/tars/*.tar
    tar -C "$images/trouser" -xf "$1" && tar -C "$images/bag" -xf "$2"
    mv "$HOME/installed" "$HOME/moved"
    mkdir "$HOME/work" && cd "$HOME/work"
    cat >photos.json <<END
{"schema": "packhorse/dataset/2", "name": "photos", "train": {"source": "$images"}, "validation": {"fraction": 0.1},
 "stages": {"pack": {"shards": 2},
            "train": {"network": "inception-bn-small", "image-size": 28, "global-batch": 20, "epochs": 2}}}
END
    "$HOME"/moved/share/packhorse/jobs/pipeline.sh photos.json --local
    grep -q "\"packed\": 120" runs/photos/pack/manifest.json
    h5dump -H runs/photos/export/metrics.h5 | grep -q DATASET
    bash "$HOME"/moved/share/packhorse/jobs/predict.sbatch runs/photos/train/manifest.json "$images"/bag/*1.JPEG'
}
part_user() {
  inside "$folder" root bash -euc 'rm -rf ~user/{installed,moved,photos,tars,data,work}'
  forget_packages >"$logs/forget.log" 2>&1
  check told-what-to-ask-for told_what_to_ask_for demo || return 0
  check demo-as-user as user 'make demo' || true
  check own-images own_images || true
  check told-what-tests-need told_what_to_ask_for test || return 0
  check test-as-user as user 'make test' || true
}

part_lint() { check lint as root 'make lint' || true; }

part_same() { check same tests/support/elsewhere_same.sh "$suite" "$folder" || true; }

# What nobody can build on says nothing about this checkout: the mirror, or this machine's disk.
if ! bare_machine >"$logs/bare-machine.log" 2>&1; then
  tail -n 20 "$logs/bare-machine.log"
  echo "skipped: $suite: no bare machine could be made ($logs/bare-machine.log)"
  skipped=${#parts[@]}
else
  for part in "${parts[@]}"; do
    case $part in
      unit) part_unit ;;
      root) part_root ;;
      user) part_user ;;
      lint) part_lint ;;
      same) part_same ;;
    esac || true
  done
fi
echo "elsewhere: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
