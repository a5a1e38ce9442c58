# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# What is to run: the runs' names and words, and the code that they run; for launch/tpu.sh.

MOUNT=/mnt/robustjax # where a worker has the bucket; as in worker.sh

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
