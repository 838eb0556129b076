// Sums, counts, skewness and kurtosis, absolute deviations, and exponentially weighted means.
#pragma once

#include "blocks.h"

namespace BASCULE_ISA {

// -- sum -------------------------------------------------------------------------------------------

// Values that are not finite add nothing when COUNTED; the plain form meets none (or only NaN).
template <class E, bool COUNTED> struct Sums {
    const Sink& out;
    Series<E> x;
    int lane;
    vd* saved;
    vd s[2], n[2];
    static constexpr int KEPT = 2 * (1 + COUNTED);

    MEMBER void border(int) { turn(); }
    MEMBER void turn() {
        for (int h = 0; h < 2; h++) s[h] = n[h] = vd{};
    }
    MEMBER void newer(int r, int) {
        for (int h = 0; h < 2; h++) {
            const vd v = widen(x.row(r, lane + h * HALF));
            if constexpr (COUNTED) {
                const vl ok = finite(v);
                s[h] += only(ok, v);
                n[h] += only(ok, splat(1.0));
            } else {
                s[h] += v;
            }
        }
    }
    MEMBER void older(int r, int j) { newer(r, j); }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = s[h];
            if constexpr (COUNTED) *v++ = n[h];
        }
    }
    MEMBER void emit(int r, int, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        vd sum[2];
        for (int h = 0; h < 2; h++) {
            sum[h] = s[h] + *v++;
            if constexpr (COUNTED) sum[h] = pick(n[h] + *v++ > 0.5, sum[h], splat(NAND));
        }
        out.put(r, lane, sum[0], sum[1]);
    }
};

// x, number of entries, entries of (window, 0, sink).
template <class E> static void run_sum(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    const int count = args[2];
    const int32_t* entry = args + 3;
    const bool plain = uniform(x, r0 - entry[(count - 1) * ENTRY] + 1, t.rows);
    for (int e = 0; e < count; e++, entry += ENTRY) {
        t.staged = 0;
        const Sink out = sink(t, entry + 2);
        for (int lane = 0; lane < LANES; lane += W) {
            if (plain) {
                Sums<E, false> g{out, x, lane, (vd*)t.scratch, {}, {}};
                sweep(g, entry[0], t.when - args[1], r0, t.rows);
            } else {
                Sums<E, true> g{out, x, lane, (vd*)t.scratch, {}, {}};
                sweep(g, entry[0], t.when - args[1], r0, t.rows);
            }
        }
        flush(t, out);
    }
}

// -- count -----------------------------------------------------------------------------------------

// Whole numbers are exact in any order, so these may slide.
template <class E> static void run_count(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    const int count = args[2];
    const int32_t* entry = args + 3;
    for (int e = 0; e < count; e++, entry += ENTRY) {
        t.staged = 0;
        const int w = entry[0];
        const Sink out = sink(t, entry + 2, Vector<E>::lanes < LANES || t.late);
        for (int lane = 0; lane < LANES; lane += Vector<E>::lanes) {
            Mask<E> n = {};
            for (int r = r0 - w + 1; r < r0; r++) {
                const Value<E> v = load(x.row(r, lane));
                n -= v == v;
            }
            for (int r = r0; r < t.rows; r++) {
                const Value<E> v = load(x.row(r, lane));
                n -= v == v;
                out.put_value(r, lane, __builtin_convertvector(n, Value<E>));
                const Value<E> o = load(x.row(r - w + 1, lane));
                n += o == o;
            }
        }
        if (t.late) blank(t, out, r0);
        flush(t, out);
    }
}

// The share of rows that are true, of a series of 0, 1 and NaN. Sums of whole numbers are exact, so they slide.
static void run_share(const Tile& t, const int32_t* args, int r0) {
    const Series<float> x = series<float>(t, args);
    const int count = args[2];
    const int32_t* entry = args + 3;
    const bool plain = uniform(x, r0 - entry[(count - 1) * ENTRY] + 1, t.rows);
    for (int e = 0; e < count; e++, entry += ENTRY) {
        t.staged = 0;
        const int w = entry[0];
        const Sink out = sink(t, entry + 2);
        for (int lane = 0; lane < LANES; lane += W) {
            vf s = {}, n = {};
            const auto take = [&](int r, float sign) __attribute__((always_inline)) {
                const vf v = load(x.row(r, lane));
                if (plain) {
                    s += v * sign;
                } else {
                    s += only(finite(v), v) * sign;
                    n += truth(finite(v)) * sign;
                }
            };
            if (plain) n = splat((float)w);
            for (int r = r0 - w + 1; r < r0; r++) take(r, 1.0f);
            for (int r = r0; r < t.rows; r++) {
                take(r, 1.0f);
                if (out.wide) {
                    float part[2][W];
                    store(part[0], s);
                    store(part[1], n);
                    out.put(r, lane, widen(part[0]) / widen(part[1]), widen(part[0] + HALF) / widen(part[1] + HALF));
                } else {
                    out.put(r, lane, s / n);
                }
                take(r - w + 1, -1.0f);
            }
        }
        flush(t, out);
    }
}

