# shellcheck shell=bash
# The rounds of a campaign; run.sh sources it. Reads $bin and $work, counts in $passed and $failed.
: "${bin:?run.sh sets it}" "${work:?run.sh sets it}"
passed=0
failed=0
pass() { passed=$((passed + 1)); }
# miss TEXT: what a round found wrong.
miss() {
  failed=$((failed + 1))
  echo "FAILED: $1"
}

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PMIX_MCA_gds=hash

# on RANKS STAGE ARGUMENTS...
on() {
  local ranks=$1 stage=$2 launcher=()
  shift 2
  [ "$ranks" -eq 1 ] || launcher=(mpirun -np "$ranks" --oversubscribe --bind-to none)
  "${launcher[@]}" "$bin/packhorse-$stage" "$@"
}
# quiet COMMAND...: what it prints is shown only if it fails.
quiet() {
  "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; echo "error: failed: $*" >&2; return 1; }
}

train_options=(--epochs 2 --global-batch 100 --precision f32 --threads 1 --workers 1 --checkpoint-steps 3)
pack_options=(--threads 1 --shards 6)

# The undisturbed runs that every round is compared with.
prepare() {
  local ranks
  quiet "$bin/packhorse-demo-data" "$work/data" --train-per-class 200 --validation-per-class 20
  export DEMO_DATA=$work/data
  quiet on 1 list data_manifests/demo.json --out "$work/list"
  quiet on 1 pack "$work/list/manifest.json" --out "$work/pack" "${pack_options[@]}"
  for ranks in 1 2; do
    quiet on "$ranks" train "$work/pack/manifest.json" --out "$work/train-$ranks" "${train_options[@]}"
  done
  quiet on 1 evaluate "$work/train-1/manifest.json" --out "$work/evaluate" --threads 1
}

# kill_rounds STAGE COUNT RANKS: kills the stage with SIGKILL, all ranks and the launcher, at random moments. The last
# attempt is left alone, and must end with the same bytes as the undisturbed run.
kill_rounds() {
  local stage=$1 count=$2 ranks=$3 round attempt child kills input options reference began longest milliseconds
  case $stage in
    train) input=$work/pack options=("${train_options[@]}") reference=$work/train-$ranks ;;
    pack) input=$work/list options=("${pack_options[@]}") reference=$work/pack ;;
  esac
  kills=0
  rm -rf "$work/killed" # of another stage
  began=$EPOCHREALTIME
  quiet on "$ranks" "$stage" "$input/manifest.json" --out "$work/killed" "${options[@]}"
  # Up to a fifth longer than the stage takes, in milliseconds: most kills meet it at work.
  longest=$(awk "BEGIN {print int(1200 * ($EPOCHREALTIME - $began))}")
  for ((round = 1; round <= count; round++)); do
    rm -rf "$work/killed"
    for ((attempt = 0; attempt < 3; attempt++)); do
      setsid mpirun -np "$ranks" --oversubscribe --bind-to none "$bin/packhorse-$stage" \
        "$input/manifest.json" --out "$work/killed" "${options[@]}" >"$work/killed.log" 2>&1 </dev/null &
      child=$!
      disown "$child" # bash would report each kill
      milliseconds=$((50 + RANDOM % longest))
      sleep "$(printf '%d.%03d' $((milliseconds / 1000)) $((milliseconds % 1000)))"
      # The ranks are in the launcher's session, each in a process group of its own.
      if pkill -KILL -s "$child"; then kills=$((kills + 1)); fi
      while pgrep -s "$child" >/dev/null; do sleep 0.05; done
    done
    if ! on "$ranks" "$stage" "$input/manifest.json" --out "$work/killed" "${options[@]}" >"$work/log" 2>&1; then
      miss "$stage, $ranks ranks, round $round: it does not go on: $(grep -m 1 '^error' "$work/log")"
    elif same_results "$reference" "$work/killed"; then
      pass
    else
      miss "$stage, $ranks ranks, round $round: other bytes than the undisturbed run"
    fi
  done
  echo "campaign: $stage on $ranks ranks: $count rounds, $kills kills"
}

