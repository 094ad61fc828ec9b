#!/bin/bash
# Starts Envoy with the TLS listener if there are certificates, and without it if
# there are none; with TLS to the routers if there is the CA of their certificates.
# Writes no file, so the root file system may be read-only.
set -euo pipefail

config=$(<"${BASH_SOURCE[0]%/*}/envoy.yaml")

# without NAME leaves out what stands between "NAME: begin" and "NAME: end".
without() {
  while [[ $config == *"# $1: begin"* ]]; do
    config="${config%%"# $1: begin"*}${config#*"# $1: end"}"
  done
}

if [[ -s /certs/tls.crt && -s /certs/tls.key ]]; then
  echo "edge: HTTP on 8080, TLS on 8443" >&2
else
  echo "edge: HTTP on 8080; no TLS, since /certs has no tls.crt and tls.key" >&2
  without tls
fi
if [[ -s /etc/samsa/tls/ca.pem ]]; then
  echo "edge: TLS to the routers" >&2
else
  echo "edge: clear text to the routers, since there is no /etc/samsa/tls/ca.pem" >&2
  without inside
fi

exec envoy --config-yaml "$config" "$@"
