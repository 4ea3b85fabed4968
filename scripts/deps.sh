#!/bin/sh
# Installs from Debian's packages what a target of the Makefile needs: idempotent, and quiet when
# nothing is to do.       usage: scripts/deps.sh build|test|heavy|extra|bench|profile|fuzz|deb|cross-arm64|format ...
set -eu

build="build-essential cmake ninja-build pkg-config libev-dev libgnutls28-dev libnghttp2-dev libmicrohttpd-dev libjson-c-dev libc-ares-dev libsqlite3-dev libwslay-dev libcrypt-dev libssl-dev"
ngtcp2="libngtcp2-dev libngtcp2-crypto-gnutls-dev"
ngtcp2_least=1.11
run="python3 curl openssl ca-certificates"
tests="check python3-yaml python3-jsonschema iproute2 procps gnutls-bin nftables coturn python3-h2 nghttp2-client mandoc jq sqlite3"
bench="wrk haproxy nginx-light libnginx-mod-stream iperf3 nghttp2-client iproute2 iptables libnetfilter-queue-dev"
profile="linux-perf valgrind"
heavy="dnsdist bind9-dnsutils iperf3 wireguard-go wireguard-tools iputils-ping"
extra="slowhttptest testssl.sh haproxy zsh fish chromium chromium-driver python3-selenium python3-websockets fonts-inter lintian systemd dpkg-dev strace debootstrap"
deb="dpkg-dev file gzip"
cross="crossbuild-essential-arm64 cmake ninja-build pkg-config gzip"
fuzz="clang llvm libclang-rt-dev"

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

missing() {
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

# Debian 13 has llhttp as a library, Debian 12 as the sources in node-llhttp.
llhttp() {
    if installed libllhttp-dev || installed node-llhttp; then
        return
    fi
    if apt-cache policy libllhttp-dev 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        echo libllhttp-dev
    else
        echo node-llhttp
    fi
}

# Debian 12 itself has an ngtcp2 that is too old.
ngtcp2_missing() {
    for package in $ngtcp2; do
        have=$(dpkg-query -W -f='${Version}' "$package" 2>/dev/null) || have=""
        { installed "$package" && dpkg --compare-versions "$have" ge $ngtcp2_least; } ||
            printf '%s ' "$package"
    done
}

# One line for each of Debian's own indexes that apt knows: where, and how its source names the suite.
debian_indexes() {
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(SITE) $(SOURCESENTRY)' \
        'Created-By: Packages' 2>/dev/null | grep '^Debian '
}

# On Debian 12 a source for its backports, from the mirror and with the key that this machine has for
# the rest of Debian; nothing when there is one already.  Prints the release to install from.
ngtcp2_release() {
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ "$codename" = bookworm ] || return 0
    if ! debian_indexes | grep -q '^Debian bookworm-backports main '; then
        index=$(debian_indexes | grep '^Debian bookworm main ' | head -1)
        site=$(echo "$index" | cut -d' ' -f4)
        entry=$(echo "$index" | cut -d' ' -f5 | cut -d: -f1)
        [ -n "$site" ] || { echo "deps.sh: apt has no source of Debian 12 to take a mirror from" >&2; return 1; }
        key=$(sed -n 's/^Signed-By: *\(\/[^ ]*\).*/\1/p; s/^deb .*signed-by=\([^] ]*\).*/\1/p' "$entry" | head -1)
        {
            echo "# Written by Penstock's scripts/deps.sh, for ngtcp2."
            echo "Types: deb"
            echo "URIs: $site"
            echo "Suites: bookworm-backports"
            echo "Components: main"
            [ -z "$key" ] || echo "Signed-By: $key"
        } | $sudo tee /etc/apt/sources.list.d/penstock-backports.sources >/dev/null
        $sudo apt-get -qq update >"$log" 2>&1 || return 1
    fi
    echo bookworm-backports
}

arm64_libraries() {
    for package in "$@"; do
        case $package in lib*) printf '%s:arm64 ' "$package" ;; esac
    done
}

ngtcp2_arm64_missing() {
    # shellcheck disable=SC2046
    missing $(arm64_libraries $ngtcp2)
}

wanted=""
need_ngtcp2=""
for what in "$@"; do
    case $what in
    build) wanted="$wanted $build"; need_ngtcp2=$(ngtcp2_missing) ;;
    run) wanted="$wanted $run" ;;
    test) wanted="$wanted $run $tests" ;;
    heavy) wanted="$wanted $run $tests $heavy" ;;
    extra) wanted="$wanted $run $tests $extra" ;;
    bench) wanted="$wanted $run $bench" ;;
    profile) wanted="$wanted $profile" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    cross-arm64) wanted="$wanted $cross $(arm64_libraries $build)"; need_ngtcp2=$(ngtcp2_arm64_missing) ;;
    deb) wanted="$wanted $deb" ;;
    format) wanted="$wanted clang-format" ;;
    *) echo "deps.sh: $what is none of build run test heavy extra bench profile fuzz deb cross-arm64 format" >&2; exit 2 ;;
    esac
done

# shellcheck disable=SC2086
need=$(missing $wanted)
if [ -z "$need$need_ngtcp2" ] && { installed libllhttp-dev || installed node-llhttp; }; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "deps.sh: this machine has no apt-get; install by hand: $need$need_ngtcp2" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say() { echo "deps.sh: $1" >&2; cat "$log" >&2; exit 1; }
case " $need $need_ngtcp2 " in
*:arm64*) dpkg --print-foreign-architectures | grep -q '^arm64$' || $sudo dpkg --add-architecture arm64 ;;
esac
$sudo apt-get -qq update >"$log" 2>&1 || say "apt-get update failed"
case " $* " in
*" cross-arm64 "*) if apt-cache policy libllhttp-dev:arm64 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        need="$need libllhttp-dev:arm64"
    else
        need="$need $(llhttp)"
    fi ;;
*) need="$need $(llhttp)" ;;
esac
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "$@" >"$log" 2>&1 ||
        say "apt-get install failed"
}
echo "installing: $need$need_ngtcp2"
# shellcheck disable=SC2086
install $need
if [ -n "$need_ngtcp2" ]; then
    release=$(ngtcp2_release) || say "no source for ngtcp2 $ngtcp2_least or later"
    # shellcheck disable=SC2086
    install ${release:+-t "$release"} $need_ngtcp2
fi
