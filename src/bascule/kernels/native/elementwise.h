// Arithmetic, comparisons and logic, one value at a time.
#pragma once

#include <cmath>

#include "tile.h"

namespace BASCULE_ISA {

// -- functions -------------------------------------------------------------------------------------

// Natural logarithm: reduce to [sqrt(1/2), sqrt(2)), then a polynomial (Cephes, logf).
INLINE vf logarithm(vf x) {
    const vi tiny = x < splat(1.17549435e-38f);
    const vf scaled = pick(tiny, x * 8388608.0f, x);
    vi e = (((vi)scaled >> 23) & 255) - 126 - (tiny & 23);
    vf m = (vf)(((vi)scaled & 0x007fffff) | 0x3f000000);
    const vi low = m < splat(0.707106781186547524f);
    e += low;
    m = pick(low, m + m, m) - 1.0f;
    const vf z = m * m;
    vf y = splat(7.0376836292e-2f);
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z;
    const vf k = __builtin_convertvector(e, vf);
    y += k * -2.12194440e-4f;
    y -= 0.5f * z;
    vf r = (m + y) + k * 0.693359375f;
    r = pick(x == splat(INFF), x, r);
    r = pick(x == splat(0.0f), splat(-INFF), r);
    return pick(x >= splat(0.0f), r, splat(NANF));
}

// The same in double precision (Sun, e_log.c: log(1+f) = f - f^2/2 + s (f^2/2 + R), s = f/(2+f)).
INLINE vd logarithm(vd x) {
    const vl tiny = x < splat(2.2250738585072014e-308);
    const vd scaled = pick(tiny, x * 18014398509481984.0, x);
    vl e = (((vl)scaled >> 52) & 2047) - 1022 - (tiny & 54);
    vd m = (vd)(((vl)scaled & 0x000fffffffffffffLL) | 0x3fe0000000000000LL);
    const vl low = m < splat(0.70710678118654752440);
    e += low;
    const vd f = pick(low, m + m, m) - 1.0;
    const vd s = f / (2.0 + f), z = s * s, w = z * z;
    const vd even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const vd odd = z * (6.666666666666735130e-01 +
                        w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    const vd half = 0.5 * f * f, k = __builtin_convertvector(e, vd);
    vd r = k * 6.93147180369123816490e-01 - ((half - (s * (half + (even + odd)) + k * 1.90821492927058770002e-10)) - f);
    r = pick(x == splat(INFD), x, r);
    r = pick(x == splat(0.0), splat(-INFD), r);
    return pick(x >= splat(0.0), r, splat(NAND));
}

template <class V> INLINE V sign(V a) {
    const auto zero = V{};
    return pick(a > zero, zero + 1, pick(a < zero, zero - 1, a));
}

// ln(1 + a) for a >= 0 without loss for small a (Kahan).
template <class V> INLINE V logarithm_1p(V a) {
    const V u = a + 1, d = u - 1;
    const V v = logarithm(u) * a / d;
    return pick(d == V{}, a, pick(u == a, logarithm(u), v));
}

template <class V> INLINE V power(V a, V b) {
    V r;
    for (unsigned l = 0; l < sizeof(V) / sizeof a[0]; l++) r[l] = pow((double)a[l], (double)b[l]);
    return r;
}

// -- loops -----------------------------------------------------------------------------------------

// An operand of an element-wise instruction: rows of a slot, or one row of a constant over and over.
struct Operand {
    const char* p;
    int64_t stride;  // bytes
    bool wide;

    MEMBER vf single(int r, int lane) const { return load((const float*)(p + r * stride) + lane); }
    MEMBER vd twice(int r, int lane) const {
        if (wide) return load((const double*)(p + r * stride) + lane);
        return widen((const float*)(p + r * stride) + lane);
    }
};

INLINE Operand operand(const Tile& t, const int32_t* args, bool wide) {
    if (args[0] < 0) {
        const Constant& c = t.constants[~args[0]];
        return wide ? Operand{(const char*)c.wide, 0, true} : Operand{(const char*)c.lanes, 0, false};
    }
    const bool doubles = t.shapes[args[0]].wide;
    const int64_t stride = doubles ? DOUBLE_ROW : FLOAT_ROW;
    return {t.slots[args[0]] - args[1] * stride, stride, doubles};
}

// `fills`: the results are values even where the operands are missing, so they begin with the instrument.
template <class F> INLINE void each(const Tile& t, const int32_t* args, int r0, int operands, bool fills, F f) {
    const bool wide = args[0], blanks = fills && t.late;
    t.staged = 0;
    const Sink out = sink(t, args + 1, W < LANES || blanks);
    const int32_t* rest = args + 1 + SINK;
    const Operand a = operand(t, rest, wide);
    const Operand b = operands > 1 ? operand(t, rest + 2, wide) : a;
    if (wide) {
        for (int r = r0; r < t.rows; r++)
            for (int lane = 0; lane < LANES; lane += W)
                out.put(r, lane, f(a.twice(r, lane), b.twice(r, lane)),
                        f(a.twice(r, lane + HALF), b.twice(r, lane + HALF)));
    } else {
        for (int r = r0; r < t.rows; r++)
            for (int lane = 0; lane < LANES; lane += W) out.put(r, lane, f(a.single(r, lane), b.single(r, lane)));
    }
    if (blanks) blank(t, out, r0);
    flush(t, out);
}

// `known`: a condition of NaN gives NaN; else it counts as true.
static void run_if(const Tile& t, const int32_t* args, int r0, bool known) {
    const bool wide = args[0];
    t.staged = 0;
    const Sink out = sink(t, args + 1, W < LANES || t.late);
    const int32_t* rest = args + 1 + SINK;
    const Operand m = operand(t, rest, wide), a = operand(t, rest + 2, wide), b = operand(t, rest + 4, wide);
    for (int r = r0; r < t.rows; r++)
        for (int lane = 0; lane < LANES; lane += W) {
            if (wide) {
                vd v[2];
                for (int h = 0; h < 2; h++) {
                    const int l = lane + h * HALF;
                    const vd c = m.twice(r, l);
                    v[h] = pick(c != splat(0.0), a.twice(r, l), b.twice(r, l));
                    if (known) v[h] = pick(c == c, v[h], c);
                }
                out.put(r, lane, v[0], v[1]);
            } else {
                const vf c = m.single(r, lane);
                vf v = pick(c != splat(0.0f), a.single(r, lane), b.single(r, lane));
                if (known) v = pick(c == c, v, c);
                out.put(r, lane, v);
            }
        }
    if (t.late) blank(t, out, r0);
    flush(t, out);
}

#define BOTH(expression) [](auto a, auto b) __attribute__((always_inline)) { return expression; }
#define ONE(expression) [](auto a, auto) __attribute__((always_inline)) { return expression; }

// precision, sink, operands. False: not an element-wise instruction.
static bool run_elementwise(const Tile& t, int op, const int32_t* args, int r0) {
    switch (op) {
        case OP_COPY: each(t, args, r0, 1, false, ONE(a)); break;
        case OP_ABS: each(t, args, r0, 1, false, ONE(absolute(a))); break;
        case OP_SIGN: each(t, args, r0, 1, false, ONE(sign(a))); break;
        case OP_LOG: each(t, args, r0, 1, false, ONE(logarithm(a))); break;
        case OP_SIGNED_LOG: each(t, args, r0, 1, false, ONE(sign(a) * logarithm_1p(absolute(a)))); break;
        case OP_ADD: each(t, args, r0, 2, false, BOTH(a + b)); break;
        case OP_SUB: each(t, args, r0, 2, false, BOTH(a - b)); break;
        case OP_MUL: each(t, args, r0, 2, false, BOTH(a * b)); break;
        case OP_DIV: each(t, args, r0, 2, false, BOTH(a / b)); break;
        case OP_GREATER: each(t, args, r0, 2, false, BOTH(pick((a > b) | (a != a), a, b))); break;
        case OP_LESS: each(t, args, r0, 2, false, BOTH(pick((a < b) | (a != a), a, b))); break;
        case OP_NOT: each(t, args, r0, 1, true, ONE(truth(a == decltype(a){}))); break;
        case OP_POWER: each(t, args, r0, 2, true, BOTH(power(a, b))); break;
        case OP_SIGNED_POWER: each(t, args, r0, 2, true, BOTH(sign(a) * power(absolute(a), b))); break;
        case OP_GT: each(t, args, r0, 2, true, BOTH(truth(a > b))); break;
        case OP_GE: each(t, args, r0, 2, true, BOTH(truth(a >= b))); break;
        case OP_LT: each(t, args, r0, 2, true, BOTH(truth(a < b))); break;
        case OP_LE: each(t, args, r0, 2, true, BOTH(truth(a <= b))); break;
        case OP_EQ: each(t, args, r0, 2, true, BOTH(truth(a == b))); break;
        case OP_NE: each(t, args, r0, 2, true, BOTH(truth(a != b))); break;
        case OP_AND: each(t, args, r0, 2, true, BOTH(truth((a != decltype(a){}) & (b != decltype(b){})))); break;
        case OP_OR: each(t, args, r0, 2, true, BOTH(truth((a != decltype(a){}) | (b != decltype(b){})))); break;
        case OP_IF: run_if(t, args, r0, false); break;
        case OP_IF_KNOWN: run_if(t, args, r0, true); break;
        default: return false;
    }
    return true;
}

#undef BOTH
#undef ONE

}  // namespace BASCULE_ISA
