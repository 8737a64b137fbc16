#!/usr/bin/env bash
# Puts the comparison of finished runs into the summary of the job, and fails where a condition of INPUT_FAIL_IF holds.
set -euo pipefail
shopt -s globstar nullglob

# shellcheck disable=SC2206 # words and patterns, on purpose
runs=(${INPUT_COMPARE:?})
if [ ${#runs[@]} = 0 ]; then
  echo "::error::no run matches \`$INPUT_COMPARE\`"
  exit 1
fi
limits=()
while IFS= read -r limit; do
  [ -z "${limit//[[:space:]]/}" ] || limits+=(--fail-if "$limit")
done <<<"${INPUT_FAIL_IF:-}"

recipe compare --to md --out - ${limits[@]+"${limits[@]}"} -- "${runs[@]}" >>"${GITHUB_STEP_SUMMARY:?}"
