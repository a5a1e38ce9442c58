# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# Which slice may write into the folder of a run; for launch/tpu.sh. The mounts of a bucket
# know no locks between machines, so a file in the folder names a slice, whose folder it is
# until that slice is no more or has done with the run.

# Makes the folder of a run this slice's. Fails if it is another one's. A slice is made
# after its first claim and may be replaced, so it is asked again before the run starts.
claim() {
  local file=gs://$bucket/runs/$1/.slice holder generation tries=0
  until take "$file"; do
    if (($? == 3)); then return 2; fi
    if ((${#holder[@]})); then
      echo "error: gs://$bucket/runs/$1 is the folder of the slice ${holder[*]:0:3}, which is there: wait for its end" >&2
      return 2
    fi
    be_patient $((++tries)) "whether gs://$bucket/runs/$1 is free cannot be known"
  done
}

# Nobody else's claim is ever overwritten: each writer names the generation of the file
# that it has read, 0 for none.
take() {
  read_claim "$1" || return
  if ((${#holder[@]})); then
    if [[ ${holder[3]} == "$token" ]]; then return; fi
    if ask gcloud compute tpus queued-resources describe "${holder[@]:0:3}" \
      "--format=value($LABEL)"; then
      [[ $output && $output != "${holder[3]}" ]] || return 1 # else a later one has its name
    elif [[ $errors != *NOT_FOUND* ]]; then
      holder=()
      return 1
    fi
    holder=()
  fi
  printf '%s\n' "$slice" "--zone=$zone" "--project=$project" "$token" >"$scratch/claim"
  ask gcloud storage cp "$scratch/claim" "$1" "--if-generation-match=$generation" --quiet
}

# In $holder: the lines of a claim, none if there is none; in $generation: the file's. What
# is no claim, whoever wrote it, does not become words of a command.
read_claim() {
  holder=() generation=0
  ask gcloud storage objects describe "$1" '--format=value(generation)' || return 0
  [[ -z $dry ]] || return 0
  generation=$output
  ask gcloud storage cat "$1#$generation" || return
  mapfile -t holder <<<"$output"
  if [[ ${holder[3]:-} == "$token" ]]; then return; fi
  if ! [[ ${#holder[@]} == 4 && ${holder[0]} =~ ^[a-z][a-z0-9-]*$ &&
    ${holder[1]} =~ ^--zone=[a-z0-9-]+$ && ${holder[2]} =~ ^--project=[a-z0-9:.-]+$ ]]; then
    echo "error: $1 does not name a slice: remove it if no slice has this run" >&2
    return 3
  fi
}

# A slice that goes on with other runs has done with this one.
release() {
  local file=gs://$bucket/runs/$1/.slice holder generation
  [[ -z $dry ]] || return 0
  read_claim "$file" || return 0
  [[ ${holder[3]:-} == "$token" ]] || return 0
  ask gcloud storage rm "$file" "--if-generation-match=$generation" --quiet ||
    say "note: $file could not be removed: $errors"
}
