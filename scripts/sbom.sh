#!/bin/sh
# What a program was put together from, as CycloneDX 1.5 JSON on standard output: the Debian packages that
# the given files come from.  The same files give the same text: no time, no number of its own.
#                                                          usage: sbom.sh PROGRAM VERSION FILE...
set -eu
program=$1 version=$2
shift 2
. /etc/os-release

# Debian's names and versions hold no quote and no backslash, and in a purl only these need an escape.
escaped() { printf %s "$1" | sed 's/%/%25/g; s/+/%2B/g; s/:/%3A/g'; }

# By its path without links, or as it is called; where /lib is a link, dpkg may know it by the old name.
owner() {
    real=$(readlink -f "$1")
    for path in "$real" "$1" "${real#/usr}"; do
        package=$(dpkg -S "$path" 2>/dev/null | head -1 | cut -d: -f1)
        [ -z "$package" ] || { echo "$package"; return; }
    done
    echo "sbom.sh: no package owns $1" >&2
    return 1
}

packages() {
    for file in "$@"; do
        owner "$file" || return 1
    done
}

sha256() { sha256sum "$1" | cut -d' ' -f1; }

list=$(packages "$@")
list=$(printf '%s\n' "$list" | sort -u)
cat <<END
{
  "bomFormat": "CycloneDX",
  "specVersion": "1.5",
  "version": 1,
  "metadata": {
    "component": {
      "type": "application",
      "bom-ref": "$(basename "$program")",
      "name": "$(basename "$program")",
      "version": "$version",
      "licenses": [{"license": {"id": "MIT"}}],
      "hashes": [{"alg": "SHA-256", "content": "$(sha256 "$program")"}]
    }
  },
  "components": [
END
comma=""
refs=""
for package in $list; do
    # of two architectures that are installed, this machine's
    arch=$(dpkg --print-architecture)
    fields=$(dpkg-query -W -f '${Version} ${Architecture} ${source:Package} ${source:Version}\n' "$package:$arch" 2>/dev/null ||
        dpkg-query -W -f '${Version} ${Architecture} ${source:Package} ${source:Version}\n' "$package")
    # shellcheck disable=SC2086
    set -- $fields
    purl="pkg:deb/debian/$(escaped "$package")@$(escaped "$1")?arch=$2&distro=debian-${VERSION_ID:-0}"
    printf '%s    {"type": "library", "bom-ref": "%s", "name": "%s", "version": "%s", "purl": "%s",\n' \
        "$comma" "$purl" "$package" "$1" "$purl"
    printf '     "properties": [{"name": "debian:source", "value": "%s %s"}]}' "$3" "$4"
    refs="$refs${refs:+, }\"$purl\""
    comma=",
"
done
cat <<END

  ],
  "dependencies": [{"ref": "$(basename "$program")", "dependsOn": [$refs]}]
}
END
