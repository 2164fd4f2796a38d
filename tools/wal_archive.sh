#!/bin/sh
# PostgreSQL's archive_command and restore_command for a folder:
#   wal_archive.sh keep FOLDER %p %f      a piece of the log into the archive, compressed
#   wal_archive.sh fetch FOLDER %f %p     and back
# PostgreSQL lets go of its own copy when `keep` ends with 0, so the piece is on the disk by then. It asks again
# after a crash: the same piece is fine, another one of the same name is refused.
set -eu
umask 077
case "$1" in
keep)
  mkdir -p "$2"
  kept="$2/$4.gz"
  if [ -e "$kept" ]; then
    gzip -dc "$kept" | cmp -s - "$3" && exit 0
    echo "$kept holds another piece. Does another server use this archive?" >&2
    exit 1
  fi
  gzip -c "$3" > "$2/$4.part"
  sync "$2/$4.part"
  mv "$2/$4.part" "$kept"
  sync "$2"
  ;;
fetch)
  # 1 is the end of the archive. More than 125 stops the recovery: a damaged piece is not the end.
  [ -e "$2/$3.gz" ] || exit 1
  gzip -dc "$2/$3.gz" > "$4" || exit 126
  ;;
*)
  echo "usage: wal_archive.sh keep FOLDER PATH NAME | fetch FOLDER NAME PATH" >&2
  exit 2
  ;;
esac
