# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# The runs of a lane, each until it is complete; for launch/tpu.sh.

UNREACHABLE=30 # looks in a row at workers that do not answer: the slice is lost
STRAGGLERS=15  # looks at workers that go on after another has ended
MEETING=600    # seconds for a connection that has little to do

running=  # the name of the run in progress
follower= # the process that shows its log

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