// -- skewness and kurtosis -------------------------------------------------------------------------

// Sums of y .. y^4 about a value of the window; always counted.
template <class E> struct Shape {
    const Sink* outs;
    int mask;
    double floor;
    Series<E> x;
    int lane;
    vd* saved;
    vd c[2], behind[2], n[2], s[2][4];
    vl has[2], has_behind[2];
    static constexpr int KEPT = 2 * 5;

    MEMBER void clear() {
        for (int h = 0; h < 2; h++) {
            n[h] = vd{};
            for (int p = 0; p < 4; p++) s[h][p] = vd{};
        }
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
    MEMBER void newer(int r, int) {
        for (int h = 0; h < 2; h++) {
            const vd v = widen(x.row(r, lane + h * HALF));
            const vl ok = finite(v);
            c[h] = pick(ok & ~has[h], v, c[h]);
            has[h] |= ok;
            const vd y = only(ok, v - c[h]), yy = y * y;
            n[h] += only(ok, splat(1.0));
            s[h][0] += y;
            s[h][1] += yy;
            s[h][2] += yy * y;
            s[h][3] += yy * yy;
        }
    }
    MEMBER void older(int r, int j) { newer(r, j); }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = n[h];
            for (int p = 0; p < 4; p++) *v++ = s[h][p];
        }
    }
    MEMBER void emit(int r, int, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        vd skew[2], kurt[2];
        for (int h = 0; h < 2; h++) {
            // the backward part moves by d to the forward part's centre: binomial sums
            const vd d = only(has[h] & has_behind[h], behind[h] - c[h]);
            const vd m = *v++, s1 = *v++, s2 = *v++, s3 = *v++, s4 = *v++;
            const vd all = n[h] + m;
            const vd a1 = (s[h][0] + (s1 + d * m)) / all;
            const vd a2 = (s[h][1] + (s2 + d * (2.0 * s1 + d * m))) / all;
            const vd a3 = (s[h][2] + (s3 + d * (3.0 * s2 + d * (3.0 * s1 + d * m)))) / all;
            const vd a4 = (s[h][3] + (s4 + d * (4.0 * s3 + d * (6.0 * s2 + d * (4.0 * s1 + d * m))))) / all;
            const vd m2 = greater(vd{}, a2 - a1 * a1);
            const vd m3 = a3 - a1 * (3.0 * a2 - 2.0 * a1 * a1);
            const vd m4 = a4 - a1 * (4.0 * a3 - a1 * (6.0 * a2 - 3.0 * a1 * a1));
            const vl constant = m2 == 0.0;
            // too flat for a shape, though not constant to the bit
            const vd level = pick(has[h], c[h], behind[h]) + a1;
            const vl flat = floor < 0.0 ? m2 * all <= (level * level * (ROUNDING * ROUNDING)) *
                                                          greater(splat(1.0), all - 1.0)
                                        : m2 <= splat(floor);
            const vd g = root(all * (all - 1.0)) / (all - 2.0) * (m3 / (m2 * root(m2)));
            const vd k = ((all * all - 1.0) * (m4 / (m2 * m2)) - 3.0 * (all - 1.0) * (all - 1.0)) /
                         ((all - 2.0) * (all - 3.0));
            const vd none = splat(NAND);
            skew[h] = pick(all > 2.5, pick(constant, vd{}, pick(flat, none, g)), none);
            kurt[h] = pick(all > 3.5, pick(constant, splat(-3.0), pick(flat, none, k)), none);
        }
        if (mask & 1 << SHAPE_SKEW) outs[SHAPE_SKEW].put(r, lane, skew[0], skew[1]);
        if (mask & 1 << SHAPE_KURT) outs[SHAPE_KURT].put(r, lane, kurt[0], kurt[1]);
    }
};

// x, floor, number of entries, entries of (window, statistic, sink), sorted by window.
template <class E> static void run_shape(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    const int count = args[3];
    const int32_t* entry = args + 4;
    for (int e = 0; e < count;) {
        const int w = entry[0];
        Sink outs[2];
        int mask = 0;
        t.staged = 0;
        for (; e < count && entry[0] == w && !(mask & 1 << entry[1]); e++, entry += ENTRY) {
            mask |= 1 << entry[1];
            outs[entry[1]] = sink(t, entry + 2);
        }
        for (int lane = 0; lane < LANES; lane += W) {
            Shape<E> g{outs, mask, args[2] < 0 ? -1.0 : t.constants[args[2]].value, x, lane, (vd*)t.scratch, {}, {}, {}, {}, {}, {}};
            sweep(g, w, t.when - args[1], r0, t.rows);
        }
        for (int s = 0; s < 2; s++)
            if (mask & 1 << s) flush(t, outs[s]);
    }
}

