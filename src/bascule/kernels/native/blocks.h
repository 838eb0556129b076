// Sliding windows by blocks: every window is the end of one block and the beginning of the next.
//
// Time is cut into blocks as long as the window, on an absolute grid of bar numbers. A window that ends in
// block B holds the newest rows of block A before it and the oldest of B, so its statistic is one merge of a
// partial result over A, gathered backwards from the border, and one over B, gathered forwards (van Herk 1992,
// Gil and Werman 1993). Nothing is ever taken out of a running sum, hence
//
// - a spike leaves no trace once it has left the window, and a constant window gives exact zeros;
// - a value depends on the rows of its own window and on nothing else, whatever tile, chunk or thread
//   computes it: batch, chunked and live runs agree to the bit.
//
// Sums are centred on a value of the window itself (the border row), which bounds the cancellation.
#pragma once

#include "tile.h"

namespace BASCULE_ISA {

// One window length over rows [r0, r1) of a series whose row 0 is the absolute bar `when`.
//
// The gatherer G has: border(r) begins the pair of blocks that meets before row r; older(r, j) and newer(r, j)
// take in row r, j rows after the border; save(k) keeps the backward result as number k; turn() begins the
// forward part; emit(r, j, k) writes row r from the forward part and the backward result k.
template <class G> INLINE void sweep(G& g, int w, int64_t when, int r0, int r1) {
    for (int b = r0 - (int)floor_mod(when + r0, w); b < r1; b += w) {
        const int from = most(b, r0), to = least(b + w, r1), oldest = from - w + 1;
        g.border(b);
        g.save(b - oldest);
        for (int r = b - 1; r >= oldest; r--) {
            g.older(r, r - b);
            g.save(r - oldest);
        }
        g.turn();
        for (int r = b; r < from; r++) g.newer(r, r - b);
        for (int r = from; r < to; r++) {
            g.newer(r, r - b);
            g.emit(r, r - b, r - w + 1 - oldest);
        }
    }
}

// A window is flat where its standard deviation is at most a floor, or is what rounding makes of a constant.
struct Flat {
    double relative, absolute;  // of the variance: share of the squared mean, and number

    // The sum of squared deviations, NaN where it is flat. A window of floats is either constant, with a sum of
    // exactly 0, or far above the bound; so for these the relative rule needs no test.
    template <class E> MEMBER vd unless_flat(vd squares, vd mean, vd freedom) const {
        if (sizeof(E) == 4 && absolute == 0.0) return squares;
        return pick(squares <= (mean * mean * relative + absolute) * freedom, splat(NAND), squares);
    }
};

constexpr double ROUNDING = 1e-12;

INLINE Flat flat_of(const Tile& t, int32_t number) {
    if (number == FLOOR_RELATIVE) return {ROUNDING * ROUNDING, 0.0};
    const double floor = number >= 0 ? t.constants[number].value : 0.0;
    return {0.0, floor * floor};
}

}  // namespace BASCULE_ISA
