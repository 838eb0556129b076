// Largest and smallest values of a window and their positions.
#pragma once

#include "blocks.h"

namespace BASCULE_ISA {

// `a` is further out than `b`.
template <bool MINIMUM, class V> INLINE auto beyond(V a, V b) {
    if constexpr (MINIMUM) return a < b;
    else return a > b;
}
template <bool MINIMUM, class V> INLINE V further(V a, V b) {
    if constexpr (MINIMUM) return lesser(a, b);
    else return greater(a, b);
}

// The value. GAPS: values that are not finite never win, and a window without any other gives NaN.
template <class E, bool MINIMUM, bool GAPS> struct Extremum {
    typedef Value<E> V;
    const Sink& out;
    Series<E> x;
    int lane;
    V* saved;
    V best, start;

    MEMBER V at(int r) const {
        const V v = load(x.row(r, lane));
        if constexpr (GAPS) return pick(finite(v), v, splat((E)(MINIMUM ? INFD : -INFD)));
        else return v;
    }
    MEMBER void border(int b) { best = start = at(b); }
    MEMBER void turn() { best = start; }
    MEMBER void older(int r, int) { best = further<MINIMUM>(at(r), best); }
    MEMBER void newer(int r, int) { best = further<MINIMUM>(at(r), best); }
    MEMBER void save(int k) const { saved[k] = best; }
    MEMBER void emit(int r, int, int k) const {
        V v = further<MINIMUM>(saved[k], best);
        if constexpr (GAPS) v = pick(v == splat((E)(MINIMUM ? INFD : -INFD)), splat((E)NAND), v);
        out.put_value(r, lane, v);
    }
};

// The position, 1 = oldest bar of the window that exists. The first of equal values counts; GAPS: the first
// missing value counts as the furthest of all, and a window without any value gives NaN.
template <class E, bool MINIMUM, bool GAPS> struct Position {
    typedef Value<E> V;
    typedef Mask<E> I;
    const Sink& out;
    Series<E> x;
    int lane;
    int w;
    const int32_t* born;
    V* saved;
    V best, start, value;  // value: the furthest real one, to know whether there is any
    I place;
    int first;

    static MEMBER V worst() { return splat((E)(MINIMUM ? INFD : -INFD)); }
    MEMBER V at(int r, V& real) const {
        const V v = load(x.row(r, lane));
        if constexpr (GAPS) {
            const I ok = finite(v);
            real = pick(ok, v, worst());
            I exists;
            for (int l = 0; l < Vector<E>::lanes; l++) exists[l] = r >= born[lane + l] ? -1 : 0;
            return pick(ok, v, pick(exists, splat((E)(MINIMUM ? -INFD : INFD)), worst()));
        } else {
            real = v;
            return v;
        }
    }
    MEMBER void border(int b) {
        first = b;
        best = start = at(b, value);
        place = I{} + b;
    }
    MEMBER void turn() {
        V real;
        best = start;
        place = I{} + first;
        at(first, real);
        value = real;
    }
    MEMBER void take(int r, I wins, V v, V real) {
        best = pick(wins, v, best);
        place = wins ? I{} + r : place;
        if constexpr (GAPS) value = further<MINIMUM>(real, value);
    }
    MEMBER void older(int r, int) {
        V real;
        const V v = at(r, real);
        take(r, beyond<MINIMUM>(v, best) | (v == best), v, real);
    }
    MEMBER void newer(int r, int) {
        V real;
        const V v = at(r, real);
        take(r, beyond<MINIMUM>(v, best), v, real);
    }
    MEMBER void save(int k) const {
        V* v = saved + (int64_t)k * 3;
        v[0] = best;
        v[1] = (V)place;
        v[2] = value;
    }
    MEMBER void emit(int r, int, int k) const {
        const V* v = saved + (int64_t)k * 3;
        const I wins = beyond<MINIMUM>(best, v[0]);
        const I at = wins ? place : (I)v[1];
        V position;
        if constexpr (GAPS) {
            I begin;
            for (int l = 0; l < Vector<E>::lanes; l++) begin[l] = most(r - w + 1, born[lane + l]);
            position = __builtin_convertvector(at - begin + 1, V);
            position = pick(further<MINIMUM>(value, v[2]) == worst(), splat((E)NAND), position);
        } else {
            position = __builtin_convertvector(at - (r - w), V);
            position = pick(best == best, position, splat((E)NAND));
        }
        out.put_value(r, lane, position);
    }
};

template <class E, bool MINIMUM, bool GAPS>
static void extremum_window(const Tile& t, Series<E> x, const int32_t* entry, int64_t when, int r0) {
    typedef Value<E> V;
    t.staged = 0;
    const int w = entry[0];
    const Sink out = sink(t, entry + 2, Vector<E>::lanes < LANES);
    for (int lane = 0; lane < LANES; lane += Vector<E>::lanes) {
        if (entry[1]) {
            Position<E, MINIMUM, GAPS> g{out, x, lane, w, t.born, (V*)t.scratch, {}, {}, {}, {}, 0};
            sweep(g, w, when, r0, t.rows);
        } else {
            Extremum<E, MINIMUM, GAPS> g{out, x, lane, (V*)t.scratch, {}, {}};
            sweep(g, w, when, r0, t.rows);
        }
    }
    flush(t, out);
}

// x, is minimum, number of entries, entries of (window, 0 value or 1 position; sink), sorted by window.
template <class E> static void run_extrema(const Tile& t, const int32_t* args, int r0) {
    const Series<E> x = series<E>(t, args);
    const int count = args[3];
    const int32_t* entry = args + 4;
    const bool plain = !t.ragged && uniform(x, r0 - entry[(count - 1) * ENTRY] + 1, t.rows);
    const int64_t when = t.when - args[1];
    for (int e = 0; e < count; e++, entry += ENTRY) {
        if (args[2]) {
            if (plain) extremum_window<E, true, false>(t, x, entry, when, r0);
            else extremum_window<E, true, true>(t, x, entry, when, r0);
        } else {
            if (plain) extremum_window<E, false, false>(t, x, entry, when, r0);
            else extremum_window<E, false, true>(t, x, entry, when, r0);
        }
    }
}

}  // namespace BASCULE_ISA
