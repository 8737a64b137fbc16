#!/usr/bin/env bash
# Checks recipes, and with INPUT_FORMAT=true their layout; every mistake becomes a note at its line.
set -euo pipefail
shopt -s globstar nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck disable=SC2206 # words and patterns, on purpose
files=(${INPUT_FILES:-**/*.rcp})
if [ ${#files[@]} = 0 ]; then
  echo "::error::no recipe matches \`${INPUT_FILES:-**/*.rcp}\`"
  exit 1
fi

# A value of a command of GitHub; a file's name may be anything.
escaped() {
  local text=${1//'%'/%25}
  text=${text//$'\r'/%0D}
  text=${text//$'\n'/%0A}
  text=${text//:/%3A}
  printf '%s' "${text//,/%2C}"
}

# The text of a command of GitHub.
message() {
  local text=${1//'%'/%25}
  text=${text//$'\r'/%0D}
  printf '%s' "${text//$'\n'/%0A}"
}

# Recipes may come from a stranger: what they contain is never read as a command of GitHub.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
code=0
echo "::add-matcher::$here/matcher.json"
echo "::stop-commands::$token"
told=$(recipe check -- "${files[@]}" 2>&1) || code=$?
printf '%s\n' "$told"
echo "::$token::"
echo "::remove-matcher owner=recipelang::"

# A file that cannot be read has no line that a matcher could find; its note is that of the file.
if [[ $told == *'error[RCP120'[12]']'* ]]; then
  for file in "${files[@]}"; do
    why=$(recipe check -- "$file" 2>&1 | sed -n 's/^error\[\(RCP120[12]\)\]: /\1: /p' | head -n 1) || true
    [ -z "$why" ] || echo "::error file=$(escaped "$file"),title=unreadable::$(message "$why")"
  done
fi

if [ "${INPUT_FORMAT:-true}" = true ]; then
  for file in "${files[@]}"; do
    difference=$(recipe fmt --diff -- "$file" 2>/dev/null) || continue # it cannot be read, which is told above
    [ -n "$difference" ] || continue
    echo "::stop-commands::$token"
    printf '%s\n' "$difference"
    echo "::$token::"
    echo "::error file=$(escaped "$file"),title=layout::\`recipe fmt\` would change this recipe"
    [ "$code" != 0 ] || code=1
  done
fi
exit "$code"
