# shellcheck shell=bash
# A slice deletes itself when the machine that rents it cannot: when nothing has run on
# it for $idle seconds, or it has existed for $limit. launch/tpu/slice.sh writes the
# values above this text and gives it to the slice as its startup script, so that it also
# works on a slice that comes long after the machine that asked for it has died. The
# workers' service account needs the role roles/tpu.admin for it.
set -u
: "${name:?}" "${project:?}" "${zone:?}" "${limit:?}" "${idle:?}"

metadata=http://metadata.google.internal/computeMetadata/v1/instance/attributes
state=${WATCHDOG_STATE:-/var/lib/robustjax}
alive=${WATCHDOG_ALIVE:-/tmp/robustjax-alive} # worker.sh touches it

mkdir -p "$state"
# Outlives a restart of the machine; worker.sh looks for it on each worker.
[[ -e $state/born ]] || date +%s >"$state/born"

worker=$(curl -sf -H 'Metadata-Flavor: Google' "$metadata/agent-worker-number")
[[ ${worker:-0} == 0 ]] || exit 0

watch() {
  touch "$alive"
  chmod a+w "$alive" # the runs are not root's
  # Whether it may look: worker.sh says so to the person. Whether it may delete shows only
  # when it does.
  gcloud compute tpus queued-resources describe "$name" "--project=$project" \
    "--zone=$zone" >/dev/null 2>"$state/blind" && rm -f "$state/blind"
  local born now alive_at
  born=$(<"$state/born")
  while sleep "${WATCHDOG_SECONDS:-60}"; do
    now=$(date +%s)
    alive_at=$(stat -c %Y "$alive" 2>/dev/null || echo 0)
    if ((now - born > limit || now - alive_at > idle)); then
      echo "robustjax: this slice is no longer needed, and deletes itself"
      gcloud compute tpus queued-resources delete "$name" "--project=$project" \
        "--zone=$zone" --force --quiet --async
    fi
  done
}

# Google's service need not wait for it, nor end it.
watch </dev/null &
