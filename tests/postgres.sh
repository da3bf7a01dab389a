#!/bin/sh
# Starts and stops a PostgreSQL server for tests, in a folder of its own. Needs Debian's `postgresql`.
#
#   postgres.sh start FOLDER PORT [ADDRESS]
#                                   creates a server in the folder if it has none, starts the server, and
#                                   waits until it answers; its user and its database are `jackfield`, and
#                                   FOLDER/password contains the password
#   postgres.sh kill FOLDER         stops the server without a clean shutdown, as a crash does, and waits
#                                   until it has stopped
#   postgres.sh standby FOLDER PORT FROM FROM_PORT
#                                   copies the running server in the folder FROM, and starts the copy as its
#                                   asynchronous standby
#   postgres.sh promote FOLDER      makes a standby a primary, and waits until it is one
#   postgres.sh query FOLDER PORT SQL
#                                   prints the rows of a statement, with | between the columns
#
# The server listens on ADDRESS (default 127.0.0.1) and on a Unix socket in the folder. If root runs
# this script, the server runs as the user `postgres`.
set -eu

action=$1
folder=$2
programs=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)
[ -n "$programs" ] || { echo "PostgreSQL is not installed: apt-get install postgresql" >&2; exit 1; }

as_user() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

case $action in
start)
    port=$3
    mkdir -p "$folder"
    if [ ! -d "$folder/data" ]; then
        [ -f "$folder/password" ] || echo "test-database-password" >"$folder/password"
        [ "$(id -u)" != 0 ] || chown postgres "$folder" "$folder/password"
        as_user "$programs/initdb" --pgdata="$folder/data" --username=jackfield --encoding=UTF8 \
            --locale=C --auth-local=trust --auth-host=scram-sha-256 --pwfile="$folder/password" \
            >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
        cat >>"$folder/data/postgresql.conf" <<SETTINGS
listen_addresses = '${4:-127.0.0.1}'
unix_socket_directories = '$folder'
max_connections = 300
shared_buffers = 64MB
SETTINGS
        [ -z "${4:-}" ] || echo "host all all 0.0.0.0/0 scram-sha-256" >>"$folder/data/pg_hba.conf"
        first=yes
    fi
    as_user "$programs/pg_ctl" --pgdata="$folder/data" --log="$folder/server.log" --wait --timeout=60 \
        --options="-p $port" start >/dev/null || { cat "$folder/server.log" >&2; exit 1; }
    [ -z "${first:-}" ] || as_user "$programs/createdb" --host="$folder" --port="$port" \
        --username=jackfield jackfield
    ;;
standby)
    [ "$(id -u)" != 0 ] || chown postgres "$folder"
    as_user "$programs/pg_basebackup" --host="$4" --port="$5" --username=jackfield --pgdata="$folder/data" \
        --write-recovery-conf --wal-method=stream --checkpoint=fast
    echo "unix_socket_directories = '$folder'" >>"$folder/data/postgresql.conf"
    exec "$0" start "$folder" "$3"
    ;;
promote)
    as_user "$programs/pg_ctl" --pgdata="$folder/data" --wait --timeout=60 promote >/dev/null ||
        { cat "$folder/server.log" >&2; exit 1; }
    ;;
kill)
    as_user "$programs/pg_ctl" --pgdata="$folder/data" --mode=immediate --wait --timeout=60 stop \
        >/dev/null || { cat "$folder/server.log" >&2; exit 1; }
    ;;
query)
    "$programs/psql" --host="$folder" --port="$3" --username=jackfield --dbname=jackfield --no-psqlrc --quiet \
        --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$4"
    ;;
*)
    echo "postgres.sh: unknown action $action" >&2
    exit 2
    ;;
esac
