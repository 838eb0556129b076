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
// A sink is five ints: target (slot, or ~output), the number of a constant to add (-1 = none),
// the finishing operation, and its operand.
#pragma once

#include <cstdint>

#define BASCULE_OPCODES(X)                                                                              \
    /* element-wise, one operand: precision, sink, a */                                                \
    X(COPY, 1) X(ABS, 2) X(SIGN, 3) X(LOG, 4) X(SIGNED_LOG, 5) X(NOT, 6)                                \
    /* element-wise, two operands: precision, sink, a, b */                                            \
    X(ADD, 16) X(SUB, 17) X(MUL, 18) X(DIV, 19) X(POWER, 20) X(SIGNED_POWER, 21) X(GREATER, 22)         \
    X(LESS, 23) X(GT, 24) X(GE, 25) X(LT, 26) X(LE, 27) X(EQ, 28) X(NE, 29) X(AND, 30) X(OR, 31)        \
    /* precision, sink, condition, a, b; IF_KNOWN: NaN where a numeric condition is NaN */             \
    X(IF, 48) X(IF_KNOWN, 49)                                                                          \
    /* rolling, one series: x, floor, number of entries, entries of (window, statistic, sink) */       \
    X(MOMENTS, 64) X(SHAPE, 65)                                                                        \
    /* x, number of entries, entries of (window, 0, sink) */                                           \
    X(SUM, 66) X(COUNT, 67) X(DEVIATION, 68) X(RANK, 69) X(SHARE, 70)                                                \
    /* x, is minimum, number of entries, entries of (window, 0 value or 1 position, sink) */           \
    X(EXTREMA, 80)                                                                                     \
    /* x, window, number of entries, entries of (statistic, constant of q, sink) */                    \
    X(ORDER, 81)                                                                                       \
    /* x, window, constant of the ratio, sink */                                                       \
    X(EMA, 82)                                                                                         \
    /* x, y, floor, number of entries, entries of (window, statistic, sink) */                         \
    X(PAIRS, 96)

// `floor` is the number of the constant below which a window counts as flat (a standard deviation; for SHAPE a
// variance), FLOOR_RELATIVE for rounding relative to the level, or FLOOR_NONE.
constexpr int32_t FLOOR_RELATIVE = -1;
constexpr int32_t FLOOR_NONE = -2;

enum Opcode : int32_t {
#define BASCULE_OPCODE(name, number) OP_##name = number,
    BASCULE_OPCODES(BASCULE_OPCODE)
#undef BASCULE_OPCODE
};

enum MomentStatistic : int32_t {
    MOMENT_MEAN, MOMENT_STD, MOMENT_VAR, MOMENT_SLOPE, MOMENT_RSQUARE, MOMENT_RESI, MOMENT_DECAY, MOMENT_WMA,
    MOMENT_STATISTICS
};
enum ShapeStatistic : int32_t { SHAPE_SKEW, SHAPE_KURT, SHAPE_STATISTICS };
enum OrderStatistic : int32_t { ORDER_QUANTILE, ORDER_TRIM_MEAN, ORDER_WINSORIZE, ORDER_STATISTICS };
enum PairStatistic : int32_t { PAIR_CORR, PAIR_COV, PAIR_STATISTICS };
enum Finish : int32_t { FINISH_NONE, FINISH_MUL, FINISH_DIV, FINISH_RDIV, FINISH_SUB, FINISH_RSUB, FINISHES };

constexpr int HEADER = 3;   // opcode, length, back
constexpr int SINK = 5;     // ints of a sink
constexpr int ENTRY = 2 + SINK;

// A slot: an intermediate of a tile, [history + rows][16 lanes].
struct SlotShape {
    int32_t wide;     // 1: doubles, 0: floats
    int32_t history;  // rows before the tile that the first tile of a run computes
    int32_t keep;     // rows before the tile that later tiles read
};
