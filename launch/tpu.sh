#!/usr/bin/env bash
# Runs experiments on a Cloud TPU slice that exists for as long as they need it.
#
#   launch/tpu.sh --help
set -euo pipefail
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "error: bash 4.4 or newer is needed, and this is $BASH_VERSION" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=launch/tpu/cloud.sh
source launch/tpu/cloud.sh
# shellcheck source=launch/tpu/checks.sh
source launch/tpu/checks.sh
# shellcheck source=launch/tpu/slice.sh
source launch/tpu/slice.sh
# shellcheck source=launch/tpu/claim.sh
source launch/tpu/claim.sh
# shellcheck source=launch/tpu/plan.sh
source launch/tpu/plan.sh
# shellcheck source=launch/tpu/lanes.sh
source launch/tpu/lanes.sh
# shellcheck source=launch/tpu/runs.sh
source launch/tpu/runs.sh

usage() {
  cat <<'END'
usage: launch/tpu.sh run FLAGS SETTING... [--config.section.name=value ...]
       launch/tpu.sh run FLAGS launch/pgd_n.sh [mini|paper] [flags of launch.sweep]
       launch/tpu.sh list [--project=ID] [--zone=ZONE]
       launch/tpu.sh delete NAME... [--project=ID] [--zone=ZONE]

run     creates a slice, installs the committed code on its workers, runs the settings
        one after another with their folders in gs://BUCKET/runs, follows the log,
        replaces a preempted slice, and deletes the slice whatever happens
list    every queued resource and TPU of the project, in all zones unless one is named
delete  deletes slices that were left

Flags of run:
  --type=TYPE         accelerator type, such as v5litepod-256, v4-128 or v6e-256
  --bucket=NAME       bucket with a hierarchical namespace, in the zone's region
  --hours=N           the most hours for which a slice may exist, all restarts of a
                      slice's runs together; then it is deleted, finished or not
  --project=ID        default: of gcloud's configuration
  --zone=ZONE         default: of gcloud's configuration
  --spot | --reserved default: on demand
  --name=NAME         of the slice; default: robustjax-<first run>
  --slices=N          slices at the same time, which share the list of runs: default 1
  --wait_hours=N      the most hours in the queue for each slice; default 24
  --runtime=VERSION   of the TPU software; default: the one for the type
  --service_account=EMAIL
                      of the workers; default: the project's Compute Engine one
  --crashes=N         how often a run that fails on a healthy slice is started again;
                      default 2
  --dry_run           prints the commands of a run that goes well, and calls nothing

Exit status: 0 all runs are complete and the slice is deleted, 1 a run failed or a slice
could not be deleted (the last lines say which), 2 a mistake, 143 stopped by a signal.
Ctrl-C lets the run save and deletes the slice; a second one does not wait for the save.
END
}

# The flags; what is not one of ours goes to launch.sweep, in $asked.
parse() {
  type='' bucket='' hours='' project='' zone='' name='' runtime='' service_account=''
  slices=1 wait_hours=24 crashes=2 dry='' asked=()
  tier=()
  local word
  for word in "$@"; do
    case $word in
      --type=*) type=${word#*=} ;;
      --bucket=*) bucket=${word#*=} bucket=${bucket#gs://} bucket=${bucket%/} ;;
      --hours=*) hours=${word#*=} ;;
      --project=*) project=${word#*=} ;;
      --zone=*) zone=${word#*=} ;;
      --spot) tier+=(--spot) ;;
      --reserved) tier+=(--reserved) ;;
      --name=*) name=${word#*=} ;;
      --slices=*) slices=${word#*=} ;;
      --wait_hours=*) wait_hours=${word#*=} ;;
      --runtime=*) runtime=${word#*=} ;;
      --service_account=*) service_account=${word#*=} ;;
      --crashes=*) crashes=${word#*=} ;;
      --dry_run) dry=1 ;;
      *) asked+=("$word") ;;
    esac
  done
}

run() {
  check_flags
  check_account
  check_cloud
  plan "${asked[@]}"
  check_runs
  : "${name:=$(slice_name "${run_names[0]}")}"
  check_name
  stage_code
  if ((slices == 1)); then
    lane "$name" "${!run_names[@]}"
  else
    lanes
  fi
}

list() {
  local asked_zone=$zone
  check_account
  show_all "$asked_zone"
}

delete() {
  ((${#asked[@]})) || fail "which slice? launch/tpu.sh list shows them all"
  check_account
  check_zone
  local one status=0
  for one in "${asked[@]}"; do
    [[ $one != -* ]] || fail "$one is no flag of delete"
  done
  for one in "${asked[@]}"; do
    slice=$one
    look
    if [[ $state == GONE ]]; then # it may well exist in another zone
      echo "error: there is no request for $one in $zone: launch/tpu.sh list shows what there is, and where; for a TPU without a request say gcloud compute tpus tpu-vm delete $one --zone=$zone --project=$project" >&2
      status=2
      continue
    fi
    created=asked
    delete_slice || status=1
  done
  return "$status"
}

main() {
  local verb=${1:-}
  case $verb in
    --help | -h) usage ;;
    run | list | delete)
      shift
      parse "$@"
      if [[ " ${asked[*]} " == *" --help "* ]]; then usage && return; fi
      scratch=$(mktemp -d)
      trap 'rm -rf "$scratch"' EXIT
      # In `tpu.sh ... | tee log` Ctrl-C also ends tee, and the next line printed would
      # end this script before it has deleted its slice.
      trap '' PIPE
      "$verb"
      ;;
    "") usage >&2 && exit 2 ;;
    *) fail "'$verb' is not known: say run, list or delete; --help says more" ;;
  esac
}

main "$@"
