// What a kernel sees of the world: slots to read, sinks to write, scratch memory.
#pragma once

#include "run.h"
#include "simd.h"

namespace BASCULE_ISA {

struct Constant {
    float lanes[LANES];  // the value as a row, so that it can stand for an operand
    double wide[LANES];
    double value;
};

struct Tile {
    int rows;              // rows of this tile
    bool first;            // the first tile of a run
    bool ragged;           // some instrument begins inside of this tile or its history
    bool late;             // some instrument begins after the first row of the history
    int64_t when;          // absolute bar number of row 0
    const SlotShape* shapes;
    char* const* slots;    // row 0 of each slot
    const Constant* constants;
    const Output* outputs;
    int64_t out_at;        // elements from an output's beginning to row 0 of this tile
    int64_t out_row;       // elements between rows of an output
    bool stream;           // write outputs past the caches
    const int32_t* born;   // [16] first row of each instrument, relative to row 0
    const int32_t* since;  // the same, and not before the panel's first row
    char* scratch;
    char* staging;         // rows that are streamed later, see Sink
    mutable int64_t staged;
};

constexpr int FLOAT_ROW = LANES * 4;
constexpr int DOUBLE_ROW = LANES * 8;

INLINE bool is_wide(const Tile& t, int slot) { return slot >= 0 && t.shapes[slot].wide; }
INLINE bool sinks_wide(const Tile& t, int target) {
    return target < 0 ? t.outputs[~target].wide : t.shapes[target].wide;
}

// Row 0 of an operand, its lag taken off.
template <class E> struct Series {
    const E* p;
    MEMBER const E* row(int r, int lane = 0) const { return p + (int64_t)r * LANES + lane; }
};
template <class E> INLINE Series<E> series(const Tile& t, const int32_t* operand) {
    return Series<E>{(const E*)t.slots[operand[0]] - (int64_t)operand[1] * LANES};
}

// A vector of the series for a kernel that computes in type E.
template <class E, class S> INLINE Value<E> fetch(Series<S> x, int r, int lane) {
    if constexpr (sizeof(E) == sizeof(S)) return load(x.row(r, lane));
    else return widen(x.row(r, lane));
}

// Where results go: a slot or an output. Results of single precision may pass an addition and a finishing
// operation on the way.
struct Sink {
    char* p;          // row 0
    int64_t stride;   // bytes between rows
    bool wide;        // doubles
    bool direct;      // stream right away
    bool shifted;     // `addend` is to be added first
    int finish;
    double addend;
    const float* z;   // row 0 of the finishing operand
    int64_t z_stride; // its rows, in elements
    char* late;       // where the staged rows belong, or null

    MEMBER float* at(int r, int lane) const { return (float*)(p + r * stride) + lane; }
    MEMBER double* wide_at(int r, int lane) const { return (double*)(p + r * stride) + lane; }

