#!/usr/bin/env bash
# Lays libraries out in a prefix, as modules, Spack and conda have them: the files of Debian packages, with .pc files that
# name the prefix. A package that is installed is copied; another one is downloaded, and kept in build/tests/packages.
#   tests/build/prefix.sh FOLDER PACKAGE...      PACKAGE: libhdf5-openmpi-dev, ... with the library that it needs
# FOLDER/include and FOLDER/lib are as in /usr. Exit code 3 if a package cannot be had here.
set -euo pipefail
cd "$(dirname "$0")/../.."
prefix=$(realpath -m "$1")
shift
command -v apt-cache dpkg >/dev/null || { echo "prefix: this is not Debian" >&2; exit 3; }
kept=$PWD/build/tests/packages
mkdir -p "$prefix/unpacked" "$kept"

# A -dev package has the header and a link; the library is in another one.
with_libraries() {
  local package
  for package in "$@"; do
    echo "$package"
    apt-cache depends "$package" | sed -nE 's/^ *Depends: ((lib|zlib)[^ <]*)$/\1/p' |
      grep -vE -- '-dev$|-(hl|cpp|fortran)-|^libc6|^libjpeg8$' || true
  done
}
while read -r package; do
  if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then
    dpkg -L "$package" | while read -r file; do [ -d "$file" ] || echo "$file"; done |
      tar -c --ignore-failed-read -T - -P 2>/dev/null | tar -x -C "$prefix/unpacked" --no-same-owner 2>/dev/null
  else
    compgen -G "$kept/${package}_*.deb" >/dev/null || (cd "$kept" && apt-get download -q "$package" >/dev/null 2>&1) ||
      { echo "prefix: $package cannot be downloaded" >&2; exit 3; }
    dpkg -x "$kept/${package}"_*.deb "$prefix/unpacked"
  fi
done < <(with_libraries "$@" | sort -u)

mkdir -p "$prefix/lib"
cp -a "$prefix/unpacked/usr/include" "$prefix/"
for folder in "$prefix"/unpacked/{,usr/}lib/*-linux-gnu; do
  [ ! -d "$folder" ] || cp -a "$folder/." "$prefix/lib/"
done
[ ! -d "$prefix/unpacked/usr/share/pkgconfig" ] || cp -a "$prefix/unpacked/usr/share/pkgconfig" "$prefix/lib/"
rm -rf "$prefix/unpacked"
# Links into the system's folders become links to the files next to them.
find "$prefix/lib" -type l -lname '/*' | while read -r link; do ln -sf "$(basename "$(readlink "$link")")" "$link"; done
for pc in "$prefix"/lib/pkgconfig/*.pc; do
  [ ! -e "$pc" ] || sed -i -E "s|/usr/lib/[a-z0-9_]+-linux-gnu|$prefix/lib|g; s|/usr/|$prefix/|g; s|=/usr\$|=$prefix|; \
s|\\$\{prefix\}/lib/[a-z0-9_]+-linux-gnu|$prefix/lib|g" "$pc"
done
