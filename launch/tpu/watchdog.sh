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

# Whether it may look at itself: worker.sh says so to the person. Whether it may delete
# itself shows only when it does.
look() {
  gcloud compute tpus queued-resources describe "$name" "--project=$project" \
    "--zone=$zone" >/dev/null 2>"$state/blind" && rm -f "$state/blind"
}

watch() {
  touch "$alive"
  chmod a+w "$alive" # the runs are not root's
  local born now alive_at
  born=$(<"$state/born")
  look
  while sleep "${WATCHDOG_SECONDS:-60}"; do
    [[ ! -e $state/blind ]] || look
    now=$(date +%s)
    alive_at=$(stat -c %Y "$alive" 2>/dev/null || echo 0)
    if ((now - born > limit || now - alive_at > idle)); then
      echo "robustjax: this slice is no longer needed, and deletes itself"
      gcloud compute tpus queued-resources delete "$name" "--project=$project" \
        "--zone=$zone" --force --quiet --async
    fi
  done
}

# Nothing of it hangs on the service that started it: that reads the output until its end,
# and what writes there later would die of it.
watch </dev/null >>"$state/log" 2>&1 &
