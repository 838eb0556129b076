// Quantiles, trimmed means and ranks.
#pragma once

#include "tile.h"

namespace BASCULE_ISA {

// -- sorted windows --------------------------------------------------------------------------------

constexpr int MOST_ORDERS = 8;  // statistics of one window in one instruction

struct OrderPlan {
    int w, count;
    int statistic[MOST_ORDERS];
    double q[MOST_ORDERS];
    Sink sinks[MOST_ORDERS];
};

// The sorted values of a window, one column a lane; missing values sort last, as +inf.
template <class E> struct Sorted {
    typedef Value<E> V;
    V* s;
    int w;

    // Takes `o` (present in each lane) out and puts `n` in: one pass that shifts what lies between.
    MEMBER void replace(V o, V n) const {
        V here = s[0], back = lesser(here, n);
        int j = 0;
#pragma GCC unroll 4
        for (; j < w - 1; j++) {
            const V next = s[j + 1], forth = lesser(next, greater(here, n));
            s[j] = pick(back < o, back, forth);
            back = forth;
            here = next;
        }
        s[j] = pick(back < o, back, greater(here, n));
    }
    // Puts `n` among the first `filled` values.
    MEMBER void insert(V n, int filled) const {
        for (int j = 0; j < filled; j++) {
            const V here = s[j];
            s[j] = lesser(here, n);
            n = greater(here, n);
        }
        s[filled] = n;
    }
    MEMBER E value(int i, int lane) const { return ((const E*)(s + i))[lane]; }
};

// The q-quantile of the first n sorted values of one lane, linearly interpolated.
template <class E> INLINE E quantile_of(const Sorted<E>& sorted, double q, int n, int lane) {
    const double at = q * (n - 1);
    const int i = (int)at;
    const double part = at - i;
    const E a = sorted.value(i, lane);
    if (i + 1 >= n) return a;
    return a + (sorted.value(i + 1, lane) - a) * (E)part;
}

// One statistic of the first n sorted values of one lane.
template <class E> INLINE E order_of(const Sorted<E>& sorted, int statistic, double q, int n, int lane, E current) {
    if (n < 1) return (E)NAND;
    if (statistic == ORDER_WINSORIZE) {
        if (current - current != 0) return (E)NAND;
        const E low = quantile_of(sorted, q, n, lane), high = quantile_of(sorted, 1.0 - q, n, lane);
        const E raised = current > low ? current : low;
        return raised < high ? raised : high;
    }
    if (statistic == ORDER_TRIM_MEAN) {
        const int cut = (int)(q * n);
        double sum = 0.0;
        for (int i = cut; i < n - cut; i++) sum += sorted.value(i, lane);
        return (E)(sum / (n - 2 * cut));
    }
    return quantile_of(sorted, q, n, lane);
}

// Where every lane has all w values (or none: `current` is NaN there).
template <class E>
INLINE Value<E> order_full(const Sorted<E>& sorted, int statistic, double q, Value<E> current) {
    typedef Value<E> V;
    const int n = sorted.w;
    V v;
    if (statistic != ORDER_QUANTILE) {
        for (int l = 0; l < Vector<E>::lanes; l++) v[l] = order_of(sorted, statistic, q, n, l, current[l]);
    } else {
        const double at = q * (n - 1);
        const int i = (int)at;
        v = sorted.s[i];
        if (i + 1 < n) v = v + (sorted.s[i + 1] - v) * (E)(at - i);
    }
    return pick(current == current, v, splat((E)NAND));
}

template <class E, class S>
static void order_window(const Tile& t, const OrderPlan& p, Series<S> x, int r0, bool plain) {
    typedef Value<E> V;
    constexpr int lanes = Vector<E>::lanes;
    const Sorted<E> sorted{(V*)t.scratch, p.w};
    const V gap = splat((E)INFD);
    for (int lane = 0; lane < LANES; lane += lanes) {
        Mask<E> n = {};
        const int oldest = r0 - p.w + 1;
        for (int r = oldest; r < t.rows; r++) {
            const V raw = fetch<E>(x, r, lane);
            const Mask<E> ok = finite(raw);
            const V v = pick(ok, raw, gap);
            n -= ok;
            if (r <= r0) {
                sorted.insert(v, r - oldest);
            } else {
                const V old = fetch<E>(x, r - p.w, lane);
                const Mask<E> was = finite(old);
                n += was;
                sorted.replace(pick(was, old, gap), v);
            }
            if (r < r0) continue;
            for (int k = 0; k < p.count; k++) {
                V v;
                if (plain) {
                    v = order_full(sorted, p.statistic[k], p.q[k], raw);
                } else {
                    E part[lanes];
                    for (int l = 0; l < lanes; l++) part[l] = order_of(sorted, p.statistic[k], p.q[k], (int)n[l], l, raw[l]);
                    v = load(part);
                }
                p.sinks[k].put_value(r, lane, v);
            }
        }
    }
}

// x, window, number of entries, entries of (statistic, constant of q, sink).
template <class E, class S> static void run_order(const Tile& t, const int32_t* args, int r0) {
    const Series<S> x = series<S>(t, args);
    OrderPlan p;
    p.w = args[2];
    const bool plain = uniform(x, r0 - p.w + 1, t.rows);
    const int32_t* entry = args + 4;
    for (int left = args[3]; left > 0; left -= p.count) {
        p.count = least(left, MOST_ORDERS);
        t.staged = 0;
        for (int k = 0; k < p.count; k++, entry += ENTRY) {
            p.statistic[k] = entry[0];
            p.q[k] = t.constants[entry[1]].value;
            p.sinks[k] = sink(t, entry + 2, Vector<E>::lanes < LANES);
        }
        order_window<E>(t, p, x, r0, plain);
        for (int k = 0; k < p.count; k++) flush(t, p.sinks[k]);
    }
}

// -- rank ------------------------------------------------------------------------------------------

// The rank of the current value among the last w as a fraction, ties averaged: one count over the longest
// window, read off at every shorter one.
template <class E, class S> static void run_rank(const Tile& t, const int32_t* args, int r0) {
    typedef Value<E> V;
    constexpr int lanes = Vector<E>::lanes;
    const Series<S> x = series<S>(t, args);
    const int32_t* entry = args + 3;
    int left = args[2];
    while (left > 0) {
        const int count = least(left, 16);
        const int longest = entry[(count - 1) * ENTRY];
        const bool plain = uniform(x, r0 - longest + 1, t.rows);
        Sink sinks[16];
        int windows[16];
        t.staged = 0;
        for (int k = 0; k < count; k++, entry += ENTRY) {
            windows[k] = entry[0];
            sinks[k] = sink(t, entry + 2, lanes < LANES);
        }
        for (int lane = 0; lane < LANES; lane += lanes)
            for (int r = r0; r < t.rows; r++) {
                const V now = fetch<E>(x, r, lane);
                Mask<E> below = {}, upto = {}, n = {};
                int age = 0;
                for (int k = 0; k < count; k++) {
                    const int w = windows[k];
                    V rank;
                    if (plain) {
#pragma GCC unroll 5
                        for (; age < w; age++) {
                            const V v = fetch<E>(x, r - age, lane);
                            below -= v < now;
                            upto -= v <= now;
                        }
                        rank = __builtin_convertvector(below + upto + 1, V) * (E)(0.5) / (E)w;
                    } else {
                        for (; age < w; age++) {
                            const V v = fetch<E>(x, r - age, lane);
                            const Mask<E> ok = finite(v);
                            below -= (v < now) & ok;
                            upto -= (v <= now) & ok;
                            n -= ok;
                        }
                        rank = __builtin_convertvector(below + upto + 1, V) * (E)(0.5) / __builtin_convertvector(n, V);
                    }
                    sinks[k].put_value(r, lane, pick(finite(now), rank, splat((E)NAND)));
                }
            }
        for (int k = 0; k < count; k++) flush(t, sinks[k]);
        left -= count;
    }
}

}  // namespace BASCULE_ISA
