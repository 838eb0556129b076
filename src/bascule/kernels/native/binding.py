"""The structs of ``run.h`` as ctypes sees them."""

from __future__ import annotations

import ctypes

_I64 = ctypes.c_int64
_PI32 = ctypes.POINTER(ctypes.c_int32)
_PI64 = ctypes.POINTER(ctypes.c_int64)
_PF64 = ctypes.POINTER(ctypes.c_double)


class Input(ctypes.Structure):
    """A field ``[rows][instruments]``: address, elements between rows, whether values begin with listings."""

    _fields_ = (("p", ctypes.c_void_p), ("stride", _I64), ("own", _I64))


class Output(ctypes.Structure):
    """Where an output begins, and whether it is of doubles."""

    _fields_ = (("p", ctypes.c_void_p), ("wide", _I64))


class SlotShape(ctypes.Structure):
    """An intermediate of a tile: doubles or floats, rows of history at first, and later."""

    _fields_ = (("wide", ctypes.c_int32), ("history", ctypes.c_int32), ("keep", ctypes.c_int32))


class Correlation(ctypes.Structure):
    """Labels to correlate outputs with; see ``run.h`` for the meaning of each field."""

    _fields_ = (
        ("labels", ctypes.c_void_p),
        ("n_labels", _I64),
        ("label_rows", _I64),
        ("label_row", _I64),
        ("mask", ctypes.c_void_p),
        ("mask_row", _I64),
        ("plain", ctypes.c_void_p),
        ("rank", ctypes.c_void_p),
        ("out_rows", _I64),
        ("first", _I64),
        ("least", _I64),
        ("chunk_rows", _I64),
    )


class Run(ctypes.Structure):
    """One run of a program; see ``run.h`` for the meaning of each field."""

    _fields_ = (
        ("inputs", ctypes.POINTER(Input)),
        ("rows", _I64),
        ("instruments", _I64),
        ("origin", _I64),
        ("starts", _PI64),
        ("program", _PI32),
        ("length", _I64),
        ("constants", _PF64),
        ("n_constants", _I64),
        ("shapes", ctypes.POINTER(SlotShape)),
        ("n_slots", _I64),
        ("n_inputs", _I64),
        ("tile_rows", _I64),
        ("outputs", ctypes.POINTER(Output)),
        ("n_outputs", _I64),
        ("out_block", _I64),
        ("out_row", _I64),
        ("first", _I64),
        ("last", _I64),
        ("first_block", _I64),
        ("last_block", _I64),
        ("chunk_rows", _I64),
        ("threads", _I64),
        ("stream", _I64),
    )
