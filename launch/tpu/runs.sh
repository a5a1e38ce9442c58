# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# The runs that were asked for, each until it is complete; for launch/tpu.sh.

MOUNT=/mnt/robustjax # where a worker has the bucket; as in worker.sh
UNREACHABLE=30       # looks in a row at workers that do not answer: the slice is lost
STRAGGLERS=15        # looks at workers that go on after another has ended
SAVING=300           # seconds for a run to save before its slice is deleted
HURRY=60             # the same, where a machine that shuts down would end this script
MEETING=600          # seconds for a connection that has little to do

mark=     # the file that says that a slice may be left, of one among several
running=  # the name of the run in progress
follower= # the process that shows its log

# From what was asked to the runs, by launch.sweep, which also knows the sweeps' lists:
# their names in $run_names and, for words_of, their words.
plan() {
  local command=("$@") python=python3 word
  if [[ -x .venv/bin/python ]]; then python=.venv/bin/python; fi
  for word in "$@"; do
    [[ $word != --runs=* ]] || fail "--runs is not for slices: the runs are in gs://$bucket/runs"
  done
  [[ $1 != *.sh || -f $1 ]] || fail "there is no $1"
  [[ $1 == *.sh ]] || command=("$python" -m launch.sweep "$@")
  # Behind launch.sweep's own words: a line a run, quoted for a shell, with a comment.
  "${command[@]}" --dry_run "--runs=$MOUNT/runs" >"$scratch/plan" || exit 2
  "$python" -c "$TO_WORDS" <"$scratch/plan" >"$scratch/words"
  all_words=() first_words=() run_names=()
  local is_first=1
  while IFS= read -r -d '' word; do
    if [[ -z $word ]]; then
      is_first=1
      continue
    fi
    ((!is_first)) || first_words+=("${#all_words[@]}")
    is_first=0
    all_words+=("$word")
    [[ $word != --workdir=* ]] || add_run "${word#*=}"
  done <"$scratch/words"
  ((${#run_names[@]})) || fail "nothing to run"
}

# Each word ends in a NUL, and each run in one more.
TO_WORDS='
import shlex, sys
for line in sys.stdin:
  words = shlex.split(line, comments=True)
  flags = words[words.index("robustjax.main") + 1 :]
  sys.stdout.write("\0".join([*flags, "", ""]))
'

add_run() {
  [[ $1 != "$MOUNT/runs/"*/* ]] ||
    fail "--workdir=$1 is a folder in a folder: those of slices are beside each other"
  [[ $1 == "$MOUNT/runs/"* ]] ||
    fail "--workdir=$1 would be lost with the slice: leave it out, and it is in gs://$bucket/runs"
  run_names+=("${1#"$MOUNT/runs/"}")
}

# In $words: the flags of main for the run of this index.
words_of() {
  local first=${first_words[$1]} next=${first_words[$(($1 + 1))]:-${#all_words[@]}}
  words=("${all_words[@]:first:next - first}")
}

slice_name() {
  local short=${1,,}
  short=robustjax-${short//[^a-z0-9]/-}
  short=${short:0:50}
  printf '%s\n' "${short%"${short##*[^-]}"}" # without - at its end
}

# One copy in the bucket, from which all workers of all slices read.
stage_code() {
  code=gs://$bucket/code/$(git rev-parse HEAD).tar.gz
  call git archive "--output=$scratch/code.tar.gz" HEAD
  ask gcloud storage cp "$scratch/code.tar.gz" "$code" --quiet ||
    fail "the code cannot be copied to $code ($errors): the account needs the role roles/storage.objectUser on the bucket"
}

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

# The run of this index, on as many slices as it takes.
until_complete() {
  local run=${run_names[$1]} failures=0
  words_of "$1"
  while true; do
    if [[ -z $created ]]; then
      if has_ended "$run"; then break; fi # before a slice is paid for
      [[ $was_active ]] || refuse_namesake
      claim "$run" || return
      open_slice
    fi
    claim "$run" || return
    running=$run
    start_and_watch "$run"
    case $outcome in stopped | crashed | mistake) stop_run 10 ;; esac
    running=
    case $outcome in
      complete)
        if [[ $dry ]] || has_left_results "$run"; then break; fi
        ((++failures <= crashes)) || return 1
        ;;
      mistake) return 2 ;;
      gone) replace_slice ;;
      crashed) ((++failures <= crashes)) || return 1 ;;
    esac
    say "$run goes on from its last checkpoint"
  done
  say "$run is complete: gs://$bucket/runs/$run"
}

# As long as it counts, it also has an evaluation.progress.json.
has_ended() {
  local tries=0
  until ask gcloud storage ls "gs://$bucket/runs/$1/evaluation*.json"; do
    [[ $errors != *"matched no objects"* ]] || return 1
    be_patient $((++tries)) "whether gs://$bucket/runs/$1 is complete cannot be known"
  done
  [[ $output == */evaluation.json ]]
}

# After a failed call. With a slice the network may come back, for as long as the slice has
# hours; before one is paid for, ten tries are enough.
be_patient() {
  say "try $1: $2: $errors"
  if [[ -z $was_active ]] && (($1 >= 10)); then
    echo "error: $2: $errors" >&2
    exit 1
  fi
  pause
  heed_budget
}

# A run that ends well on a worker without its bucket leaves nothing there.
has_left_results() {
  local look
  for look in 1 2 3; do
    if has_ended "$1"; then return; fi
    pause
  done
  say "$1 ended well, but gs://$bucket/runs/$1 has no evaluation.json"
  return 1
}

replace_slice() {
  say "$slice was taken away ($state)"
  delete_slice || exit 1
  heed_deletion
  pause
}

start_and_watch() {
  say "starting $1 on all workers"
  worker_sh all start "$1" "${words[@]}"
  if limit=$MEETING call "${ssh[@]}"; then
    watch "$1"
    return
  fi
  outcome=crashed
  look_closely
  if is_gone; then
    outcome=gone
  elif [[ $state == UNKNOWN ]]; then # it is the connection that fails
    say "gcloud cannot reach $slice: $errors"
    outcome=stopped
    pause
    heed_budget
  fi
}

stop_run() {
  worker_sh all stop "$1"
  limit=$(($1 + MEETING)) call "${ssh[@]}" || true
}

# Shows the log and waits for the end of the run, or of the slice. In $outcome: complete,
# mistake, stopped, crashed or gone.
watch() {
  local silent=0 waited=0 before=ACTIVE
  outcome=
  while [[ -z $outcome ]]; do
    [[ $follower ]] || follow "$1"
    pause
    heed_budget
    look
    [[ $state == "$before" ]] || [[ $state != UNKNOWN ]] ||
      say "gcloud cannot look at $slice: $errors"
    before=$state
    if is_gone; then
      outcome=gone
    elif ! kill -0 "$follower" 2>/dev/null; then # the run has ended, or the connection
      follower=
      judge "$1"
    fi
  done
  [[ -z $follower ]] || kill "$follower" 2>/dev/null || true
  follower=
}

follow() {
  worker_sh 0 follow "$1"
  if [[ $dry ]]; then line "${ssh[@]}"; else "${ssh[@]}" </dev/null & fi
  follower=${!:-}
}

# From what all workers say of the run. Leaves $outcome empty while it goes on.
judge() {
  worker_sh all status "$1"
  if [[ $dry ]]; then
    line "${ssh[@]}"
    outcome=complete
  elif limit=$MEETING ask "${ssh[@]}"; then
    silent=0
    conclude "$(awk '$1 == "robustjax-status" { print $3 }' <<<"$output" | sort -u)"
  else
    look_closely
    if is_gone; then
      outcome=gone
    elif [[ $state == ACTIVE ]]; then
      say "the workers of $slice do not answer: is your key in the agent (ssh-add -l)?"
      ((++silent < UNREACHABLE)) || state="its workers do not answer" outcome=gone
    fi
  fi
}

# From the different statuses of the workers, a line each.
conclude() {
  local all=$1
  say "the workers' exit statuses: ${all//$'\n'/, }"
  case $'\n'$all$'\n' in
    $'\n0\n') outcome=complete ;;
    *$'\n2\n'*) outcome=mistake ;; # the others may have died of the first one's end
    $'\nrunning\n') waited=0 ;;
    *$'\nrunning\n'*) ((++waited < STRAGGLERS)) || outcome=crashed ;;
    $'\n0\n143\n' | $'\n143\n') outcome=stopped ;;
    *) outcome=crashed ;;
  esac
}
