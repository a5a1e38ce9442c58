# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# Calls to gcloud, for launch/tpu.sh, which sources it.

POLL=${TPU_POLL_SECONDS:-20} # between two looks at a slice

child=    # the call in progress
creating= # whether that is one which makes a slice
leaving=  # whether the script is ending, and lets what it calls come to its end
again=    # whether it was told so twice, and does not

say() {
  if [[ $dry ]]; then echo "# $*"; else printf '%(%H:%M:%S)T %s\n' -1 "$*"; fi
}

# A mistake: one line, with the remedy.
fail() {
  echo "error: $*" >&2
  exit 2
}

# As a person would type it.
line() {
  local words
  printf -v words '%q ' "$@"
  printf '%s\n' "${words% }"
}

# Runs a command and returns its status; with --dry_run it prints it instead. It waits
# with `wait`, which a signal ends, so that Ctrl-C and SIGTERM are heard at once. With
# $limit set it takes no more seconds: a connection can live while nothing happens on it.
# With $detached set a terminal's Ctrl-C does not reach it, which gcloud would heed.
call() {
  if [[ $dry ]]; then
    line "$@" >&3
    return 0
  fi
  local status=0 bound=()
  if [[ ${limit:-} ]] && command -v timeout >/dev/null; then
    bound=(timeout --foreground -k 10 "$limit")
  fi
  if [[ ${detached:-} ]] && command -v setsid >/dev/null; then
    bound=(setsid "${bound[@]}") # execs, since it is no leader of a group
  fi
  "${bound[@]}" "$@" &
  child=$!
  wait "$child" || status=$?
  while [[ $leaving && -z $again ]] && kill -0 "$child" 2>/dev/null; do
    sleep 0.1 # bash may end this wait at once for a signal that came before it
    status=0
    wait "$child" || status=$?
  done
  [[ -z ${limit:-} ]] || ((status != 124)) || say "nothing came of it in $limit s"
  kill -0 "$child" 2>/dev/null || child= # else a signal ended the wait
  return "$status"
}

# The same, with what it prints in $output and, in one line, its errors in $errors.
ask() {
  local status=0
  mkdir -p "$scratch" # a machine's cleaning may have taken it after some days
  call "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  output=$(cat "$scratch/out" 2>/dev/null) || output=
  errors=$(tr '\n' ' ' 2>/dev/null <"$scratch/err") || errors=
  return "$status"
}

pause() {
  if [[ $dry ]]; then
    return 0
  elif [[ $leaving ]]; then
    sleep "$POLL"
  else
    sleep "$POLL" & wait "$!" || true
  fi
}

# In $ssh: the command that runs words on workers of the slice, "all" or one's number.
# The words arrive as they are, whatever is in them.
on_worker() {
  local worker=$1 quoted
  shift
  printf -v quoted '%q ' "$@"
  # Without the two flags, a call to a slice that is gone takes many minutes to fail.
  ssh=(gcloud compute tpus tpu-vm ssh "$slice" "${where[@]}" "--worker=$worker"
    --ssh-flag=-oConnectTimeout=20 --ssh-flag=-oServerAliveInterval=30
    "--command=${quoted% }" --quiet)
}

# The same, with worker.sh's words.
worker_sh() { on_worker "$1" bash robustjax/launch/tpu/worker.sh "${@:2}"; }

# A process's status, whatever signals come meanwhile.
await() {
  local status
  while true; do
    status=0
    wait "$1" || status=$?
    kill -0 "$1" 2>/dev/null || return "$status"
  done
}

# Where to print while a command's own output is kept.
exec 3>&1 4>&2
