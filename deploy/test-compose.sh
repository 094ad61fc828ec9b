#!/usr/bin/env bash
# Runs the unmodified compose.yaml, scaled, and drives it from outside: quick start,
# live sessions, rolling restarts under load, a killed writer, outages.
#
#   deploy/test-compose.sh [--keep]
#
# It needs a Docker engine; where none runs and this is root, it starts one for as
# long as the test takes. Images that cannot be pulled are stood in for
# (deploy/standin/build.sh, which says which).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
keep=${1:-}
# Not the name in the file: what runs under that may hold data.
export COMPOSE_PROJECT_NAME=samsa-test
engine=""
scratch=$(mktemp -d)

need() { command -v "$1" >/dev/null || { echo "test-compose needs $1: $2" >&2; exit 1; }; }
need docker "install Docker (Debian: apt-get install docker.io)"
need go "get it from https://go.dev/dl"

if [[ ! -x bin/docker-compose || .ci/tools/compose/go.mod -nt bin/docker-compose ]]; then
  (cd .ci/tools/compose && GOWORK=off go build -o "$root/bin/docker-compose" github.com/docker/compose/v2/cmd)
fi

start_engine() {
  need dockerd "no Docker engine answers, and there is none to start (Debian: apt-get install docker.io)"
  dockerd --data-root "${SAMSA_DOCKER_ROOT:-/var/lib/samsa-docker}" --exec-root "$scratch/exec" \
    --pidfile "$scratch/dockerd.pid" >"$scratch/dockerd.log" 2>&1 &
  engine=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && return; sleep 0.5; done
  tail "$scratch/dockerd.log" >&2
  return 1
}

compose() { bin/docker-compose --env-file .env.example --profile full "$@"; }

finish() {
  local result=$?
  trap - EXIT
  if [[ $result != 0 ]]; then compose logs --no-color --tail 200 >"${SAMSA_COMPOSE_LOGS:-$scratch/compose.log}" 2>&1 || true; fi
  if [[ $keep != --keep ]]; then compose down -v -t 20 >/dev/null 2>&1 || true; fi
  if [[ -n $engine && $keep != --keep ]]; then
    kill "$engine" 2>/dev/null && wait "$engine" 2>/dev/null || true
  fi
  [[ $result != 0 ]] || rm -rf "$scratch"
  exit "$result"
}
trap finish EXIT

docker info >/dev/null 2>&1 || start_engine

deploy/standin/build.sh ${SAMSA_NO_PULL:+--no-pull} | tee "$scratch/images"
absent=$(awk '$2 == "absent" {print $1}' "$scratch/images")
services=()
for service in $(compose config --services); do
  grep -qx "$service" <<<"$absent" || services+=("$service")
done

compose down -v -t 20 >/dev/null 2>&1 || true # what a run before left

# An absent service cannot be asked for; all others run as the file says.
compose up -d --no-build --pull never --wait --wait-timeout 300 \
  --scale stream-writer=3 --scale stream-reader=3 --scale router=2 "${services[@]}"
compose ps --format 'table {{.Service}}\t{{.Status}}'

SAMSA_TEST_COMPOSE="$root/bin/docker-compose" go test -tags compose -count=1 -timeout 20m -v ./tests/compose