    MEMBER vf finished(int r, int lane, vf v) const {
        if (finish == FINISH_NONE) return v;
        const vf w = load(z + r * z_stride + lane);
        switch (finish) {
            case FINISH_MUL: return v * w;
            case FINISH_DIV: return v / w;
            case FINISH_RDIV: return w / v;
            case FINISH_SUB: return v - w;
            default: return w - v;
        }
    }
    MEMBER vh finished_half(int r, int lane, vh v) const {
        if (finish == FINISH_NONE) return v;
        vh w;
        memcpy(&w, z + r * z_stride + lane, sizeof w);
        switch (finish) {
            case FINISH_MUL: return v * w;
            case FINISH_DIV: return v / w;
            case FINISH_RDIV: return w / v;
            case FINISH_SUB: return v - w;
            default: return w - v;
        }
    }
    // W results of single precision.
    MEMBER void put(int r, int lane, vf v) const {
        if (shifted) v += (float)addend;
        v = finished(r, lane, v);
        if (direct) stream(at(r, lane), v);
        else store(at(r, lane), v);
    }
    // W results of double precision, in two halves.
    MEMBER void put(int r, int lane, vd a, vd b) const {
        if (wide) {
            store(wide_at(r, lane), a);
            store(wide_at(r, lane + HALF), b);
        } else {
            put(r, lane, narrow(a, b));
        }
    }
    // W/2 results of double precision.
    MEMBER void put_half(int r, int lane, vd v) const {
        if (wide) {
            store(wide_at(r, lane), v);
        } else {
            vh w = narrow(v);
            if (shifted) w += (float)addend;
            w = finished_half(r, lane, w);
            memcpy(at(r, lane), &w, sizeof w);
        }
    }
    // The same two under one name, by element type.
    MEMBER void put_value(int r, int lane, vf v) const { put(r, lane, v); }
    MEMBER void put_value(int r, int lane, vd v) const { put_half(r, lane, v); }
};

// Outputs are streamed in whole lines of 64 bytes. A kernel that fills lines in parts (`partial`) writes to
// staging rows first; `flush` streams them.
static inline Sink sink(const Tile& t, const int32_t* s, bool partial = W < LANES) {
    Sink k;
    const int target = s[0];
    k.shifted = s[1] >= 0;
    k.addend = k.shifted ? t.constants[s[1]].value : 0.0;
    k.finish = s[2];
    k.z = nullptr;
    k.z_stride = 0;
    if (k.finish != FINISH_NONE) {
        if (s[3] < 0) {
            k.z = t.constants[~s[3]].lanes;
        } else {
            k.z = (const float*)t.slots[s[3]] - (int64_t)s[4] * LANES;
            k.z_stride = LANES;
        }
    }
    k.late = nullptr;
    k.direct = false;
    if (target >= 0) {
        k.wide = t.shapes[target].wide;
        k.p = t.slots[target];
        k.stride = k.wide ? DOUBLE_ROW : FLOAT_ROW;
    } else {
        const Output& o = t.outputs[~target];
        k.wide = o.wide;
        const int64_t size = k.wide ? 8 : 4;
        k.p = o.p + t.out_at * size;
        k.stride = t.out_row * size;
        if (k.wide) {
        } else if (t.stream && partial) {
            k.late = k.p;
            k.p = t.staging + t.staged;
            k.stride = FLOAT_ROW;
            t.staged += (int64_t)t.rows * FLOAT_ROW;
        } else {
            k.direct = t.stream;
        }
    }
    return k;
}

static inline void flush(const Tile& t, const Sink& k) {
    if (!k.late) return;
    for (int r = 0; r < t.rows; r++)
        for (int c = 0; c < LANES; c += W)
            stream((float*)(k.late + r * t.out_row * 4) + c, load((const float*)(k.p + (int64_t)r * FLOAT_ROW) + c));
}

// One result that goes to several places, each with a finish of its own.
struct Sinks {
    static constexpr int MOST = 8;
    int count = 0;
    Sink at[MOST];

    MEMBER bool full() const { return count == MOST; }
    template <class V> MEMBER void put_value(int r, int lane, V v) const {
        for (int k = 0; k < count; k++) at[k].put_value(r, lane, v);
    }
    MEMBER void put(int r, int lane, vd a, vd b) const {
        for (int k = 0; k < count; k++) at[k].put(r, lane, a, b);
    }
};

static inline void flush(const Tile& t, const Sinks& s) {
    for (int k = 0; k < s.count; k++) flush(t, s.at[k]);
}

// The sinks of the entries from number `e` on that share a window; moves `e` and `entry` past them.
static inline Sinks sinks_of_window(const Tile& t, const int32_t*& entry, int& e, int count) {
    Sinks s;
    const int w = entry[0];
    t.staged = 0;
    for (; e < count && entry[0] == w && !s.full(); e++, entry += ENTRY) s.at[s.count++] = sink(t, entry + 2);
    return s;
}

// NaN before an instrument's first row: comparisons and the like would give a value there.
template <class E> static void blank(const Tile& t, E* row0, int64_t stride, int r0, int r1) {
    for (int lane = 0; lane < LANES; lane += Vector<E>::lanes) {
        Value<E> since;
        for (int l = 0; l < Vector<E>::lanes; l++) since[l] = (E)t.since[lane + l];
        for (int r = r0; r < r1; r++) {
            E* p = (E*)((char*)row0 + r * stride) + lane;
            store(p, pick(since > splat((E)r), splat((E)NAND), (Value<E>)load(p)));
        }
    }
}
static void blank(const Tile& t, const Sink& k, int r0) {
    if (k.wide) blank(t, (double*)k.p, k.stride, r0, t.rows);
    else blank(t, (float*)k.p, k.stride, r0, t.rows);
}

INLINE int64_t floor_mod(int64_t a, int64_t n) {
    const int64_t m = a % n;
    return m < 0 ? m + n : m;
}

INLINE int least(int a, int b) { return a < b ? a : b; }
INLINE int most(int a, int b) { return a > b ? a : b; }

// True where each lane is either finite in all of the rows or NaN in all of them: kernels then need no counts.
template <class E> INLINE bool uniform(Series<E> x, int r0, int r1) {
    for (int c = 0; c < LANES; c += Vector<E>::lanes) {
        Mask<E> fine = ~Mask<E>{}, none = fine;
        for (int r = r0; r < r1; r++) {
            const Value<E> v = load(x.row(r, c));
            fine &= finite(v);
            none &= v != v;
        }
        if (any((vi)~(fine | none))) return false;
    }
    return true;
}

}  // namespace BASCULE_ISA
