#!/bin/sh
# The files of each image: a program stripped, the libraries that it needs with their licences, a CA
# bundle, an SBOM (usr/share/sbom), a user, and the folders that belong to it: its state, and one that
# hub and edge may share (a new named volume takes owner and mode from the folder in the image).
#                                                        usage: image-root.sh BIN OUT
set -eu
bin=$1 out=$2 user=65532

copy() { # a file and what its path's links point to, at the same place
    mkdir -p "$2$(dirname "$1")"
    cp -L "$1" "$2$1"
}

licence() { # of the package that a file comes from; dpkg knows a file by its path without links
    package=$(dpkg -S "$(readlink -f "$1")" 2>/dev/null | head -1 | cut -d: -f1)
    [ -n "$package" ] || { echo "image-root.sh: no package owns $1" >&2; exit 1; }
    copy "/usr/share/doc/$package/copyright" "$2"
}

for name in hub edge traffic; do
    root=$out/$name
    program=$bin/penstock-$name
    mkdir -p "$root/etc/ssl/certs" "$root/var/lib/penstock/$name" "$root/var/lib/penstock/shared" "$root/tmp"
    cp "$program" "$root/penstock-$name"
    strip "$root/penstock-$name"
    # "libx.so.1 => /lib/.../libx.so.1 (0x...)" and the loader, which has no arrow
    ldd "$program" | awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' >"$out/libraries"
    # the C library opens it by name, for backtraces and thread exit: no program shows it in ldd
    find /lib/*/ /usr/lib/*/ -maxdepth 1 -name libgcc_s.so.1 | head -1 >>"$out/libraries"
    while read -r library; do
        copy "$library" "$root"
        licence "$library" "$root"
    done <"$out/libraries"
    mkdir -p "$root/usr/share/sbom"
    # shellcheck disable=SC2046
    "$(dirname "$0")/sbom.sh" "$root/penstock-$name" "$("$program" --version | cut -d' ' -f2)" \
        $(cat "$out/libraries") /usr/share/doc/ca-certificates/copyright >"$root/usr/share/sbom/penstock-$name.cdx.json"
    rm "$out/libraries"
    copy /etc/ssl/certs/ca-certificates.crt "$root"
    printf 'penstock:x:%s:%s::/:/\n' $user $user >"$root/etc/passwd"
    printf 'penstock:x:%s:\n' $user >"$root/etc/group"
    chmod 700 "$root/var/lib/penstock/$name" "$root/var/lib/penstock/shared"
    chmod 1777 "$root/tmp"
    chown -R $user:$user "$root/var/lib/penstock/$name" "$root/var/lib/penstock/shared"
    # it starts with nothing but what is in the image
    chroot "$root" "/penstock-$name" --version
done
