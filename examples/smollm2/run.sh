#!/usr/bin/env bash
# SmolLM2-135M-Instruct on a CPU, end to end: curate two tasks of reasoning-gym by pass rate, evaluate
# at several budgets, lint, train a few steps, evaluate again, compare. About ten minutes on two idle
# cores; whatever was stopped goes on. From the project's root, after `make real` has made the model.
set -euo pipefail
cd "$(dirname "$0")/../.."
tersely=${TERSELY:-.venv/bin/tersely}
model=models/smollm2-135m-instruct
out=${1:-runs/smollm2}
sampling=(--cap-tokens 96 --temperature 0.7 --threads 2)

"$tersely" curate --model "$model" --problems models/problems.jsonl --samples 8 "${sampling[@]}" \
  --band 0.25,1 --against models/held-out.jsonl --out "$out/curated"
"$tersely" eval --model "$model" --benchmark models/held-out.jsonl --samples 4 "${sampling[@]}" \
  --budgets 8,16,32,64,96 --out "$out/before"
"$tersely" lint examples/smollm2/recipe.toml --records "$out/curated/samples" \
  --set "problems.train=$out/curated/band/problems.jsonl"
[ -e "$out/run/manifest.json" ] && again=--resume || again=
"$tersely" train examples/smollm2/recipe.toml --out "$out/run" $again \
  --set "problems.train=$out/curated/band/problems.jsonl"
"$tersely" eval --model "$out/run/checkpoints/step-000006" --benchmark models/held-out.jsonl \
  --samples 4 "${sampling[@]}" --budgets 8,16,32,64,96 --out "$out/after"
"$tersely" compare "$out/before" "$out/after"
