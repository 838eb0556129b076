// Correlation and covariance of two series over a window, from the bars where both have a value.
#pragma once

#include "blocks.h"

namespace BASCULE_ISA {

struct PairWindow {
    int w;
    int mask;
    Sink sinks[2];
    double per_n, per_n1, freedom;
    Flat flat;
};

INLINE void write_pair(const PairWindow& p, int r, int lane, const vd xx[2], const vd yy[2], const vd xy[2],
                       const vd per_n1[2]) {
    if (p.mask & 1 << PAIR_COV) p.sinks[PAIR_COV].put(r, lane, xy[0] * per_n1[0], xy[1] * per_n1[1]);
    if (p.mask & 1 << PAIR_CORR) {
        const Sink& s = p.sinks[PAIR_CORR];
        // clipped to [-1, 1]: rounding may step over. A constant side gives 0/0
        if (s.wide) {
            vd c[2];
            for (int h = 0; h < 2; h++)
                c[h] = greater(splat(-1.0), lesser(splat(1.0), xy[h] / (root(xx[h]) * root(yy[h]))));
            s.put(r, lane, c[0], c[1]);
        } else {
            const vf product = narrow(xx[0] * yy[0], xx[1] * yy[1]), top = narrow(xy[0], xy[1]);
            vf c = top / root(product);
            // one root is enough unless the product leaves the range of floats
            const vi out = (product == splat(0.0f)) | wild(product);
            if (any(out)) {
                vd wide[2];
                for (int h = 0; h < 2; h++) wide[h] = xy[h] / (root(xx[h]) * root(yy[h]));
                c = pick(out, narrow(wide[0], wide[1]), c);
            }
            s.put(r, lane, greater(splat(-1.0f), lesser(splat(1.0f), c)));
        }
    }
}

// A and B are the element types of the two series.
template <class A, class B, bool COUNTED> struct Pairs {
    const PairWindow& p;
    Series<A> x;
    Series<B> y;
    int lane;
    vd* saved;
    vd cx[2], cy[2], bx[2], by[2];  // centres: forward part, backward part
    vl has[2], has_behind[2];
    vd n[2], sx[2], sy[2], xx[2], yy[2], xy[2];
    static constexpr int KEPT = 2 * (5 + COUNTED);

    MEMBER void clear() {
        for (int h = 0; h < 2; h++) n[h] = sx[h] = sy[h] = xx[h] = yy[h] = xy[h] = vd{};
    }
    MEMBER void border(int b) {
        clear();
        for (int h = 0; h < 2; h++) {
            cx[h] = widen(x.row(b, lane + h * HALF));
            cy[h] = widen(y.row(b, lane + h * HALF));
            if constexpr (COUNTED) {
                has[h] = finite(cx[h]) & finite(cy[h]);
                cx[h] = only(has[h], cx[h]);
                cy[h] = only(has[h], cy[h]);
            }
        }
    }
    MEMBER void turn() {
        clear();
        if constexpr (COUNTED)
            for (int h = 0; h < 2; h++) {
                bx[h] = cx[h];
                by[h] = cy[h];
                has_behind[h] = has[h];
                has[h] = vl{};
            }
    }
    MEMBER void newer(int r, int) {
        for (int h = 0; h < 2; h++) {
            const vd u = widen(x.row(r, lane + h * HALF)), v = widen(y.row(r, lane + h * HALF));
            vd a, b;
            if constexpr (COUNTED) {
                const vl ok = finite(u) & finite(v), fresh = ok & ~has[h];
                cx[h] = pick(fresh, u, cx[h]);
                cy[h] = pick(fresh, v, cy[h]);
                has[h] |= ok;
                a = only(ok, u - cx[h]);
                b = only(ok, v - cy[h]);
                n[h] += only(ok, splat(1.0));
            } else {
                a = u - cx[h];
                b = v - cy[h];
            }
            sx[h] += a;
            sy[h] += b;
            xx[h] = plus(xx[h], a, a);
            yy[h] = plus(yy[h], b, b);
            xy[h] = plus(xy[h], a, b);
        }
    }
    MEMBER void older(int r, int j) { newer(r, j); }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = sx[h];
            *v++ = sy[h];
            *v++ = xx[h];
            *v++ = yy[h];
            *v++ = xy[h];
            if constexpr (COUNTED) *v++ = n[h];
        }
    }
    MEMBER void emit(int r, int, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        vd pp[2], qq[2], pq[2], per_n1[2];
        for (int h = 0; h < 2; h++) {
            const vd sx_old = *v++, sy_old = *v++, xx_old = *v++, yy_old = *v++, xy_old = *v++;
            vd u, w, per_n;
            if constexpr (COUNTED) {
                const vd n_old = *v++;
                const vl both = has[h] & has_behind[h];
                const vd dx = only(both, bx[h] - cx[h]), dy = only(both, by[h] - cy[h]);
                const vd sx_new = sx_old + n_old * dx, sy_new = sy_old + n_old * dy;
                const vd count = n[h] + n_old;
                per_n = 1.0 / count;
                per_n1[h] = 1.0 / (count - 1.0);
                u = sx[h] + sx_new;
                w = sy[h] + sy_new;
                pp[h] = xx[h] + plus(xx_old, dx, sx_old + sx_new);
                qq[h] = yy[h] + plus(yy_old, dy, sy_old + sy_new);
                pq[h] = xy[h] + (xy_old + (dx * sy_new + dy * sx_old));
            } else {
                per_n = splat(p.per_n);
                per_n1[h] = splat(p.per_n1);
                u = sx[h] + sx_old;
                w = sy[h] + sy_old;
                pp[h] = xx[h] + xx_old;
                qq[h] = yy[h] + yy_old;
                pq[h] = xy[h] + xy_old;
            }
            const vd mean_x = u * per_n, mean_y = w * per_n;
            pp[h] = minus(pp[h], u, mean_x);
            qq[h] = minus(qq[h], w, mean_y);
            pq[h] = minus(pq[h], w, mean_x);
            if (p.mask & 1 << PAIR_CORR) {
                vd freedom, at_x, at_y;
                if constexpr (COUNTED) {
                    freedom = greater(splat(1.0), n[h] + v[-1] - 1.0);
                    at_x = pick(has[h], cx[h], bx[h]);
                    at_y = pick(has[h], cy[h], by[h]);
                } else {
                    freedom = splat(p.freedom);
                    at_x = cx[h];
                    at_y = cy[h];
                }
                pp[h] = p.flat.unless_flat<A>(pp[h], at_x + mean_x, freedom);
                qq[h] = p.flat.unless_flat<B>(qq[h], at_y + mean_y, freedom);
            }
        }
        write_pair(p, r, lane, pp, qq, pq, per_n1);
    }
};

