#!/bin/sh
# The compiled kernel under AddressSanitizer and UndefinedBehaviorSanitizer, with its own hash and
# with hashes made to collide: only two bits that choose a segment, and none of those bits.
#
#   tests/sanitize.sh [PYTHON]        needs gcc's libasan; ONLINESVM_FUZZ=20 fuzzes longer
#
# Works on a copy of the sources, so that the build in use stays as it is. Tests that limit or
# measure memory are left out: the sanitizers take memory of their own.
set -eu
python=$(command -v "${1:-python3}")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
house=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -rL "$house/onlinesvm" "$house/tests" "$house/setup.py" "$house/pyproject.toml" "$house/LICENSE" \
    "$house/README.md" "$copy"
rm -f "$copy"/onlinesvm/kernel/native/*.so
cd "$copy"

check() { # MASK TEST...
    echo "== hash mask ${1:-none} =="
    ONLINESVM_SANITIZE=1 ONLINESVM_HASH_MASK=$1 "$python" setup.py -q build_ext --inplace
    shift
    ls "$copy"/onlinesvm/kernel/native/_native.*.so >/dev/null # optional at install time, not here
    # The interpreter is not sanitized itself, so the run-time library comes first by preload;
    # what the interpreter leaves allocated at its end is no finding.
    LD_PRELOAD="$(${CC:-gcc} -print-file-name=libasan.so) $(${CC:-gcc} -print-file-name=libubsan.so)" \
        ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH="$copy" \
        PYTHONMALLOC=malloc "$python" -m pytest -q -p no:cacheprovider --timeout=600 \
        -k "(native or both_kernels) and not memory and not without_building_it" "$@"
}

check "" tests/kernel/test_conformance.py tests/kernel/test_multiclass.py tests/model/test_multiclass.py \
    tests/model/test_classes.py tests/data/test_codec_fuzz.py tests/readers/test_line_kernels.py \
    tests/readers/test_reader.py tests/data/test_codec.py tests/model/test_lookup.py tests/test_svm.py \
    tests/snapshot/test_view.py tests/model/test_pruning.py \
    tests/data/test_matrix.py tests/metrics/test_progressive.py tests/snapshot/test_snapshot.py tests/model/test_rules.py \
    tests/metrics/test_monitor.py tests/model/test_scorer.py tests/text/test_records.py \
    tests/model/test_views.py tests/data/test_record_bodies.py \
    tests/model/test_crosses.py tests/text/test_word_vectors.py
check 0xC000000000000000 tests/kernel/test_conformance.py \
    tests/text/test_records.py::test_the_native_kernel_gives_the_same_features
check 0x00000000FFFFFFFF tests/kernel/test_conformance.py
# Without the processor's wide instructions, as on other machines.
export CFLAGS=-DSCAN_PORTABLE
check "" tests/readers/test_line_kernels.py
