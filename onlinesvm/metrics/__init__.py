"""Metrics of the margins before each sample is learned: errors, calibration, confusion, drift.

`progressive` counts errors and losses, `monitor` keeps `calibration`, `confusion` and `drift`;
`fpmath` is the exp and log that have the same bits everywhere. May import `data`.
"""
