# shellcheck shell=bash
# A folder that holds a bare release of Debian, and commands run in it as on a machine of that release. It needs root,
# debootstrap, and the package mirror that this machine's apt uses. Other scripts source this file.
#
# A command inside sees its own processes, its own /run, an empty /tmp and nothing of this machine's files; whatever it
# started ends with it, and its mounts too.

# bare_debian_missing: why there can be no such folder here, or nothing.
bare_debian_missing() {
  if [ "$(id -u)" -ne 0 ]; then
    echo "only root can make a folder that holds a release of Debian"
  elif ! command -v debootstrap >/dev/null; then
    echo "debootstrap is not installed"
  elif [ -z "$(debian_mirror)" ]; then
    echo "apt has no mirror of Debian here; name one in MIRROR"
  elif ! unshare --mount --pid --fork true 2>/dev/null; then
    echo "this machine lets no one mount (a container, perhaps)"
  fi
}

# debian_mirror: MIRROR, or the mirror of Debian that this machine's own packages come from.
debian_mirror() {
  if [ -n "${MIRROR:-}" ]; then
    echo "$MIRROR"
  else
    # shellcheck disable=SC2016  # the names are apt's
    { apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null || true; } |
      awk '$2 == "Debian" && $3 == "Debian" {print $1; exit}'
  fi
}

# make_bare_debian SUITE FOLDER: the folder holds what every Debian holds, and no compiler.
make_bare_debian() {
  local suite=$1 folder=$2
  rm -rf --one-file-system "$folder.part" "$folder"
  mkdir -p "$folder.part"
  if ! debootstrap --variant=minbase "$suite" "$folder.part" "$(debian_mirror)" >"$folder.log" 2>&1; then
    tail -n 20 "$folder.log" >&2
    echo "error: no bare $suite could be made; the whole log is in $folder.log" >&2
    return 1
  fi
  cp /etc/resolv.conf "$folder.part/etc/resolv.conf"
  # The installer writes it; SLURM, for one, looks localhost up.
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$(hostname)" >"$folder.part/etc/hosts"
  mv "$folder.part" "$folder"
}

# inside FOLDER USER COMMAND...: runs it there, in USER's home. Standard input is empty.
inside() {
  local folder=$1 user=$2
  shift 2
  # Its processes are counted from 1 again: what an earlier one left under its number would be in the way.
  find "$folder/tmp" -mindepth 1 -delete
  # shellcheck disable=SC2016  # the variables are those of the inner shell
  unshare --mount --pid --fork --kill-child bash -euc '
    folder=$1 user=$2
    shift 2
    mount --make-rprivate /
    mount -t proc proc "$folder/proc"
    mount --rbind /sys "$folder/sys"
    mount --rbind /dev "$folder/dev"
    mount -t tmpfs tmpfs "$folder/run"
    home=$(awk -F: -v user="$user" "\$1 == user {print \$6}" "$folder/etc/passwd")
    # No exec: this shell is the first process inside. It ends with unshare, and then all that run inside do, too.
    chroot "$folder" runuser -u "$user" -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      HOME="$home" USER="$user" LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
      DEBIAN_FRONTEND=noninteractive bash -euc "cd; exec \"\$@\"" bash "$@"
  ' bash "$folder" "$user" "$@" </dev/null
}
