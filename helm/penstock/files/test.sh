#!/bin/sh
# Asks a running Penstock as its clients do, and waits until all is right or PENSTOCK_SECS are over.
# `helm test` runs this in a pod, the sources' tests/compose/run.py in a container.  Needs curl.
#
#   PENSTOCK_READY   addresses of management APIs, as http://hub:9001: each must be ready
#   PENSTOCK_CLIENT_CERTS  not empty: each of them must turn away who shows no certificate
#   PENSTOCK_HTTP    host:port where plain HTTP must be redirected to HTTPS by traffic; may be empty
#   PENSTOCK_HTTPS   host:port where traffic must end TLS; may be empty
#   PENSTOCK_HOST    a route's host name, asked for there; empty: traffic must refuse a name without a route
#   PENSTOCK_PATH    what is asked for (/)
#   PENSTOCK_STATUS  the status that is right; empty: any below 500
set -u

UNKNOWN=penstock-test.invalid
end=$(($(date +%s) + ${PENSTOCK_SECS:-60}))
failed=0

# Tries "$@" until it says yes (status 0), or until the time is over; what it printed is shown.
check() {
    what=$1
    shift
    while ! said=$("$@" 2>&1); do
        if [ "$(date +%s)" -ge "$end" ]; then
            echo "FAIL $what: $said"
            failed=1
            return
        fi
        sleep 1
    done
    echo "ok   $what${said:+: $said}"
}

ask() { curl -sS --max-time 5 "$@"; }

# The management API's own certificate may name anything.
ready() { ask -k -f -o /dev/null "$1/readyz"; }

# Its own answer, and for want of a certificate: without a token that alone would be a 401.
closed() {
    out=$(ask -k "$1/v1/status") || {
        echo "$out"
        return 1
    }
    case $out in
    *clientCertificateRequired*) return 0 ;;
    *) echo "$out"; return 1 ;;
    esac
}

# Through the tunnel, where there is one: only traffic answers so.
redirected() {
    out=$(ask -o /dev/null -w '%{http_code} %{redirect_url}' --connect-to "::$PENSTOCK_HTTP" "http://$1/x?y=1") || {
        echo "$out"
        return 1
    }
    echo "$out"
    case $out in
    "301 https://$1"*"/x?y=1") return 0 ;;
    *) return 1 ;;
    esac
}

# Traffic's alert, which no other end of a connection has, in OpenSSL's words or in GnuTLS'.
name_refused() {
    out=$(ask -k -o /dev/null --connect-to "::$PENSTOCK_HTTPS" "https://$UNKNOWN/" 2>&1)
    case $out in
    *[Uu]nrecognized[\ _]name* | *"name sent was not recognized"*) return 0 ;;
    *) echo "$out"; return 1 ;;
    esac
}

# -k: a client has its own opinion of the certificate, this is about the way.
page() {
    out=$(ask -k -o /dev/null -w '%{http_code}' --connect-to "::$PENSTOCK_HTTPS" \
        "https://$PENSTOCK_HOST${PENSTOCK_PATH:-/}") || {
        echo "$out"
        return 1
    }
    echo "$out"
    [ "$out" = "${PENSTOCK_STATUS:-}" ] || { [ -z "${PENSTOCK_STATUS:-}" ] && [ "$out" -lt 500 ]; }
}

for address in ${PENSTOCK_READY:-}; do
    check "$address is ready" ready "$address"
    [ -z "${PENSTOCK_CLIENT_CERTS:-}" ] || check "$address asks for a certificate" closed "$address"
done
if [ -n "${PENSTOCK_HTTP:-}" ]; then
    check "$PENSTOCK_HTTP redirects to HTTPS" redirected "${PENSTOCK_HOST:-$UNKNOWN}"
fi
if [ -n "${PENSTOCK_HTTPS:-}" ]; then
    check "$PENSTOCK_HTTPS refuses a name without a route" name_refused
    [ -z "${PENSTOCK_HOST:-}" ] || check "https://$PENSTOCK_HOST${PENSTOCK_PATH:-/} answers" page
fi
exit $failed
