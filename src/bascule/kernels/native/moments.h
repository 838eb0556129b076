// Mean, variance, the straight line and linear weights over a window: one gatherer for all of them.
//
// With y = x - c, c the value at the border of the two blocks (blocks.h), and j the row counted from the border:
// S = sum y, Q = sum y^2, K = sum j y. The counted form also keeps the number of values n and the sums of j and
// j^2 over them; without gaps it computes the very same numbers as the plain form.
#pragma once

#include "blocks.h"

namespace BASCULE_ISA {

struct MomentWindow {
    int w;
    int mask;         // bit s: statistic s is wanted
    Sink sinks[MOMENT_STATISTICS];
    const int32_t* born;
    double per_n;     // 1/w
    double per_n1;    // 1/(w-1)
    double per_xx;    // 1 / sum (j - mean j)^2
    double half;      // (w-1)/2
    double freedom;   // w-1, at least 1
    Flat flat;
};

// What the statistics are made of, W lanes in two halves.
struct MomentState {
    vd mean[2], deviation[2];  // mean of y (centred), current y
    vd squares[2];             // sum (y - mean)^2
    vd cross[2], slope[2];     // sum (j - mean j) y, slope
    vd reach[2];               // newest j - mean j
    vd count[2], freedom[2];   // number of values; that less one, at least 1
};

// Linear weights: bar i of the window, 1 = oldest place, weighs i. Decay divides by the weights it used; WMA
// counts places from the first bar that exists, and divides by all weights and by the number of values.
INLINE void write_weighted(const MomentWindow& p, int r, int lane, const MomentState& m, const vd centre[2]) {
    vd decay[2], wma[2] = {};
    for (int h = 0; h < 2; h++) {
        const vd middle = (double)p.w - m.reach[h];
        decay[h] = centre[h] + (m.mean[h] + m.cross[h] * (1.0 / (m.count[h] * middle)));
        if (p.mask & 1 << MOMENT_WMA) {
            vd length;
            for (int l = 0; l < HALF; l++) length[l] = least(p.w, r - p.born[lane + h * HALF + l] + 1);
            wma[h] = (middle * decay[h] - ((double)p.w - length) * (centre[h] + m.mean[h])) /
                     (0.5 * length * (length + 1.0));
        }
    }
    if (p.mask & 1 << MOMENT_DECAY) p.sinks[MOMENT_DECAY].put(r, lane, decay[0], decay[1]);
    if (p.mask & 1 << MOMENT_WMA) p.sinks[MOMENT_WMA].put(r, lane, wma[0], wma[1]);
}

// The root in single precision, taken in double precision where the square leaves the range of floats.
INLINE vf root_of(vd a, vd b) {
    const vf square = narrow(a, b);
    const vi out = wild(square);
    if (any(out)) return pick(out, narrow(root(a), root(b)), root(square));
    return root(square);
}

// a b / square, likewise.
INLINE vf quotient_of(const vd a[2], const vd b[2], const vd square[2]) {
    const vf bottom = narrow(square[0], square[1]);
    const vf v = narrow(a[0], a[1]) * narrow(b[0], b[1]) / bottom;
    const vi out = wild(bottom);
    if (any(out)) return pick(out, narrow(a[0] * b[0] / square[0], a[1] * b[1] / square[1]), v);
    return v;
}

template <class E, bool Q, bool K>
INLINE void write_moments(const MomentWindow& p, int r, int lane, const MomentState& m, const vd centre[2],
                          const vd per_n1[2]) {
    const int mask = p.mask;
    if (mask & 1 << MOMENT_MEAN)
        p.sinks[MOMENT_MEAN].put(r, lane, centre[0] + m.mean[0], centre[1] + m.mean[1]);
    if constexpr (Q) {
        const vd v0 = m.squares[0] * per_n1[0], v1 = m.squares[1] * per_n1[1];
        if (mask & 1 << MOMENT_VAR) p.sinks[MOMENT_VAR].put(r, lane, v0, v1);
        if (mask & 1 << MOMENT_STD) {
            const Sink& s = p.sinks[MOMENT_STD];
            if (s.wide) s.put(r, lane, root(v0), root(v1));
            else s.put(r, lane, root_of(v0, v1));
        }
    }
    if constexpr (K) {
        if (mask & (1 << MOMENT_DECAY | 1 << MOMENT_WMA)) write_weighted(p, r, lane, m, centre);
        if (mask & 1 << MOMENT_SLOPE) p.sinks[MOMENT_SLOPE].put(r, lane, m.slope[0], m.slope[1]);
        if (mask & 1 << MOMENT_RESI)
            p.sinks[MOMENT_RESI].put(r, lane, minus(m.deviation[0] - m.mean[0], m.slope[0], m.reach[0]),
                                     minus(m.deviation[1] - m.mean[1], m.slope[1], m.reach[1]));
        if constexpr (Q) {
            if (mask & 1 << MOMENT_RSQUARE) {
                const Sink& s = p.sinks[MOMENT_RSQUARE];
                vd squares[2];
                for (int h = 0; h < 2; h++)
                    squares[h] = p.flat.unless_flat<E>(m.squares[h], centre[h] + m.mean[h], m.freedom[h]);
                if (s.wide)
                    s.put(r, lane, m.cross[0] * m.slope[0] / squares[0], m.cross[1] * m.slope[1] / squares[1]);
                else
                    s.put(r, lane, quotient_of(m.cross, m.slope, squares));
            }
        }
    }
}

// Every lane has a value in every row (or in none: NaN then runs through).
template <class E, bool Q, bool K> struct Moments {
    const MomentWindow& p;
    Series<E> x;
    int lane;
    vd* saved;
    vd c[2], s[2], q[2], k[2], y[2];
    static constexpr int KEPT = 2 * (1 + Q + K);

    MEMBER void clear() {
        for (int h = 0; h < 2; h++) s[h] = q[h] = k[h] = vd{};
    }
    MEMBER void border(int b) {
        for (int h = 0; h < 2; h++) c[h] = widen(x.row(b, lane + h * HALF));
        clear();
    }
    MEMBER void turn() { clear(); }
    MEMBER void newer(int r, int j) {
        for (int h = 0; h < 2; h++) {
            y[h] = widen(x.row(r, lane + h * HALF)) - c[h];
            s[h] += y[h];
            if constexpr (Q) q[h] = plus(q[h], y[h], y[h]);
            if constexpr (K) k[h] = plus(k[h], y[h], splat((double)j));
        }
    }
    MEMBER void older(int r, int j) { newer(r, j); }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = s[h];
            if constexpr (Q) *v++ = q[h];
            if constexpr (K) *v++ = k[h];
        }
    }
    MEMBER void emit(int r, int j, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        MomentState m;
        const vd per_n1[2] = {splat(p.per_n1), splat(p.per_n1)};
        for (int h = 0; h < 2; h++) {
            const vd sum = s[h] + *v++;
            m.mean[h] = sum * p.per_n;
            if constexpr (Q) m.squares[h] = minus(q[h] + *v++, sum, m.mean[h]);
            if constexpr (K) {
                m.cross[h] = minus(k[h] + *v++, sum, splat((double)j - p.half));
                m.slope[h] = m.cross[h] * p.per_xx;
                m.reach[h] = splat(p.half);
                m.deviation[h] = y[h];
                m.count[h] = splat((double)p.w);
                m.freedom[h] = splat(p.freedom);
            }
        }
        write_moments<E, Q, K>(p, r, lane, m, c, per_n1);
    }
};

