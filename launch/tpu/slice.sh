# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# The life of a slice: created, waited for, installed on, deleted; for launch/tpu.sh.

SCOPES=https://www.googleapis.com/auth/cloud-platform
IDLE=1800           # seconds without a run or an installation: the slice deletes itself
LABEL="tpu.nodeSpec[0].node.labels.robustjax" # where gcloud has it
GRACE=1800          # seconds behind --hours: the same, should this machine be gone
DELETE_ATTEMPTS=30

slice=      # its name, and the queued resource's
created=    # whether there may be one to delete: "maybe", "sure" if gcloud said that it
            # made it, or "asked" if a person wants whatever has the name deleted
born=       # $SECONDS when it became active: what came before costs nothing
spent=0     # seconds of the slices before this one
was_active= # whether this command ever got one
installed=  # whether an installation ever went well
existed=    # whether this one was ever there
deleted=    # whether it was, and then was no more: a preempted one still has its request

# By which a slice of this command is known from one of the same name.
printf -v token '%(%s)T-%s-%s' -1 "$$" "$RANDOM"

# In $state: the queued resource's, or GONE, or UNKNOWN if gcloud could not ask. This
# command's slice is gone too if there is another one of its name by now.
look() {
  local label
  if ask gcloud compute tpus queued-resources describe "$slice" "${where[@]}" \
    "--format=value(state.state,$LABEL)"; then
    read -r state label <<<"${output:-UNKNOWN}"
    [[ -z $dry ]] || state=ACTIVE
    if [[ $created && $label && $label != "$token" ]]; then
      state=GONE existed=1 created=
    fi
  elif [[ $errors == *NOT_FOUND* ]]; then
    state=GONE
  else
    state=UNKNOWN
  fi
  case $state in
    GONE | DELETING) deleted=$existed ;;
    UNKNOWN) ;;
    *) existed=1 ;;
  esac
  [[ $state == ACTIVE ]] || return 0
  : "${born:=$SECONDS}"
  was_active=1
}

# The same, and for an active one whether its machines still are: a preempted machine
# may be known before its queued resource says so.
look_closely() {
  look
  [[ $state == ACTIVE ]] || return 0
  if ask gcloud compute tpus tpu-vm describe "$slice" "${where[@]}" \
    '--format=value(state)'; then
    case $output in
      PREEMPTED | TERMINATED | STOPPED | STOPPING | DELETING) state=$output ;;
    esac
  elif [[ $errors == *NOT_FOUND* ]]; then
    state=GONE deleted=$existed
  fi
}

is_gone() {
  case $state in
    SUSPENDING | SUSPENDED | DELETING | GONE | FAILED) ;;
    PREEMPTED | TERMINATED | STOPPED | STOPPING) ;;
    *) return 1 ;;
  esac
}

# Since it became active, which may have been in the first second, at 0.
active_seconds() { if [[ $born ]]; then echo $((SECONDS - born)); else echo 0; fi; }

seconds_left() { echo $((budget - spent - $(active_seconds))); }

# A slice that is ready to run; ends the script where another try would not help.
open_slice() {
  while true; do
    heed_budget
    create_slice
    if wait_for_slice && install; then return; fi
    # What is left of it holds quota, and its name.
    delete_slice || exit 1
    heed_deletion
    pause
  done
}

# Somebody else's slice must not be deleted.
refuse_namesake() {
  [[ -z $dry ]] || return 0
  look
  born='' was_active='' existed=''
  [[ $state != UNKNOWN ]] || fail "gcloud cannot look for $slice: $errors"
  [[ $state == GONE ]] ||
    fail "there is a slice called $slice already ($state): if nobody needs it, say launch/tpu.sh delete $slice --project=$project --zone=$zone; else give this one a --name"
}

create_slice() {
  local account=()
  [[ -z $service_account ]] || account=("--service-account=$service_account")
  write_watchdog
  say "asking for $slice: $type in $zone ${tier[*]:-on demand}"
  created=maybe creating=1 existed='' deleted=''
  local command=(gcloud compute tpus queued-resources create "$slice" "${where[@]}" \
    "--node-id=$slice" "--accelerator-type=$type" "--runtime-version=$runtime" \
    ${tier[@]+"${tier[@]}"} ${account[@]+"${account[@]}"} "--scopes=$SCOPES" \
    "--valid-until-duration=${patience}s" "--labels=robustjax=$token" \
    "--metadata-from-file=startup-script=$scratch/watchdog" --quiet)
  local try why
  for try in {1..10}; do
    if detached=1 ask "${command[@]}"; then
      created=sure creating=
      return
    fi
    why=$errors
    say "try $try: the slice could not be asked for: $why"
    if is_anothers; then
      created='' creating=''
      echo "error: there is a slice called $slice since a moment, which another command made: give this one a --name" >&2
      exit 1
    fi
    if [[ $output == "$token" ]]; then # it was made, and the answer was lost
      created=sure creating=
      return
    fi
    [[ $was_active ]] || break # else it was possible before
    pause
  done
  creating=
  echo "error: the slice could not be asked for: ${why:-for the reason above}" >&2
  exit 1
}

# Whether the slice of this name is another command's by now. One without a label counts
# as this one's: rather that than a slice which nobody deletes.
is_anothers() {
  ask gcloud compute tpus queued-resources describe "$slice" "${where[@]}" \
    "--format=value($LABEL)" && [[ $output && $output != "$token" ]]
}

