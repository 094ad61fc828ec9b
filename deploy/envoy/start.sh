#!/bin/bash
# Starts Envoy with the TLS listener if there are certificates, and without it if
# there are none. Writes no file, so the root file system may be read-only.
set -euo pipefail

here=${BASH_SOURCE[0]%/*}
certificates=${CERTIFICATES:-/certs}

config=$(<"$here/envoy.yaml")
if [[ -s $certificates/tls.crt && -s $certificates/tls.key ]]; then
  echo "edge: HTTP on 8080, TLS on 8443" >&2
else
  echo "edge: HTTP on 8080; no TLS, since $certificates has no tls.crt and tls.key" >&2
  config="${config%%# tls: begin*}${config##*# tls: end}"
fi
# Another folder than /certs is for trying it out.
config=${config//\/certs\//$certificates/}

exec envoy --config-yaml "$config" "$@"
