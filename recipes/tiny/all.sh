#!/usr/bin/env bash
# Trains every tiny model from one seed and puts them into the package. After an interruption, run it again to continue.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
for step in vae.py "unet.py loose" "unet.py grid" "unet.py clean" "judges.py teacher" "judges.py auditor" clip.py "unet.py base" ship.py; do
  # shellcheck disable=SC2086  # a step may have an argument
  $python -u recipes/tiny/${step}
done
work=${PALATE_TINY_WORK:-runs/tiny}
$python -m palate generate --model tiny-sd --prompts seen --images 4 --seed 1 --out "$work/preference-images"
$python -m palate prefer simulate --images "$work/preference-images" --scorer teacher:utility --temperature 0.5 --out "$work/preferences"
$python recipes/tiny/preferences.py
