#!/usr/bin/env bash
# Trains a reward for how real a picture looks and orders generators by it: two minutes on two cores. With your own
# pictures, and LLaVA as the captioner, the same commands work for any generator (docs/reward.md).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin} runs=runs/realism
palate() { "$bin/python" -m palate "$@"; }
"$bin/python" recipes/tiny/photographs.py "$runs/photographs" 640
palate score --images "$runs/photographs" --scorer teacher:appeal --out "$runs/appeal"
palate filter --scores "$runs/appeal" --at-least 0.9 --out "$runs/curated"
palate caption --images "$runs/curated" --captioner teacher --skip-bad --out "$runs/captions"
for steps in 1 4 20; do
  palate generate --model tiny-sd --prompts "$runs/captions" --images 1 --steps "$steps" --seed 3 --out "$runs/base-$steps"
done
palate reward train discriminator --config recipes/reward-discriminator-tiny.yaml
palate reward order --scorer "reward:$runs/discriminator" --out "$runs/order" --images \
  real="$runs/captions" steps-1="$runs/base-1" steps-4="$runs/base-4" steps-20="$runs/base-20"
