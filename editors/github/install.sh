#!/usr/bin/env bash
# Installs the recipelang that this action came with into an environment of its own, and puts `recipe` on the PATH.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
home=${RUNNER_TEMP:?}/recipelang

case ${INPUT_INSTALL:-light} in
none) exit 0 ;;
light | full) ;;
*)
  echo "::error::install: light, full or none"
  exit 1
  ;;
esac

"${INPUT_PYTHON:-python3}" -m venv "$home"
bin=$home/bin
[ -d "$bin" ] || bin=$home/Scripts # on Windows
if [ "${INPUT_INSTALL:-light}" = full ]; then
  "$bin/python" -m pip install --quiet --disable-pip-version-check "$root"
else
  "$bin/python" "$here/requirements.py" "$root/pyproject.toml" >"$home/requirements.txt"
  "$bin/python" -m pip install --quiet --disable-pip-version-check -r "$home/requirements.txt"
  "$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$root"
fi
"$bin/recipe" --version
echo "$bin" >>"${GITHUB_PATH:?}"