// The same with gaps: values that are not finite are left out.
template <class E, bool Q, bool K> struct CountedMoments {
    const MomentWindow& p;
    Series<E> x;
    int lane;
    vd* saved;
    vd c[2], behind[2], raw[2];  // centre of the forward part, of the backward part; current value
    vl has[2];                   // the part at hand has a centre
    vl has_behind[2];
    vd n[2], s[2], q[2], k[2], i[2], ii[2];
    static constexpr int KEPT = 2 * (2 + Q + 3 * K);

    MEMBER void clear() {
        for (int h = 0; h < 2; h++) n[h] = s[h] = q[h] = k[h] = i[h] = ii[h] = vd{};
    }
    MEMBER void border(int b) {
        clear();
        for (int h = 0; h < 2; h++) {
            const vd v = widen(x.row(b, lane + h * HALF));
            has[h] = finite(v);
            c[h] = only(has[h], v);
        }
    }
    MEMBER void turn() {
        for (int h = 0; h < 2; h++) {
            behind[h] = c[h];
            has_behind[h] = has[h];
            has[h] = vl{};
        }
        clear();
    }
    MEMBER void newer(int r, int j) {
        const double d = j;
        for (int h = 0; h < 2; h++) {
            raw[h] = widen(x.row(r, lane + h * HALF));
            const vl ok = finite(raw[h]);
            c[h] = pick(ok & ~has[h], raw[h], c[h]);
            has[h] |= ok;
            const vd one = only(ok, splat(1.0)), y = only(ok, raw[h] - c[h]);
            n[h] += one;
            s[h] += y;
            if constexpr (Q) q[h] = plus(q[h], y, y);
            if constexpr (K) {
                k[h] = plus(k[h], y, splat(d));
                i[h] += one * d;
                ii[h] += one * (d * d);
            }
        }
    }
    MEMBER void older(int r, int j) { newer(r, j); }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = n[h];
            *v++ = s[h];
            if constexpr (Q) *v++ = q[h];
            if constexpr (K) {
                *v++ = k[h];
                *v++ = i[h];
                *v++ = ii[h];
            }
        }
    }
    MEMBER void emit(int r, int j, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        MomentState m;
        vd centre[2], per_n1[2];
        for (int h = 0; h < 2; h++) {
            // the backward part moves to the forward part's centre; between equal centres nothing changes
            const vl ahead = has[h];
            centre[h] = pick(ahead, c[h], behind[h]);
            const vd shift = only(ahead & has_behind[h], behind[h] - c[h]);
            const vd n_old = *v++, s_old = *v++;
            const vd moved = n_old * shift, s_new = s_old + moved;
            const vd count = n[h] + n_old, sum = s[h] + s_new;
            m.mean[h] = sum * (1.0 / count);
            per_n1[h] = 1.0 / (count - 1.0);
            if constexpr (Q) m.squares[h] = minus(q[h] + plus(*v++, shift, s_old + s_new), sum, m.mean[h]);
            if constexpr (K) {
                const vd k_old = *v++, i_old = *v++, ii_old = *v++;
                const vd i_all = i[h] + i_old, centre_j = i_all / count;
                m.cross[h] = minus(k[h] + plus(k_old, shift, i_old), sum, centre_j);
                m.slope[h] = m.cross[h] * (1.0 / ((ii[h] + ii_old) - i_all * centre_j));
                m.reach[h] = (double)j - centre_j;
                m.count[h] = count;
                m.freedom[h] = greater(splat(1.0), count - 1.0);
                m.deviation[h] = pick(finite(raw[h]), raw[h] - centre[h], splat(NAND));
            }
        }
        write_moments<E, Q, K>(p, r, lane, m, centre, per_n1);
    }
};

