#!/usr/bin/env bash
# Table 6: 100% adv + 0% clean* with batches of 512 to 8192 images; at mini scale they
# are 16 times smaller.
#
#   launch/batch_size.sh [mini|paper] [flags of launch.sweep]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=launch/scale.sh
source launch/scale.sh

settings=()
for size in 512 1024 2048 4096 8192; do
  settings+=("experiments/batch_size.py:$size$mini")
done

python=python3
if [[ -x .venv/bin/python ]]; then python=.venv/bin/python; fi
exec "$python" -m launch.sweep "${settings[@]}" "$@"