# same_results A B: checkpoints or shards, byte for byte; what a killed run left half-written must be gone.
same_results() {
  local file
  if [ -d "$1/checkpoints" ]; then
    file=$(cd "$1/checkpoints" && printf '%s\n' step-*.h5 | tail -n 1)
    cmp -s "$1/checkpoints/$file" "$2/checkpoints/$file" && cmp -s "$1/checkpoints/best.h5" "$2/checkpoints/best.h5"
    return
  fi
  for file in "$1"/*.rec "$1"/*.idx "$1"/quarantine.tsv "$1"/classes.tsv; do
    cmp -s "$file" "$2/$(basename "$file")" || return 1
  done
  [ -z "$(find "$2" -name '*.part' -o -name '.work-*' -o -name '.owner*' -o -name '.finished')" ]
}

# damage_rounds COUNT: flips one random bit of a random output; verify must name the file and end with code 1.
damage_rounds() {
  local count=$1 round manifest file size at byte files code
  mapfile -t files < <(find "$work/pack" "$work/train-1" "$work/evaluate" -type f ! -name manifest.json ! -name 'step-*' \
    -size +0 | LC_ALL=C sort; find "$work/train-1" -name 'step-*' | LC_ALL=C sort | tail -n 1)
  for ((round = 1; round <= count; round++)); do
    file=${files[RANDOM % ${#files[@]}]}
    size=$(stat -c %s "$file")
    at=$(((RANDOM * 32768 + RANDOM) % size))
    cp -p "$file" "$work/sound"
    byte=$(od -An -tu1 -j "$at" -N 1 "$file")
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\x$(printf %x $((byte ^ 1 << RANDOM % 8)))" | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
    manifest=$(dirname "$file")/manifest.json
    [ -e "$manifest" ] || manifest=$(dirname "$(dirname "$file")")/manifest.json
    code=0
    "$bin/packhorse-verify" "$manifest" >"$work/log" 2>&1 || code=$?
    if [ "$code" -eq 1 ] && grep -q "$(basename "$file" | sed 's/\./\\./g')" "$work/log"; then
      pass
    else
      miss "bit flip at byte $at of $file: verify ends with code $code and does not name it"
    fi
    cp -p "$work/sound" "$file"
  done
  echo "campaign: $count bit flips in ${#files[@]} files"
}

# pair_rounds STAGE COUNT: the stage twice in one folder, the second a random moment after the first. Every third time
# the first is killed. One works, the other says so with code 69; the result is that of the undisturbed run.
pair_rounds() {
  local stage=$1 count=$2 input options reference round first second codes busy=0 longest=500 killed
  case $stage in
    train) input=$work/pack options=("${train_options[@]}") reference=$work/train-1 ;;
    pack) input=$work/list options=("${pack_options[@]}") reference=$work/pack ;;
  esac
  for ((round = 1; round <= count; round++)); do
    rm -rf "$work/pair"
    killed=$((round % 3 == 0))
    "$bin/packhorse-$stage" "$input/manifest.json" --out "$work/pair" "${options[@]}" >"$work/first.log" 2>&1 &
    first=$!
    sleep "0.$(printf %03d $((RANDOM % longest)))"
    "$bin/packhorse-$stage" "$input/manifest.json" --out "$work/pair" "${options[@]}" >"$work/second.log" 2>&1 &
    second=$!
    [ "$killed" -eq 0 ] || kill -KILL "$first" 2>/dev/null || true
    codes=''
    wait "$first" 2>/dev/null && codes+=' 0' || codes+=" $?"
    wait "$second" && codes+=' 0' || codes+=" $?"
    case $codes/$killed in
      ' 0 69/0' | ' 69 0/0') busy=$((busy + 1)) ;;
      ' 0 0/'* | ' 137 0/1' | ' 0 69/1' | ' 69 0/1') ;;
      ' 137 69/1') # it came before the kill; the next one takes over
        quiet "$bin/packhorse-$stage" "$input/manifest.json" --out "$work/pair" "${options[@]}" ;;
      *)
        miss "$stage, pair $round: codes$codes: $(grep -h -m 1 '^error' "$work/first.log" "$work/second.log")"
        continue
        ;;
    esac
    if "$bin/packhorse-verify" "$work/pair/manifest.json" >"$work/log" 2>&1 && same_results "$reference" "$work/pair"; then
      pass
    else
      miss "$stage, pair $round: codes$codes, but another result than the undisturbed run's"
    fi
  done
  echo "campaign: $stage in pairs: $count rounds, in $busy of them one found the other at work"
}
