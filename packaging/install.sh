#!/bin/sh
# install.sh WHEELS ENVIRONMENT: a new virtual environment with the wheel that lies in WHEELS.
set -eu
python3 -m venv "$2"
"$2/bin/pip" install --quiet --disable-pip-version-check "$1"/onlinesvm-*.whl
"$2/bin/onlinesvm" --version
