#!/usr/bin/env bash
# Runs the unmodified compose.yaml, scaled, and drives it from outside: quick start,
# live sessions, rolling restarts under load, a killed writer, outages.
#
#   deploy/test-compose.sh [--keep | --can-run]
#
# It needs a Docker engine; where none runs and this is root, it starts one for as
# long as the test takes. Images that cannot be pulled are stood in for
# (deploy/standin/build.sh, which says which). --keep leaves all of it there, to look
# at and to run single tests on; --can-run only tells, in one line, whether this
# machine can run containers at all (if not: exit code 3).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
option=${1:-}
# Not the name in the file: what runs under that may hold data.
export COMPOSE_PROJECT_NAME=samsa-test
engine=""
scratch=$(mktemp -d)

fail() { echo "test-compose: $*" >&2; exit 1; }
cannot() { echo "test-compose: this machine cannot run containers: $*" >&2; exit 3; }
need() { command -v "$1" >/dev/null || fail "needs $1: $2"; }
need docker "install Docker (Debian: apt-get install docker.io)"
need go "get it from https://go.dev/dl"
need curl "apt-get install curl"
need openssl "apt-get install openssl"
need python3 "apt-get install python3-pip"
need ps "apt-get install procps"

start_engine() {
  [[ $(id -u) == 0 ]] || fail "no Docker engine answers, and only root can start one: start it, or run this as root"
  need dockerd "no Docker engine answers, and there is none to start (Debian: apt-get install docker.io)"
  dockerd --data-root "${SAMSA_DOCKER_ROOT:-/var/lib/samsa-docker}" --exec-root "$scratch/exec" \
    --pidfile "$scratch/dockerd.pid" >"$scratch/dockerd.log" 2>&1 &
  engine=$!
  for _ in $(seq 360); do
    docker info >/dev/null 2>&1 && return
    kill -0 "$engine" 2>/dev/null || cannot "dockerd does not start: $(tail -1 "$scratch/dockerd.log")"
    sleep 0.5
  done
  fail "dockerd does not answer within 3 minutes: $(tail -1 "$scratch/dockerd.log")"
}

# run_nothing runs the smallest container that there can be.
run_nothing() {
  printf 'package main\n\nfunc main() {}\n' >"$scratch/nothing.go"
  CGO_ENABLED=0 go build -o "$scratch/nothing" "$scratch/nothing.go"
  tar -C "$scratch" -c nothing | docker import - samsa-test/nothing >/dev/null
  docker run --rm samsa-test/nothing /nothing >"$scratch/nothing.log" 2>&1 ||
    cannot "$(tail -1 "$scratch/nothing.log")"
}

stop_engine() {
  [[ -n $engine && $option != --keep ]] || return 0
  kill "$engine" 2>/dev/null && wait "$engine" 2>/dev/null || true
}

trap 'stop_engine; rm -rf "$scratch"' EXIT
docker info >/dev/null 2>&1 || start_engine
run_nothing
if [[ $option == --can-run ]]; then
  echo "test-compose: this machine can run containers"
  exit 0
fi

if [[ ! -x bin/docker-compose || .ci/tools/compose/go.mod -nt bin/docker-compose ]]; then
  (cd .ci/tools/compose && GOWORK=off go build -o "$root/bin/docker-compose" github.com/docker/compose/v2/cmd)
fi

compose() { bin/docker-compose --env-file .env.example --profile full "$@"; }

finish() {
  local result=$?
  trap - EXIT
  if [[ $result != 0 ]]; then
    compose logs --no-color --tail 500 >"$scratch/compose.log" 2>&1 || true
    echo "test-compose: failed; the containers' logs are in $scratch/compose.log" >&2
  fi
  if [[ $option != --keep ]]; then
    compose down -v -t 20 >/dev/null 2>&1 || true
    # In an engine of our own images without a name are those of earlier runs.
    [[ -z $engine ]] || docker image prune -f >/dev/null || true
    stop_engine
  fi
  [[ $result != 0 ]] || rm -rf "$scratch"
  exit "$result"
}
trap finish EXIT

deploy/standin/build.sh ${SAMSA_NO_PULL:+--no-pull} | tee "$scratch/images"
absent=$(awk '$2 == "absent" {print $1}' "$scratch/images")
services=()
for service in $(compose config --services); do
  grep -qx "$service" <<<"$absent" || services+=("$service")
done

for service in postgres etcd nats s3 edge prometheus; do
  ! grep -qx "$service" <<<"$absent" || fail "cannot go on without $service: see above"
done

compose down -v -t 20 >/dev/null 2>&1 || true # what a run before left

# An absent service cannot be asked for; all others run as the file says.
compose up -d --no-build --pull never --wait --wait-timeout 300 \
  --scale stream-writer=3 --scale stream-reader=3 --scale router=2 "${services[@]}"
compose ps --format 'table {{.Service}}\t{{.Status}}'

SAMSA_TEST_COMPOSE="$root/bin/docker-compose" go test -tags compose -count=1 -timeout 30m -v ./tests/compose

echo "passed in $SECONDS s, with these images:"
cat "$scratch/images"
