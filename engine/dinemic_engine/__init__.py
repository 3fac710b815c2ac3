"""Signed events in, verdicts and state out: the part of Dinemic that does no I/O of its own.

Nothing here starts tasks, takes locks, reads clocks or draws entropy; times and random bytes are
arguments. The engine returns values and never calls up.
"""
