#!/bin/sh
# The files of each image: a program stripped, the libraries that it needs, a CA bundle, a user, and a
# state folder that belongs to it.      usage: image-root.sh BIN OUT
set -eu
bin=$1 out=$2 user=65532

copy() { # a file and what its path's links point to, at the same place
    mkdir -p "$2$(dirname "$1")"
    cp -L "$1" "$2$1"
}

for name in hub edge traffic; do
    root=$out/$name
    program=$bin/penstock-$name
    mkdir -p "$root/etc/ssl/certs" "$root/var/lib/penstock/$name" "$root/tmp" "$root/usr/share/doc"
    cp "$program" "$root/penstock-$name"
    strip "$root/penstock-$name"
    # "libx.so.1 => /lib/.../libx.so.1 (0x...)" and the loader, which has no arrow
    ldd "$program" | awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' | while read -r library; do
        copy "$library" "$root"
    done
    # backtraces and thread exit load it at run time
    for library in /lib/*/libgcc_s.so.1 /usr/lib/*/libgcc_s.so.1; do
        if [ -e "$library" ]; then copy "$library" "$root"; break; fi
    done
    copy /etc/ssl/certs/ca-certificates.crt "$root"
    printf 'penstock:x:%s:%s::/:/\n' $user $user >"$root/etc/passwd"
    printf 'penstock:x:%s:\n' $user >"$root/etc/group"
    chmod 700 "$root/var/lib/penstock/$name"
    chmod 1777 "$root/tmp"
    chown -R $user:$user "$root/var/lib/penstock/$name"
done
