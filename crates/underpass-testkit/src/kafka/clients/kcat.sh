#!/usr/bin/env bash
# kcat as Debian has it, with librdkafka 2.0.2. It has no call that administers anything.
set -uo pipefail
SERVER=$1 PREFIX=$2 SHARED=$3
shift 3
SCRATCH=$(mktemp -d)
trap 'rm -r "$SCRATCH"' EXIT

kcat() { timeout 120 kcat -q -b "$SERVER" "$@"; }

values() { seq -f "$1-%g $(printf 'x%.0s' {1..100})" "$2" "$3"; }

same() {
    if ! diff "$1" "$2" >"$SCRATCH/diff"; then
        echo "$3 differ: $(head -3 "$SCRATCH/diff" | tr '\n' ' ')" >&2
        return 1
    fi
}

# The records of a topic from an offset to its end.
read_all() { kcat -C -t "$1" -p 0 -o "${2:-beginning}" -e "${@:3}"; }

write_and_read() {
    local topic=$PREFIX-$1
    values "$1" 0 99 >"$SCRATCH/sent"
    kcat -P -t "$topic" -k k -H place=7 "${@:2}" <"$SCRATCH/sent" || return
    read_all "$topic" >"$SCRATCH/got" || return
    same "$SCRATCH/sent" "$SCRATCH/got" values
}

produce() {
    write_and_read produce || return
    read_all "$PREFIX-produce" 95 -f '%k %h %o\n' >"$SCRATCH/got" || return
    seq -f 'k place=7 %g' 95 99 >"$SCRATCH/want"
    same "$SCRATCH/want" "$SCRATCH/got" 'keys, headers and offsets'
}

idempotent() { write_and_read idempotent -X enable.idempotence=true; }

gzip() { write_and_read gzip -z gzip; }
snappy() { write_and_read snappy -z snappy; }
lz4() { write_and_read lz4 -z lz4; }
zstd() { write_and_read zstd -z zstd; }

consume() {
    local codec
    for codec in none gzip snappy lz4 zstd; do seq -f "$codec-%g" 0 19; done >"$SCRATCH/want"
    read_all "$SHARED" >"$SCRATCH/got" || return
    same "$SCRATCH/want" "$SCRATCH/got" values
}

# kcat writes no times of its own: the second record is written when the clock has moved on.
times() {
    local topic=$PREFIX-times first
    echo first | kcat -P -t "$topic" || return
    first=$(read_all "$topic" 0 -f '%T')
    until (($(date +%s%3N) > first)); do :; done
    echo second | kcat -P -t "$topic" || return
    echo second >"$SCRATCH/want"
    read_all "$topic" "s@$((first + 1))" >"$SCRATCH/got" || return
    same "$SCRATCH/want" "$SCRATCH/got" 'values by time'
}

groups() {
    local topic=$PREFIX-$1 options=(-G "$PREFIX-$1" -X auto.offset.reset=earliest -f '%o\n' "${@:2}")
    values group 0 9 | kcat -P -t "$topic" || return
    kcat "${options[@]}" -c 10 "$topic" >"$SCRATCH/got" || return
    values group 10 14 | kcat -P -t "$topic" || return
    kcat "${options[@]}" -c 5 "$topic" >>"$SCRATCH/got" || return
    seq 0 14 >"$SCRATCH/want"
    same "$SCRATCH/want" "$SCRATCH/got" 'offsets read by the group'
}

group() { groups group; }
static-member() { groups static -X group.instance.id=one -X session.timeout.ms=6000; }

for feature; do
    if ! declare -F "$feature" >/dev/null; then
        echo "$feature cannot"
    elif "$feature" 2>"$SCRATCH/complaint"; then
        echo "$feature yes"
    else
        echo "$feature no $(tail -2 "$SCRATCH/complaint" | tr '\n' ' ')"
    fi
done
