# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# Which slice may write into the folder of a run; for launch/tpu.sh. The mounts of a bucket
# know no locks between machines, so a file in the folder names a slice, whose folder it is
# for as long as there is such a slice.

# Makes the folder of a run this slice's. Fails if it is another one's.
claim() {
  local file=gs://$bucket/runs/$1/.slice holder try
  for try in {1..10}; do
    holder=()
    if take "$file"; then return; fi
    if ((${#holder[@]})); then
      echo "error: gs://$bucket/runs/$1 is the folder of the slice ${holder[0]}: wait for its end, or say launch/tpu.sh delete ${holder[*]}" >&2
      return 2
    fi
    say "try $try: $file cannot be had: $errors"
    pause
    heed_budget
  done
  echo "error: whether gs://$bucket/runs/$1 is free cannot be known: $errors" >&2
  return 1
}

# A slice is made after its first claim and may be replaced, so the answer can change until
# the run is started. Nobody else's claim is ever overwritten: each writer names the
# generation of the file that it has read, 0 for none.
take() {
  local generation=0 mine=("$slice" "--zone=$zone" "--project=$project")
  if ask gcloud storage objects describe "$1" '--format=value(generation)' &&
    [[ -z $dry ]]; then
    generation=$output
    ask gcloud storage cat "$1#$generation" || return
    mapfile -t holder <<<"$output"
    if [[ ${holder[*]} == "${mine[*]}" ]]; then return; fi
    if ask gcloud compute tpus queued-resources describe "${holder[@]}" \
      '--format=value(state.state)'; then return 1; fi
    holder=()
    [[ $errors == *NOT_FOUND* ]] || return
  fi
  printf '%s\n' "${mine[@]}" >"$scratch/claim"
  ask gcloud storage cp "$scratch/claim" "$1" "--if-generation-match=$generation" --quiet
}
