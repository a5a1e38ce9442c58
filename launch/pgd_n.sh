#!/usr/bin/env bash
# Tables 4 and 5: five strategies, each trained with PGD-30, -20, -10 and -5, and the
# rows with running statistics (*) of three of them.
#
#   launch/pgd_n.sh [mini|paper] [flags of launch.sweep]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=launch/scale.sh
source launch/scale.sh

settings=()
for attack in "" ,pgd20 ,pgd10 ,pgd5; do # PGD-30 is the default
  for strategy in adv adv_clean alp mbn mbn_alp; do
    settings+=("experiments/$strategy.py:$attack$mini")
  done
  for strategy in adv mbn mbn_alp; do
    settings+=("experiments/$strategy.py:star$attack$mini")
  done
done

python=python3
if [[ -x .venv/bin/python ]]; then python=.venv/bin/python; fi
exec "$python" -m launch.sweep "${settings[@]}" "$@"
