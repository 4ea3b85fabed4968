#!/bin/sh
# Runs every fuzz target for a while, one after the other, from its corpus.   usage: fuzz.sh BIN SECS
set -eu
bin=$1 secs=$2
found=0
for target in "$bin"/fuzz_*; do
    name=$(basename "$target"); name=${name#fuzz_}
    work=$(mktemp -d)
    echo "fuzz $name for $secs s"
    "$target" -max_total_time="$secs" -print_final_stats=1 -verbosity=0 -artifact_prefix="$work/" \
        "$work" "tests/fuzz/corpus/$name" 2>"$work.log" || { cat "$work.log"; exit 1; }
    grep -E 'stat::number_of_executed_units' "$work.log" || true
    rm -rf "$work" "$work.log"
    found=$((found + 1))
done
echo "$found fuzz targets, no crash"
[ "$found" -gt 0 ]
