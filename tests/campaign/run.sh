#!/usr/bin/env bash
# What is too long for `make test`: random kills, two stages in one folder, and random damage on a part of the demo's data.
#   tests/campaign/run.sh [SIZE]      SIZE times as many rounds (1: about four minutes on two cores)
# SEED=N repeats a campaign: the seed is printed first. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
size=${1:-1}
[[ $size =~ ^[1-9][0-9]*$ ]] || { echo "error: the size must be a whole number from 1, not '$size'" >&2; exit 2; }
export SEED=${SEED:-$RANDOM}
RANDOM=$SEED
echo "campaign: size $size, seed $SEED"
bin=$PWD/build/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-campaign.XXXXXX")
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/campaign/rounds.sh
. tests/campaign/rounds.sh

prepare
kill_rounds train $((6 * size)) 1
kill_rounds train $((6 * size)) 2
kill_rounds pack $((10 * size)) 1
kill_rounds pack $((10 * size)) 2
pair_rounds pack $((20 * size))
pair_rounds train $((20 * size))
damage_rounds $((60 * size))
echo "campaign: $passed passed, $failed failed, $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
