// The flat program that the Python side lowers a plan to, and what it says about slots.
//
// A program is a sequence of instructions of int32:
//
//     opcode, length, back, arguments...
//
// `length` counts all of them. `back` is how many rows before a tile's first one the instruction must also
// compute in the first tile of a run, so that later windows find their history.
//
// An operand is two ints: slot and lag (rows into the past); a slot below zero is the constant number ~slot.
// A sink is five ints: target (slot, or ~output), the number of a constant to add before rounding (-1 = none),
// the finishing operation, and its operand.
#pragma once

#include <cstdint>

enum Opcode : int32_t {
    // element-wise, one operand: precision, sink, a
    OP_COPY = 1, OP_ABS, OP_SIGN, OP_LOG, OP_SIGNED_LOG, OP_NOT,
    // element-wise, two operands: precision, sink, a, b
    OP_ADD = 16, OP_SUB, OP_MUL, OP_DIV, OP_POWER, OP_SIGNED_POWER, OP_GREATER, OP_LESS,
    OP_GT, OP_GE, OP_LT, OP_LE, OP_EQ, OP_NE, OP_AND, OP_OR,
    // precision, sink, condition, a, b
    OP_IF = 48,
    // rolling, one series: x, number of entries, entries of (window, statistic, sink)
    OP_MOMENTS = 64, OP_SUM, OP_SHAPE, OP_COUNT, OP_DEVIATION,
    // x, is minimum, number of entries, entries of (window, statistic: 0 value, 1 position; sink)
    OP_EXTREMA = 80,
    // x, window, number of entries, entries of (statistic, constant of q, sink)
    OP_ORDER,
    // x, number of entries, entries of (window, 0, sink)
    OP_RANK,
    // x, window, constant of the ratio, sink
    OP_EMA,
    // x, y, number of entries, entries of (window, statistic, sink)
    OP_PAIRS = 96,
};

enum MomentStatistic : int32_t {
    MOMENT_MEAN, MOMENT_STD, MOMENT_VAR, MOMENT_SLOPE, MOMENT_RSQUARE, MOMENT_RESI, MOMENT_DECAY, MOMENT_WMA,
    MOMENT_STATISTICS
};
enum ShapeStatistic : int32_t { SHAPE_SKEW, SHAPE_KURT };
enum OrderStatistic : int32_t { ORDER_QUANTILE, ORDER_TRIM_MEAN };
enum PairStatistic : int32_t { PAIR_CORR, PAIR_COV };
enum Finish : int32_t { FINISH_NONE, FINISH_MUL, FINISH_DIV, FINISH_RDIV, FINISH_SUB, FINISH_RSUB };

constexpr int HEADER = 3;   // opcode, length, back
constexpr int SINK = 5;     // ints of a sink
constexpr int ENTRY = 2 + SINK;

// A slot: an intermediate of a tile, [history + rows][16 lanes].
struct SlotShape {
    int32_t wide;     // 1: doubles, 0: floats
    int32_t history;  // rows before the tile that the first tile of a run computes
    int32_t keep;     // rows before the tile that later tiles read
};
