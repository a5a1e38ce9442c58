#!/usr/bin/env bash
# Measures the training step with PGD-30 on this machine's GPU, beside PyTorch's, and
# writes one JSON file, gpu.json by default: benchmarks/gpu.py says what it holds.
#
#   benchmarks/gpu.sh [FILE]
#   benchmarks/gpu.sh --tiny     # shows that it runs, on a CPU too, and writes nothing
#
# A Python (PYTHON, python3 by default) that has JAX, flax, optax and PyTorch for this GPU
# is taken as it is; for another, they are installed into .venv-gpu. It goes through two
# networks on both sides, batch by batch; started again, it goes on behind what FILE has.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
tiny=""
file=gpu.json
for word in "$@"; do
  case $word in
    --tiny) tiny=--tiny ;;
    -*)
      echo "error: no option $word; there is --tiny" >&2
      exit 2
      ;;
    *) file=$word ;;
  esac
done

# Whether a Python has all of it, with a GPU unless it is not to be measured.
has_all() {
  "$1" - "$tiny" <<'CHECK' >/dev/null 2>&1
import sys

import flax, jax, numpy, optax, torch

if not sys.argv[1]:
  assert jax.default_backend() == "gpu" and torch.cuda.is_available()
CHECK
}

if ! has_all "$python"; then
  if [[ -z $tiny ]] && ! command -v nvidia-smi >/dev/null; then
    echo "error: no NVIDIA GPU here: nvidia-smi is missing; --tiny needs none" >&2
    exit 2
  fi
  extra=""
  if [[ -z $tiny ]]; then
    extra="[cuda$(nvidia-smi | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')]"
  fi
  echo "Installing JAX, flax, optax and PyTorch into .venv-gpu; this takes minutes." >&2
  "$python" -m venv --system-site-packages .venv-gpu
  .venv-gpu/bin/python -m pip install --quiet "jax$extra" flax optax torch
  python=.venv-gpu/bin/python
  has_all "$python" || {
    echo "error: $python does not see a GPU from both JAX and PyTorch" >&2
    exit 2
  }
fi

# By itself JAX takes three quarters of the memory, and PyTorch all there is.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
export PYTORCH_ALLOC_CONF=${PYTORCH_ALLOC_CONF:-expandable_segments:True}
PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m benchmarks.gpu "$file" ${tiny:+"$tiny"}
