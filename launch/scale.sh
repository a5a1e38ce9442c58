# shellcheck shell=bash disable=SC2034 # who sources it reads the variable
# For the sweeps beside it, which source it: takes the scale off their words and sets
# $mini to what a setting's words need for it.
mini=
case "${1:-}" in
  mini) mini=,mini; shift ;;
  paper) shift ;;
  "" | -*) ;; # the scale is left out
  *)
    echo "error: '$1' is not a scale: say mini or paper, and flags of launch.sweep" >&2
    exit 2
    ;;
esac
