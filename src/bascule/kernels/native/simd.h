// Vectors of the width that one instruction set offers, in the compiler's own vector types.
//
// Each instruction set compiles this file on its own (see kernels.cpp) with BASCULE_ISA, the name of its
// namespace, and BASCULE_WIDTH, the number of float lanes in one register. Wider vectors than the registers
// would be split by the compiler into code that is an order of magnitude slower, so the width is the set's own.
//
// Only operations that IEEE 754 rounds correctly are used. Where a product is added without rounding in between
// the code says so (`plus`, `minus`); the build forbids that elsewhere. So every instruction set gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if !defined(BASCULE_ISA) || !defined(BASCULE_WIDTH)
#error "compile kernels.cpp with BASCULE_ISA and BASCULE_WIDTH"
#endif

#define INLINE static inline __attribute__((always_inline))
#define MEMBER inline __attribute__((always_inline))

namespace BASCULE_ISA {

constexpr int LANES = 16;  // instruments in a tile
constexpr int W = BASCULE_WIDTH;
constexpr int HALF = W / 2;

typedef float vf __attribute__((vector_size(4 * W)));   // W floats
typedef double vd __attribute__((vector_size(4 * W)));  // W/2 doubles
typedef float vh __attribute__((vector_size(2 * W)));   // W/2 floats
typedef decltype(vf{} < vf{}) vi;                       // masks, whole numbers of 32 bits
typedef decltype(vd{} < vd{}) vl;                       // masks, whole numbers of 64 bits

constexpr float NANF = __builtin_nanf("");
constexpr float INFF = __builtin_inff();
constexpr double NAND = __builtin_nan("");
constexpr double INFD = __builtin_inf();

INLINE vf splat(float x) { return vf{} + x; }
INLINE vd splat(double x) { return vd{} + x; }

INLINE vf load(const float* p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE vd load(const double* p) {
    vd v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float* p, vf v) { memcpy(p, &v, sizeof v); }
INLINE void store(double* p, vd v) { memcpy(p, &v, sizeof v); }

// Half a vector of floats, widened; two halves, narrowed and joined. (The compiler's own conversions go by way of
// smaller registers.)
#if defined(__AVX512F__) && BASCULE_WIDTH == 16
INLINE vd widen(const float* p) { return (vd)_mm512_cvtps_pd(_mm256_loadu_ps(p)); }
INLINE vh narrow(vd v) { return (vh)_mm512_cvtpd_ps((__m512d)v); }
INLINE vf join(vh a, vh b) { return (vf)_mm512_insertf32x8(_mm512_castps256_ps512((__m256)a), (__m256)b, 1); }
#elif defined(__AVX2__) && BASCULE_WIDTH == 8
INLINE vd widen(const float* p) { return (vd)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
INLINE vh narrow(vd v) { return (vh)_mm256_cvtpd_ps((__m256d)v); }
INLINE vf join(vh a, vh b) { return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256((__m128)a), (__m128)b, 1); }
#else
INLINE vd widen(const float* p) {
    vh v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vd);
}
INLINE vh narrow(vd v) { return __builtin_convertvector(v, vh); }
INLINE vf join(vh a, vh b) {
    vf v;
    memcpy(&v, &a, sizeof a);
    memcpy((char*)&v + sizeof a, &b, sizeof b);
    return v;
}
#endif
INLINE vd widen(const double* p) { return load(p); }
INLINE vf narrow(vd a, vd b) { return join(narrow(a), narrow(b)); }

INLINE vf pick(vi m, vf a, vf b) { return m ? a : b; }
INLINE vd pick(vl m, vd a, vd b) { return m ? a : b; }
INLINE vi pick(vi m, vi a, vi b) { return m ? a : b; }

// The lesser or greater; b where either is NaN (the instruction's own rule).
#if defined(__AVX512F__) && BASCULE_WIDTH == 16
INLINE vf lesser(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vf greater(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vd lesser(vd a, vd b) { return (vd)_mm512_min_pd((__m512d)a, (__m512d)b); }
INLINE vd greater(vd a, vd b) { return (vd)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE vf root(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
INLINE vd root(vd a) { return (vd)_mm512_sqrt_pd((__m512d)a); }
INLINE bool any(vi m) { return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0; }
INLINE void stream(float* p, vf v) { _mm512_stream_ps(p, (__m512)v); }
#elif defined(__AVX2__) && BASCULE_WIDTH == 8
INLINE vf lesser(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vf greater(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vd lesser(vd a, vd b) { return (vd)_mm256_min_pd((__m256d)a, (__m256d)b); }
INLINE vd greater(vd a, vd b) { return (vd)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE vf root(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
INLINE vd root(vd a) { return (vd)_mm256_sqrt_pd((__m256d)a); }
INLINE bool any(vi m) { return !_mm256_testz_si256((__m256i)m, (__m256i)m); }
INLINE void stream(float* p, vf v) { _mm256_stream_ps(p, (__m256)v); }
#elif defined(__x86_64__)
INLINE vf lesser(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
INLINE vf greater(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
INLINE vd lesser(vd a, vd b) { return (vd)_mm_min_pd((__m128d)a, (__m128d)b); }
INLINE vd greater(vd a, vd b) { return (vd)_mm_max_pd((__m128d)a, (__m128d)b); }
INLINE vf root(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
INLINE vd root(vd a) { return (vd)_mm_sqrt_pd((__m128d)a); }
INLINE bool any(vi m) { return _mm_movemask_epi8((__m128i)m) != 0; }
INLINE void stream(float* p, vf v) { _mm_stream_ps(p, (__m128)v); }
#else
INLINE vf lesser(vf a, vf b) { return a < b ? a : b; }
INLINE vf greater(vf a, vf b) { return a > b ? a : b; }
INLINE vd lesser(vd a, vd b) { return a < b ? a : b; }
INLINE vd greater(vd a, vd b) { return a > b ? a : b; }
#if defined(__aarch64__)
INLINE vf root(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
INLINE vd root(vd a) { return (vd)vsqrtq_f64((float64x2_t)a); }
#else
INLINE vf root(vf a) {
    for (int i = 0; i < W; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vd root(vd a) {
    for (int i = 0; i < HALF; i++) a[i] = __builtin_sqrt(a[i]);
    return a;
}
#endif
INLINE bool any(vi m) {
    int32_t bits = 0;
    for (int i = 0; i < W; i++) bits |= m[i];
    return bits != 0;
}
INLINE void stream(float* p, vf v) { store(p, v); }
#endif

// c + a b and c - a b, rounded once.
#if defined(__AVX512F__) && BASCULE_WIDTH == 16
INLINE vd plus(vd c, vd a, vd b) { return (vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE vd minus(vd c, vd a, vd b) { return (vd)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif defined(__FMA__) && BASCULE_WIDTH == 8
INLINE vd plus(vd c, vd a, vd b) { return (vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE vd minus(vd c, vd a, vd b) { return (vd)_mm256_fnmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#elif defined(__aarch64__)
INLINE vd plus(vd c, vd a, vd b) { return (vd)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
INLINE vd minus(vd c, vd a, vd b) { return (vd)vfmsq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else  // old processors: by the library, slowly
INLINE vd plus(vd c, vd a, vd b) {
    for (int i = 0; i < HALF; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
INLINE vd minus(vd c, vd a, vd b) { return plus(c, -a, b); }
#endif

INLINE vf absolute(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vd absolute(vd a) { return (vd)((vl)a & 0x7fffffffffffffffLL); }

// All bits set where the value is a finite number.
INLINE vi finite(vf a) { return (a - a) == (a - a); }
INLINE vl finite(vd a) { return (a - a) == (a - a); }

INLINE vf only(vi m, vf a) { return (vf)((vi)a & m); }  // a where m, else +0
INLINE vd only(vl m, vd a) { return (vd)((vl)a & m); }

// 1 where m, else 0.
INLINE vf truth(vi m) { return only(m, splat(1.0f)); }
INLINE vd truth(vl m) { return only(m, splat(1.0)); }

// Where a square is near the ends of the range of floats, or beyond them: what is made of it needs doubles.
INLINE vi wild(vf square) {
    return ((square < splat(1e-30f)) & (square > splat(0.0f))) | (square > splat(1e30f));
}

// A vector of an element type, for kernels that compute in the type of their operand.
template <class E> struct Vector;
template <> struct Vector<float> {
    typedef vf value;
    typedef vi mask;
    static constexpr int lanes = W;
};
template <> struct Vector<double> {
    typedef vd value;
    typedef vl mask;
    static constexpr int lanes = HALF;
};
template <class E> using Value = typename Vector<E>::value;
template <class E> using Mask = typename Vector<E>::mask;

}  // namespace BASCULE_ISA