// One window of a series over rows [r0, r1).
template <class E, bool Q, bool K>
static void moment_window(const Tile& t, const MomentWindow& p, Series<E> x, int64_t when, int r0, int r1, bool plain) {
    for (int lane = 0; lane < LANES; lane += W) {
        if (plain) {
            Moments<E, Q, K> g{p, x, lane, (vd*)t.scratch, {}, {}, {}, {}, {}};
            sweep(g, p.w, when, r0, r1);
        } else {
            CountedMoments<E, Q, K> g{p, x, lane, (vd*)t.scratch, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
            sweep(g, p.w, when, r0, r1);
        }
    }
}

// x, floor, number of entries, entries of (window, statistic, sink), sorted by window.
template <class E> static void run_moments(const Tile& t, const int32_t* args, int r0) {
    constexpr int SQUARES = 1 << MOMENT_STD | 1 << MOMENT_VAR | 1 << MOMENT_RSQUARE;
    constexpr int LINE =
        1 << MOMENT_SLOPE | 1 << MOMENT_RSQUARE | 1 << MOMENT_RESI | 1 << MOMENT_DECAY | 1 << MOMENT_WMA;
    const Series<E> x = series<E>(t, args);
    const int count = args[3];
    const int32_t* entry = args + 4;
    const bool plain = uniform(x, r0 - entry[(count - 1) * ENTRY] + 1, t.rows);
    for (int e = 0; e < count;) {
        MomentWindow p;
        p.w = entry[0];
        p.mask = 0;
        p.born = t.born;
        t.staged = 0;
        for (; e < count && entry[0] == p.w && !(p.mask & 1 << entry[1]); e++, entry += ENTRY) {
            p.mask |= 1 << entry[1];
            p.sinks[entry[1]] = sink(t, entry + 2);
        }
        const double w = p.w;
        p.per_n = 1.0 / w;
        p.per_n1 = 1.0 / (w - 1.0);
        p.per_xx = 1.0 / (w * (w * w - 1.0) / 12.0);
        p.half = (w - 1.0) / 2.0;
        p.flat = flat_of(t, args[2]);
        p.freedom = w > 1.0 ? w - 1.0 : 1.0;
        const int64_t when = t.when - args[1];
        const bool q = p.mask & SQUARES, k = p.mask & LINE;
        if (q && k) moment_window<E, true, true>(t, p, x, when, r0, t.rows, plain);
        else if (q) moment_window<E, true, false>(t, p, x, when, r0, t.rows, plain);
        else if (k) moment_window<E, false, true>(t, p, x, when, r0, t.rows, plain);
        else moment_window<E, false, false>(t, p, x, when, r0, t.rows, plain);
        for (int s = 0; s < MOMENT_STATISTICS; s++)
            if (p.mask & 1 << s) flush(t, p.sinks[s]);
    }
}

}  // namespace BASCULE_ISA
