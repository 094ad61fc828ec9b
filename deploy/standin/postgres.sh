#!/bin/bash
# What the Postgres image's entry point does, as far as compose.yaml uses it: makes
# the database at the first start, with a server that listens on its socket alone.
set -euo pipefail
data=${PGDATA:-/var/lib/postgresql/data}
if [[ $1 == postgres && ! -s $data/PG_VERSION ]]; then
  mkdir -p "$data"
  initdb -D "$data" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >&2
  printf 'host all all all scram-sha-256\n' >>"$data/pg_hba.conf"
  pg_ctl -D "$data" -o "-c listen_addresses='' -k /var/run/postgresql" -w start >&2
  psql -v ON_ERROR_STOP=1 -h /var/run/postgresql -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\"" >&2
  pg_ctl -D "$data" -m fast -w stop >&2
fi
if [[ $1 == postgres ]]; then
  shift
  exec postgres -D "$data" -c "listen_addresses=*" -k /var/run/postgresql "$@"
fi
exec "$@"
