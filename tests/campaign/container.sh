#!/usr/bin/env bash
# Builds the Dockerfile with buildah, on a base that debootstrap makes, and runs the job files in the image on the demo's
# data. No daemon and no image registry is asked: only Debian's mirror, the one that apt uses here.
#   tests/campaign/container.sh [RELEASE]      the base: trixie (Debian 13), bookworm (Debian 12)
# It takes a build and a debootstrap, and about 4 GB below $TMPDIR. Ends with "N passed, N failed", or says why it is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
project=$PWD
# shellcheck source=tests/support/bare_debian.sh
. tests/support/bare_debian.sh

release=${1:-trixie}
data=/usr/share/datasets
limit=300000000 # bytes of the image

skipped() {
  echo "container: skipped: $1"
  exit 0
}
reason=$(bare_debian_missing)
[ -z "$reason" ] || skipped "$reason"
command -v buildah >/dev/null || skipped "buildah is not installed"

work=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-container.XXXXXX")
chmod 755 "$work"
in_store() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/state" "$@"; }
clean_up() {
  in_store umount --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT

# quietly NAME COMMAND...: the output is shown only if the command fails.
quietly() {
  local name=$1 began=$SECONDS
  shift
  if ! "$@" >"$work/log" 2>&1; then
    tail -n 60 "$work/log" >&2
    echo "error: container: $name failed" >&2
    exit 1
  fi
  echo "container: $name: $((SECONDS - began)) s"
}

# ---- The base: as Debian's slim images, a minimal system without documents and translations -------------------------
base=$work/base
quietly "a bare $release" make_bare_debian "$release" "$base"
apt-config dump Acquire >"$base/etc/apt/apt.conf.d/90host" # a proxy, for example
rm -rf "$base"/var/cache/apt/archives/*.deb "$base"/var/cache/apt/*.bin "$base"/var/lib/apt/lists/*
find "$base/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$base"/usr/share/{man,info,locale}/*
printf 'path-exclude=/usr/share/%s/*\n' doc man info locale >"$base/etc/dpkg/dpkg.cfg.d/slim"
echo 'path-include=/usr/share/doc/*/copyright' >>"$base/etc/dpkg/dpkg.cfg.d/slim"
tar -C "$base" -cf "$work/base.tar" .
rm -rf "$base"
container=$(in_store from scratch)
in_store add --quiet "$container" "$work/base.tar" / >/dev/null
rm "$work/base.tar"
quietly "the base as an image" in_store commit --rm "$container" "docker.io/library/debian:$release-slim"

# ---- The image ------------------------------------------------------------------------------------------------------
quietly "the Dockerfile's two stages" in_store build --isolation chroot --pull-never \
  --build-arg "BASE=debian:$release-slim" --tag packhorse .
container=$(in_store from --pull-never packhorse)
root=$(in_store mount "$container")
passed=0 failed=0
# holds WHAT COMMAND...: counts whether the command succeeds.
holds() {
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "container: $what: yes"
  else
    failed=$((failed + 1))
    tail -n 30 "$work/log"
    echo "container: $what: NO"
  fi
}
# in_image [OPTIONS] COMMAND...: runs it in the container, in the way of `docker run`.
in_image() {
  local options=()
  while [[ $1 == --* ]]; do
    options+=("$1")
    shift
  done
  in_store run --isolation chroot --volume "$data:$data:ro" --volume "$work/user:/mnt" "${options[@]}" "$container" -- "$@"
}
mkdir -m 777 "$work/user"

size=$(du -sxb "$root" | cut -f 1)
echo "container: the image has $((size / 1000000)) MB"
holds "at most $((limit / 1000000)) MB" [ "$size" -le "$limit" ]
holds "no build tools" in_image bash -c '! type -P cc gcc g++ clang ld as make cmake'
holds "an ordinary user" in_image test ! -w /usr/local/bin
demo=/usr/local/share/packhorse/data_manifests/demo.json
holds "the demo's data" in_image packhorse-demo-data demo-data
holds "pack with two ranks" in_image --env=PACKHORSE_RANKS=2 bash -c "DEMO_DATA=\$PWD/demo-data pack.sbatch $demo"
holds "train, evaluate, export with two ranks" \
  in_image --env=PACKHORSE_RANKS=2 train.sbatch runs/demo/pack/manifest.json --epochs 1 --limit-steps 60
holds "the report has its plots" grep -q '<svg' "$root/work/runs/demo/export/report.html"
holds "predict" in_image bash -c 'tar -xf demo-data/validation.tar FashionMNIST_val_00000001.JPEG &&
  predict.sbatch runs/demo/train/manifest.json FashionMNIST_val_00000001.JPEG'
# As `docker run --user "$(id -u)" --volume "$PWD:/work"`: a user whom the image does not know, in a folder of the host.
holds "pack for another user, in the host's folder" in_image --user=12345:12345 --env=PACKHORSE_RANKS=2 \
  bash -c "export DEMO_DATA=\$PWD/demo-data && cd /mnt && pack.sbatch $demo"
# The same bytes as on this machine, whatever its release.
here() {
  mkdir "$work/user/here" && cd "$work/user/here" &&
    DEMO_DATA=$root/work/demo-data "$project/jobs/pack.sbatch" "$project/data_manifests/demo.json"
}
holds "pack on this machine" here
cd "$project"
same_bytes() {
  local file count=0
  for file in "$work"/user/here/runs/demo/{list/*.lst,list/*.tsv,pack/*.rec,pack/*.idx}; do
    cmp "$file" "$root/work/${file#"$work"/user/here/}" || return
    count=$((count + 1))
  done
  [ "$count" -ge 10 ]
}
holds "lists and shards with the same bytes as this machine's" same_bytes
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
