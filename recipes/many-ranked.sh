#!/usr/bin/env bash
# Many ranked images of each prompt: real pictures and several systems, ranked by a discriminator, teach dpo, cpo and
# listwise, each with and without the adversarial term; the auditor judges them on prompts that nothing was trained on.
# An interrupted run continues. Small: PROMPTS=60 STEPS=10 REWARD_STEPS=20 UNSEEN=6 METHODS=dpo recipes/many-ranked.sh
set -euo pipefail
cd "$(dirname "$0")/.."
SEED=${SEED:-0}                            # of images and trainings
PROMPTS=${PROMPTS:-640}                    # pictures before curation; about a quarter of them are good enough
IMAGES=${IMAGES:-1}                        # of each prompt by each system
SYSTEMS=${SYSTEMS:-1 4 20}                 # numbers of steps of tiny-sd
REWARD_STEPS=${REWARD_STEPS:-300}          # of the discriminator
STEPS=${STEPS:-250}                        # of each training
METHODS=${METHODS-dpo cpo listwise}        # none to stop at the preferences
ADVERSARIAL=${ADVERSARIAL:-0 0.05}         # weights of the adversarial term
UNSEEN=${UNSEEN:-60}                       # prompts of the evaluation
RUNS=${RUNS:-runs/many-ranked}
PYTHON=${PYTHON:-.venv/bin/python}
palate() { "$PYTHON" -m palate "$@"; }

# Curated images and their captions, which are the prompts
[ -f "$RUNS/photographs/metadata.jsonl" ] || "$PYTHON" recipes/tiny/photographs.py "$RUNS/photographs" "$PROMPTS"
palate score --images "$RUNS/photographs" --scorer teacher:appeal --out "$RUNS/appeal"
palate filter --scores "$RUNS/appeal" --at-least 0.9 --out "$RUNS/curated"
palate caption --images "$RUNS/curated" --captioner teacher --skip-bad --out "$RUNS/real"

# Images of each prompt by several systems, and a discriminator of real and generated images
read -ra systems <<< "$SYSTEMS"
palate generate --model tiny-sd --prompts "$RUNS/real" --images "$IMAGES" --steps "${systems[@]}" --seed "$SEED" --out "$RUNS/systems"
palate reward train discriminator --config recipes/reward-discriminator-tiny.yaml --real "$RUNS/real" \
  --generated "$RUNS/systems" --steps "$REWARD_STEPS" --out "$RUNS/discriminator"

# Ranked sets of all images of a prompt, the real one first
palate score --images "$RUNS/real" "$RUNS/systems" --scorer "reward:$RUNS/discriminator" --out "$RUNS/scores"
palate prefer from-scores --scores "$RUNS/scores" --real-first real --out "$RUNS/preferences"

# Each method, without and with the adversarial term
for method in $METHODS; do
  for weight in $ADVERSARIAL; do
    name=$method-adversarial-$weight
    palate align "$method" --config "recipes/$method-tiny.yaml" --preferences "$RUNS/preferences" --steps "$STEPS" \
      --seed "$SEED" --adversarial "$weight" --out "$RUNS/$name"
    palate evaluate --base tiny-sd --aligned "$RUNS/$name" --prompts unseen --limit "$UNSEEN" --judge auditor \
      --out "$RUNS/$name-evaluation"
  done
done
