#!/bin/sh
# Packs every folder in SOURCE into TARGET, and tells how far it is:
#
#     lifesigns run backup --status working -- sh backup.sh SOURCE TARGET
#
# Below `lifesigns run`, a beat knows for whom it speaks. Without a hub there is nobody to tell, and
# that is no reason to stop.
set -eu

source=$1 target=$2
total=$(find "$source" -mindepth 1 -maxdepth 1 -type d | wc -l)
packed=0
for folder in "$source"/*/; do
    name=$(basename "$folder")
    lifesigns beat --task "packing $name" --progress "{\"done\": $packed, \"total\": $((total))}" || :
    tar -cf "$target/$name.tar" -C "$source" "$name"
    packed=$((packed + 1))
done
echo "$packed packed"
