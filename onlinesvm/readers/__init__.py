"""Text files to batches of samples.

`reader` walks a file: `chunks` reads it, `detect` and `start` find its format and header, `parsing`
and one file a format turn lines into samples, `prefetch` does so on a thread of its own. `tokens`
and `labels` read the parts that formats share. May import `config`, `data`, `errors`,
`kernel` and `text`.

A new format takes: its file here, with its grammar in the docstring, `fits` and a parser; its row
in `formats`; its samples and faults in tests/readers/test_formats.py and its lines in the fuzz
tests of tests/readers/test_line_kernels.py. Only where it is to be fast: a function in
kernel/csrc/lines/lines.h and its row in kernel/native/lines.pxi.
"""
