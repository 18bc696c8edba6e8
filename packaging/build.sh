#!/bin/sh
# build.sh SOURCES FOLDER: a wheel of the sources with the compiled kernel, in FOLDER.
set -eu
python3 -m venv "$2/.build"
"$2/.build/bin/pip" install --quiet --disable-pip-version-check build
"$2/.build/bin/python" -m build --wheel --outdir "$2" "$1"
rm -r "$2/.build"
case "$(ls "$2")" in
    *none-any*) echo "build.sh: expected a wheel with the compiled kernel, got a pure one" >&2; exit 1 ;;
esac