template <class A, class B>
static void pair_window(const Tile& t, const PairWindow& p, Series<A> x, Series<B> y, int64_t when, int r0, bool plain) {
    for (int lane = 0; lane < LANES; lane += W) {
        if (plain) {
            Pairs<A, B, false> g{p, x, y, lane, (vd*)t.scratch, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
            sweep(g, p.w, when, r0, t.rows);
        } else {
            Pairs<A, B, true> g{p, x, y, lane, (vd*)t.scratch, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
            sweep(g, p.w, when, r0, t.rows);
        }
    }
}

// x, y, floor, number of entries, entries of (window, statistic, sink), sorted by window.
template <class A, class B> static void run_pairs(const Tile& t, const int32_t* args, int r0) {
    const Series<A> x = series<A>(t, args);
    const Series<B> y = series<B>(t, args + 2);
    const int count = args[5];
    const int32_t* entry = args + 6;
    const int first = r0 - entry[(count - 1) * ENTRY] + 1;
    const bool plain = uniform(x, first, t.rows) && uniform(y, first, t.rows);
    // the border lies on the grid of the newer operand's time, so that common lags hoist out
    const int64_t when = t.when - least(args[1], args[3]);
    for (int e = 0; e < count;) {
        PairWindow p;
        p.w = entry[0];
        p.mask = 0;
        t.staged = 0;
        for (; e < count && entry[0] == p.w && !(p.mask & 1 << entry[1]); e++, entry += ENTRY) {
            p.mask |= 1 << entry[1];
            p.sinks[entry[1]] = sink(t, entry + 2);
        }
        p.per_n = 1.0 / p.w;
        p.per_n1 = 1.0 / (p.w - 1.0);
        p.freedom = p.w > 1 ? p.w - 1.0 : 1.0;
        p.flat = flat_of(t, args[4]);
        pair_window(t, p, x, y, when, r0, plain);
        for (int s = 0; s < 2; s++)
            if (p.mask & 1 << s) flush(t, p.sinks[s]);
    }
}

}  // namespace BASCULE_ISA
