#!/bin/sh
# Installs from Debian's packages what a target of the Makefile needs: idempotent, and quiet when
# nothing is to do.       usage: scripts/deps.sh build|test|bench|profile|fuzz|format ...
set -eu

build="build-essential cmake ninja-build pkg-config libev-dev libgnutls28-dev libmicrohttpd-dev libjson-c-dev libc-ares-dev libcrypt-dev"
run="python3 curl openssl ca-certificates"
tests="check python3-yaml python3-jsonschema iproute2 procps gnutls-bin"
bench="wrk haproxy nginx-light iperf3 nghttp2-client"
profile="linux-perf valgrind"
fuzz="clang llvm"

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

wanted=""
for what in "$@"; do
    case $what in
    build) wanted="$wanted $build" ;;
    run) wanted="$wanted $run" ;;
    test) wanted="$wanted $run $tests" ;;
    bench) wanted="$wanted $run $bench" ;;
    profile) wanted="$wanted $profile" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    format) wanted="$wanted clang-format" ;;
    *) echo "deps.sh: $what is none of build run test bench profile fuzz format" >&2; exit 2 ;;
    esac
done

# shellcheck disable=SC2086
need=$(missing $wanted)
if [ -z "$need" ] && { installed libllhttp-dev || installed node-llhttp; }; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "deps.sh: this machine has no apt-get; install by hand: $need" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say() { echo "deps.sh: $1" >&2; cat "$log" >&2; exit 1; }
$sudo apt-get -qq update >"$log" 2>&1 || say "apt-get update failed"
need="$need $(llhttp)"
echo "installing: $need"
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $need >"$log" 2>&1 ||
    say "apt-get install failed"
