# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# Slices at the same time, each a lane of runs, and how one ends; for launch/tpu.sh.

SAVING=300 # seconds for a run to save before its slice is deleted
HURRY=60   # the same, where a machine that shuts down would end this script

mark= # the file that says that a slice may be left, of one among several

# Several slices at once: slice i of n does the runs i, i + n, ... and writes a log.
lanes() {
  local lane index mine pids=() status=0 pid ended=0 stopping=
  slices=$((slices < ${#run_names[@]} ? slices : ${#run_names[@]}))
  [[ $dry ]] || mkdir -p runs/logs
  trap 'tell USR1' INT
  trap 'tell USR2' TERM HUP
  for ((lane = 1; lane <= slices; lane++)); do
    [[ -z $stopping ]] || break
    mine=()
    for ((index = lane - 1; index < ${#run_names[@]}; index += slices)); do
      mine+=("$index")
    done
    if [[ $dry ]]; then
      (own_lane "$name-$lane" "${mine[@]}")
      continue
    fi
    say "slice $name-$lane has ${#mine[@]} runs; its log is runs/logs/$name-$lane.log"
    (own_lane "$name-$lane" "${mine[@]}") >>"runs/logs/$name-$lane.log" 2>&1 3>&1 4>&1 &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do
    await "$pid" || ended=$?
    status=$((ended > status ? ended : status)) ended=0
  done
  for mark in "$scratch"/left-*; do
    [[ -e $mark ]] || continue
    slice=${mark##*/left-} status=1 errors="runs/logs/${mark##*/left-}.log has more"
    shout gcloud compute tpus queued-resources delete "$slice" "${where[@]}" \
      --force --quiet
  done
  for ((lane = 1; lane <= ${#pids[@]}; lane++)); do
    tail -n 3 "runs/logs/$name-$lane.log" || true # nobody may read it any more
  done
  exit "$status"
}

# A signal, passed to the lanes. They may have it already, as all of the terminal have
# Ctrl-C: only the first has signals of its own, or it would come to them twice.
tell() {
  local signal=$1
  [[ -z $stopping ]] || signal=TERM
  stopping=1
  kill -s "$signal" "${pids[@]}" 2>/dev/null || true
}

own_lane() {
  mark=$scratch/left-$1
  : >"$mark"
  scratch=$scratch/$1
  mkdir "$scratch"
  lane "$@"
}

# One slice: its name, and the indices of its runs.
lane() {
  slice=$1
  shift
  trap 'leave "$SAVING"' INT USR1 # what lanes passes on has a signal of its own
  trap 'leave "$HURRY"' TERM HUP USR2
  trap finish EXIT
  local index status worst=0
  for index in "$@"; do
    status=0
    until_complete "$index" || status=$?
    release "${run_names[$index]}"
    ((status == 0)) || say "${run_names[$index]} failed (exit status $status); its log is above"
    # Of several runs one that failed does not stop the others.
    ((status == 0 || $# == 1)) || status=1
    worst=$((status > worst ? status : worst))
  done
  exit "$worst"
}

# The first signal counts.
leave() {
  [[ -z $leaving ]] || return 0
  leaving=1 SAVING=$1
  exit 143
}

# Whatever ends the script: lets the run save, if one is running, and deletes the slice.
finish() {
  local status=$?
  trap '' INT TERM HUP USR1 USR2
  leaving=1
  exec >&3 2>&4       # the signal may have come while a command's output was kept
  set +e
  [[ -z $follower ]] || kill "$follower" 2>/dev/null
  # A slice that is being asked for cannot be deleted before it is.
  if [[ $creating && $child ]]; then
    say "waiting until $slice has been asked for, to delete it then"
    await "$child"
  elif [[ $child ]]; then
    kill "$child" 2>/dev/null
  fi
  if [[ $running && $created ]] && ! is_anothers; then
    say "letting $running save, for at most $SAVING s; Ctrl-C again does not wait"
    sleep 1 # until one signal has come from all that send it
    trap 'again=1' INT TERM HUP
    stop_run "$SAVING"
    [[ -z $child ]] || kill "$child" 2>/dev/null
    again=
  fi
  trap '' INT TERM HUP # nothing ends the deletion
  if delete_slice; then rm -f "$mark"; else status=1; fi
  rm -rf "$scratch"
  exit "$status"
}
