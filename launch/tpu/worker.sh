#!/usr/bin/env bash
# What launch/tpu.sh has the workers of a slice do.
#
#   worker.sh install BUCKET      Python, the pinned packages, the bucket's folders
#   worker.sh main FLAGS...       robustjax.main, as start has it run
#   worker.sh start NAME FLAGS... the same without a connection; its status is kept
#   worker.sh follow NAME         its log, until it ends
#   worker.sh status NAME         a line: running, none or the exit status
#   worker.sh stop [SECONDS]      every run: SIGTERM, and SIGKILL after SECONDS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

MOUNT=${ROBUSTJAX_MOUNT:-/mnt/robustjax}
DATA=$MOUNT-data
STATE=${ROBUSTJAX_STATE:-$HOME/robustjax-state}
ALIVE=${ROBUSTJAX_ALIVE:-/tmp/robustjax-alive} # for watchdog.sh
WATCHDOG=${ROBUSTJAX_WATCHDOG:-/var/lib/robustjax} # from it

install() {
  touch "$ALIVE"
  mount_bucket "$1"
  mkdir -p "$STATE"
  echo "$1" >"$STATE/bucket"
  mkdir -p "$MOUNT/runs" "$MOUNT/compiled"
  # Where BN fine-tuning looks for the run that it starts from.
  ln -sfn "$MOUNT/runs" runs
  install_packages
  touch "$ALIVE"
  [[ -e $WATCHDOG/born ]] || echo "note: $(hostname) does not watch itself: the slice may not delete itself should your machine die"
  [[ ! -e $WATCHDOG/blind ]] || echo "note: this slice cannot see itself, and so it will not delete itself should your machine die: give its service account the role roles/tpu.admin"
}

# The folders of the runs are looked up in the bucket each time, since several workers
# write there; what is fsynced is in the bucket. The data does not change.
mount_bucket() {
  command -v gcsfuse >/dev/null || install_gcsfuse
  mount_at "$MOUNT" --implicit-dirs --metadata-cache-ttl-secs=0 \
    --metadata-cache-negative-ttl-secs=0 --enable-streaming-writes=false "$1"
  mkdir -p "$MOUNT/tensorflow_datasets"
  mount_at "$DATA" -o ro --implicit-dirs --metadata-cache-ttl-secs=-1 \
    --only-dir=tensorflow_datasets "$1"
}

# What is mounted is left alone: it is not even root's to look at.
mount_at() {
  if mountpoint -q "$1"; then return; fi
  fusermount -uz "$1" 2>/dev/null || true # what a gcsfuse that has died left
  sudo mkdir -p "$1"
  sudo chown "$(id -u)" "$1"
  gcsfuse "${@:2}" "$1"
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc
  local from=https://packages.cloud.google.com/apt
  curl -fsS "$from/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
  echo "deb [signed-by=$key] $from gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  # A machine that has just started may be installing its own updates.
  local apt=(sudo apt-get -qq -o DPkg::Lock::Timeout=600)
  "${apt[@]}" update
  "${apt[@]}" install -y gcsfuse
}

# The TPU machines' own Python is 3.10.
install_packages() {
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv==0.13.9
  local uv=(python3 -m uv --quiet)
  local pip=("${uv[@]}" pip install --python .venv/bin/python --no-build-isolation)
  [[ -x .venv/bin/python ]] || "${uv[@]}" venv --python 3.11 .venv
  "${pip[@]}" --require-hashes -r requirements-build.lock
  "${pip[@]}" --require-hashes -r requirements.lock
  # The pinned JAX knows which libtpu it needs.
  "${pip[@]}" "jax[tpu]==$(sed -n 's/^jax==\([^ ]*\).*/\1/p' requirements.lock)"
  "${pip[@]}" --no-deps -e .
}

main() {
  # Without it JAX goes on with the CPU, slowly, when it does not find the TPU.
  export JAX_PLATFORMS=tpu,cpu
  export TFDS_DATA_DIR=$DATA
  export JAX_COMPILATION_CACHE_DIR=$MOUNT/compiled
  exec .venv/bin/python -m robustjax.main "$@"
}

# gcloud repeats a command when a connection breaks: what runs is left alone.
start() {
  local name=$1
  shift
  mkdir -p "$STATE"
  if is_alive "$name"; then return; fi
  # After a restart of the machine the bucket is no longer mounted, and what is written
  # in its place dies with the slice.
  [[ ! -e $STATE/bucket ]] || mount_bucket "$(<"$STATE/bucket")"
  rm -f "$STATE/$name.status"
  setsid nohup bash launch/tpu/worker.sh supervise "$name" "$@" \
    </dev/null >>"$STATE/$name.log" 2>&1 &
  echo $! >"$STATE/$name.pid"
}

# Runs main, passes SIGTERM on, tells the watchdog that there is work, and keeps the
# exit status.
supervise() {
  local name=$1 status=0 run beat
  shift
  touch "$ALIVE"
  main "$@" &
  run=$!
  trap 'kill -TERM "$run" 2>/dev/null || true' TERM
  (trap - TERM && while sleep 60; do touch "$ALIVE"; done) &
  beat=$!
  while true; do
    status=0
    wait "$run" || status=$?
    kill -0 "$run" 2>/dev/null || break # else it was the signal that ended the wait
  done
  kill "$beat" 2>/dev/null || true
  echo "$status" >"$STATE/$name.part"
  mv "$STATE/$name.part" "$STATE/$name.status"
}

is_alive() { [[ $(process_of "$1") == *"worker.sh supervise $1 "* ]]; }

# The words of the process which has a run's number: after a restart of the machine it
# may be any.
process_of() {
  { tr '\0' ' ' <"/proc/$(<"$STATE/$1.pid")/cmdline"; } 2>/dev/null || true
}

follow() {
  tail -n 20 -F "--pid=$(<"$STATE/$1.pid")" "$STATE/$1.log"
}

status() {
  local status=none
  if [[ -e $STATE/$1.status ]]; then
    status=$(<"$STATE/$1.status")
  elif is_alive "$1"; then
    status=running
  fi
  echo "robustjax-status $(hostname) $status"
}

stop() {
  local file name left=${1:-300}
  for file in "$STATE"/*.pid; do
    if is_alive "$(basename "$file" .pid)"; then
      kill -TERM "$(<"$file")" 2>/dev/null || true
    fi
  done
  for file in "$STATE"/*.pid; do
    [[ -e $file ]] || continue
    name=$(basename "$file" .pid)
    while is_alive "$name" && ((left-- > 0)); do sleep 1; done
    if [[ -z $(process_of "$name") ]] || is_alive "$name"; then
      kill -KILL "-$(<"$file")" 2>/dev/null || true # all that it started
    fi
  done
}

case ${1:-} in
  install | main | start | supervise | follow | status | stop) "$@" ;;
  *) echo "error: worker.sh takes install, main, start, follow, status or stop" >&2 && exit 2 ;;
esac
