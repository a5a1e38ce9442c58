# shellcheck shell=bash disable=SC2034,SC2154 # the variables of launch/tpu.sh
# What can be known to be wrong before anything is rented; for launch/tpu.sh.

check_flags() {
  local flag
  for flag in type bucket hours; do
    [[ ${!flag} ]] || fail "--$flag=... is missing; launch/tpu.sh --help says what it is"
  done
  for flag in hours wait_hours; do
    [[ ${!flag} =~ ^[0-9]+([.][0-9]+)?$ ]] ||
      fail "--$flag=${!flag} is not a number of hours, such as 12 or 0.5"
  done
  [[ $type =~ ^[a-z0-9]+-[0-9]+$ ]] ||
    fail "--type=$type is no accelerator type, such as v5litepod-16"
  for flag in slices crashes; do
    [[ ${!flag} =~ ^(0|[1-9][0-9]{0,2})$ ]] || fail "--$flag=${!flag} is not a whole number"
  done
  ((slices >= 1)) || fail "--slices=$slices: at least one slice is needed"
  ((${#tier[@]} <= 1)) || fail "--spot and --reserved exclude each other: give one"
  ((${#asked[@]})) || fail "nothing to run: name a setting, such as experiments/mbn.py"
  local words="${asked[*]}"
  [[ $words != *$'\n'* ]] || fail "a value with a line break in it cannot be passed on"
  [[ $type != v5e-* ]] || fail "--type=$type: Google Cloud calls it v5litepod-${type##*-}"
  budget=$(seconds "$hours") patience=$(seconds "$wait_hours")
  ((budget > 0)) || fail "--hours=$hours leaves a slice no time"
  : "${runtime:=$(runtime_of "$type")}"
  [[ $runtime ]] || fail "no TPU software is known for --type=$type: name the --runtime=VERSION that https://cloud.google.com/tpu/docs/runtimes gives for it"
}

seconds() { awk -v hours="$1" 'BEGIN { printf "%d", hours * 3600 }'; }

# The TPU software that Google's documentation names for JAX on this type.
runtime_of() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
  esac
}

check_account() {
  if [[ $dry ]]; then # calls nothing, not even to ask for the project
    : "${project:=PROJECT}" "${zone:=ZONE}"
    return
  fi
  command -v timeout >/dev/null ||
    say "note: there is no timeout here (GNU coreutils): a connection on which nothing happens can outlast --hours"
  command -v gcloud >/dev/null ||
    fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
  ask gcloud auth list --filter=status:ACTIVE '--format=value(account)' || true
  [[ $output ]] || fail "gcloud is not logged in: say gcloud auth login"
  [[ $project ]] || { ask gcloud config get-value project && project=$output; } || true
  [[ $project && $project != "(unset)" ]] ||
    fail "no project: give --project=ID, or say gcloud config set project ID"
}

check_zone() {
  if [[ -z $zone ]]; then
    ask gcloud config get-value compute/zone || true
    zone=${output#"(unset)"}
  fi
  [[ $zone ]] ||
    fail "no zone: give --zone=ZONE, or say gcloud config set compute/zone ZONE"
  where=("--project=$project" "--zone=$zone") # behind each command about TPUs
}

check_cloud() {
  check_zone
  ask gcloud compute tpus tpu-vm accelerator-types describe "$type" "${where[@]}" ||
    fail "--type=$type is not to be had in $zone ($errors): see gcloud compute tpus tpu-vm accelerator-types list --zone=$zone"
  ask gcloud storage buckets describe "gs://$bucket" --raw \
    '--format=value[separator=" "](hierarchicalNamespace.enabled,location)' ||
    fail "gs://$bucket cannot be read ($errors): $(how_to_make_bucket)"
  [[ $dry ]] || check_bucket "$output"
}

check_bucket() {
  local hierarchical location region=${zone%-*}
  read -r hierarchical location <<<"$1"
  # Checkpoints are finished by renaming a folder, which other buckets cannot do.
  [[ $hierarchical == True ]] ||
    fail "gs://$bucket has no hierarchical namespace: $(how_to_make_bucket)"
  [[ ${location,,} == "$region" ]] ||
    say "note: gs://$bucket is in ${location,,} and the slice in $region: reading across regions is slow and is charged for"
}

how_to_make_bucket() {
  echo "make one with gcloud storage buckets create gs://NAME --location=${zone%-*} --uniform-bucket-level-access --enable-hierarchical-namespace"
}

check_name() {
  [[ $name =~ ^[a-z][-a-z0-9]{0,55}[a-z0-9]$ ]] ||
    fail "--name=$name cannot be a slice's: up to 57 of a-z, 0-9 and -, from a letter on"
}

# The workers get what is committed: a file that is not is missed before money is spent.
check_runs() {
  git rev-parse --verify --quiet HEAD >/dev/null ||
    fail "this is not a git repository: the slice gets the last commit of one"
  local changed index file
  changed=$(git status --porcelain -- robustjax experiments launch setup.cfg \
    pyproject.toml requirements.lock requirements-build.lock)
  [[ -z $changed || $dry ]] ||
    fail "the slice gets the last commit, and these are not in it: $(tr '\n' ' ' <<<"$changed"): commit or stash them"
  for index in "${!run_names[@]}"; do
    words_of "$index"
    file=${words[0]#--config=} file=${file%%:*}
    git cat-file -e "HEAD:$file" 2>/dev/null ||
      fail "$file is not in the last commit, which is what the slice gets"
    check_setting "$index"
  done
}

# With an environment here, what main would refuse there is refused now: a wrong value,
# a batch that does not split over the slice's devices.
check_setting() {
  [[ -x .venv/bin/python ]] || return 0
  local setting=() word devices
  devices=$(devices_of "$type")
  for word in "${words[@]}"; do
    [[ $word == --workdir=* ]] || setting+=("$word")
  done
  ask env JAX_PLATFORMS=cpu .venv/bin/python -m robustjax.preflight \
    "--devices=$devices" "${setting[@]}" || fail "${run_names[$1]}: ${errors#error: }"
}

# JAX devices of a slice: Google counts the cores of v2 to v5p, two to a chip, which are
# devices of their own on v2 and v3 alone.
devices_of() {
  local count=${1##*-}
  case $1 in
    v4-* | v5p-*) echo $((10#$count / 2)) ;;
    *) echo "$count" ;;
  esac
}