// -- mean absolute deviation from the mean ---------------------------------------------------------

// The mean of a window moves all deviations at once, so each window is read twice.
template <class E> static void run_deviation(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    const int count = args[2];
    const int32_t* entry = args + 3;
    for (int e = 0; e < count; e++, entry += ENTRY) {
        t.staged = 0;
        const int w = entry[0];
        const Sink out = sink(t, entry + 2);
        for (int lane = 0; lane < LANES; lane += W)
            for (int r = r0; r < t.rows; r++) {
                vd deviation[2];
                for (int h = 0; h < 2; h++) {
                    const int at = lane + h * HALF;
                    vd n = {}, s = {}, c = {};
                    for (int i = r - w + 1; i <= r; i++) {
                        const vd v = widen(x.row(i, at));
                        const vl ok = finite(v);
                        c = pick(ok & (n == 0.0), v, c);
                        n += only(ok, splat(1.0));
                        s += only(ok, v - c);
                    }
                    const vd mean = c + s / n;
                    s = vd{};
                    for (int i = r - w + 1; i <= r; i++) {
                        const vd v = widen(x.row(i, at));
                        s += only(finite(v), absolute(v - mean));
                    }
                    deviation[h] = s / n;
                }
                out.put(r, lane, deviation[0], deviation[1]);
            }
        flush(t, out);
    }
}

// -- exponentially weighted mean -------------------------------------------------------------------

// Weights fall by `ratio` a bar; the window ends where they no longer matter. Forward sums age as they grow,
// backward ones are aged once, by ratio^(bars since the border), when the two parts meet.
template <class E> struct Fading {
    const Sink& out;
    Series<E> x;
    int lane;
    vd* saved;
    double ratio;
    vd c[2], behind[2], s[2], n[2];
    vl has[2], has_behind[2];
    double age;
    static constexpr int KEPT = 2 * 2;

    MEMBER void border(int b) {
        for (int h = 0; h < 2; h++) {
            const vd v = widen(x.row(b, lane + h * HALF));
            has[h] = finite(v);
            c[h] = only(has[h], v);
            s[h] = n[h] = vd{};
        }
        age = 1.0;
    }
    MEMBER void turn() {
        for (int h = 0; h < 2; h++) {
            behind[h] = c[h];
            has_behind[h] = has[h];
            has[h] = vl{};
            s[h] = n[h] = vd{};
        }
        age = 1.0;
    }
    MEMBER vd centred(int r, int h, vl& ok) {
        const vd v = widen(x.row(r, lane + h * HALF));
        ok = finite(v);
        c[h] = pick(ok & ~has[h], v, c[h]);
        has[h] |= ok;
        return only(ok, v - c[h]);
    }
    MEMBER void older(int r, int) {
        for (int h = 0; h < 2; h++) {
            vl ok;
            const vd y = centred(r, h, ok);
            s[h] += y * age;
            n[h] += only(ok, splat(age));
        }
        age *= ratio;
    }
    MEMBER void newer(int r, int) {
        for (int h = 0; h < 2; h++) {
            vl ok;
            const vd y = centred(r, h, ok);
            s[h] = s[h] * ratio + y;
            n[h] = n[h] * ratio + only(ok, splat(1.0));
        }
        age *= ratio;
    }
    MEMBER void save(int at) const {
        vd* v = saved + (int64_t)at * KEPT;
        for (int h = 0; h < 2; h++) {
            *v++ = s[h];
            *v++ = n[h];
        }
    }
    MEMBER void emit(int r, int, int at) const {
        const vd* v = saved + (int64_t)at * KEPT;
        vd mean[2];
        for (int h = 0; h < 2; h++) {
            const vd shift = only(has[h] & has_behind[h], behind[h] - c[h]);
            const vd s_old = *v++, n_old = *v++;
            const vd sum = s[h] + age * (s_old + shift * n_old), weight = n[h] + age * n_old;
            mean[h] = pick(has[h], c[h], behind[h]) + sum / weight;
        }
        out.put(r, lane, mean[0], mean[1]);
    }
};

// x, window, constant of the ratio, sink.
template <class E> static void run_ema(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    t.staged = 0;
    const Sink out = sink(t, args + 4);
    for (int lane = 0; lane < LANES; lane += W) {
        Fading<E> g{out, x, lane, (vd*)t.scratch, t.constants[args[3]].value, {}, {}, {}, {}, {}, {}, 1.0};
        sweep(g, args[2], t.when - args[1], r0, t.rows);
    }
    flush(t, out);
}

}  // namespace BASCULE_ISA