# Ends the script when the slices' hours are used up.
heed_budget() {
  (($(seconds_left) <= 0)) || return 0
  echo "error: the slices have had their --hours=$hours and the runs are not complete; the same command goes on from the last checkpoint" >&2
  exit 1
}

# Whoever deletes a slice wants it gone: no new one is rented in its place.
heed_deletion() {
  [[ $deleted ]] || return 0
  echo "error: $slice was deleted, by somebody or by itself; the same command goes on from the last checkpoint" >&2
  exit 1
}

# What the slice runs as it starts: see watchdog.sh.
write_watchdog() {
  mkdir -p "$scratch"
  {
    echo '#!/bin/bash'
    printf '%s=%q\n' name "$slice" project "$project" zone "$zone" \
      limit $(($(seconds_left) + GRACE)) idle "$IDLE"
    # Without it the slice would not delete itself.
    cat launch/tpu/watchdog.sh || fail "launch/tpu/watchdog.sh cannot be read"
  } >"$scratch/watchdog"
}

# Until it is active. False if it was taken away before; ends the script if it failed.
wait_for_slice() {
  local since=$SECONDS shown='' polls=0 making
  while look; do
    if [[ $state != "$shown" ]] || ((++polls % 15 == 0)); then
      say "$slice: $state after $((SECONDS - since)) s, at most $patience s"
      shown=$state
    fi
    case $state in
      ACTIVE) return ;;
      FAILED) explain_failure ;;
    esac
    if is_gone; then return 1; fi
    making=0 # one that is being made has an hour more
    [[ $state != PROVISIONING ]] || making=3600
    if ((SECONDS - since > patience + making)); then
      echo "error: no $type in $zone within --wait_hours=$wait_hours: try later, another zone or another type; the same command goes on from the last checkpoint" >&2
      exit 1
    fi
    pause
  done
}

# A first slice that fails means quota, permission or type: another try is no help. A
# later one was possible before.
explain_failure() {
  ask gcloud compute tpus queued-resources describe "$slice" "${where[@]}" \
    '--format=value(state.failedData.error.message)' || true
  say "$slice FAILED: ${output:-no reason given}"
  [[ $was_active ]] && return
  echo "error: Google could not make the slice: ${output:-no reason given}; quotas are at https://console.cloud.google.com/iam-admin/quotas?project=$project" >&2
  exit 1
}

# On all workers. False if the slice was taken away meanwhile. What went well on one slice
# is tried more often on the next one.
install() {
  local try script most
  # shellcheck disable=SC2016 # for the worker's shell
  script='mkdir -p ~/robustjax; gcloud storage cat "$1" | tar -xz -C ~/robustjax
bash ~/robustjax/launch/tpu/worker.sh install "$2"'
  for try in {1..10}; do
    heed_budget
    most=$(($(seconds_left) + 1)) # which is not 0: timeout takes that for no limit
    most=$((most < 3600 ? most : 3600))
    say "installing on the workers of $slice"
    on_worker all bash -euo pipefail -c "$script" install "$code" "$bucket"
    if limit=$most call "${ssh[@]}"; then
      installed=1
      return
    fi
    look_closely
    if is_gone; then return 1; fi
    say "try $try: the installation failed on a worker, for the reason above"
    pause
    ((try < 2)) || [[ $installed || $state == UNKNOWN ]] || break
  done
  echo "error: the installation failed; for a slice of several workers, 'ssh-add ~/.ssh/google_compute_engine' must have been said on this machine" >&2
  exit 1
}

# The slice is not left behind: tries until it is deleted, for some ten minutes, since one
# that is just being made cannot be deleted. (In a trap a plain `return` returns the
# status from before the trap, hence the zeros.)
delete_slice() {
  [[ $created ]] || return 0
  local command=(gcloud compute tpus queued-resources delete "$slice" "${where[@]}"
    --force --quiet)
  local attempt missing=0
  if [[ $created != asked ]] && is_anothers; then
    say "the slice called $slice is another command's by now, and stays"
    created=
    return 0
  fi
  say "deleting $slice"
  for ((attempt = 1; attempt <= DELETE_ATTEMPTS; attempt++)); do
    if detached=1 ask "${command[@]}"; then
      forget_slice
      return 0
    fi
    if [[ $errors == *NOT_FOUND* ]]; then
      # One whose creation was cut off may show itself later.
      if [[ $created != maybe ]] || ((++missing == 3)); then
        forget_slice
        return 0
      fi
    else
      say "not deleted yet: $errors"
    fi
    pause
  done
  shout "${command[@]}"
  return 1
}

forget_slice() {
  say "$slice is deleted"
  created=
  ((spent += $(active_seconds))) || true
  born=
}

shout() {
  {
    echo
    echo "######## $slice COULD NOT BE DELETED, AND MAY BE COSTING MONEY ########"
    echo "gcloud says: $errors"
    echo "Say this until it works:"
    echo "  $(line "$@")"
    echo "and look at what is left with:"
    echo "  $(line launch/tpu.sh list "--project=$project")"
    echo
  } >&2
}

show_all() {
  local zones=${1:--} # all, and not gcloud's default
  local status=0
  call gcloud compute tpus queued-resources list "--project=$project" \
    "--zone=$zones" || status=1
  call gcloud compute tpus tpu-vm list "--project=$project" "--zone=$zones" || status=1
  return "$status"
}
