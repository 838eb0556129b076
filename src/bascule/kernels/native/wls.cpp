// Weighted least squares of every row of a panel on its own exposures; see bascule/risk/crosssection.py.
//
// For each row: (1) cells that count are scaled by the root of their weight into a block of doubles that stays in
// the cache; (2) the normal equations, four by four products at a time; (3) a Cholesky decomposition that drops
// factors which depend on earlier ones, for eight rows at once, one in each lane: alone, every step would wait for
// the one before; (4) slopes, errors, residuals, R².
//
// Compiled once for each instruction set; sums of different sets differ in their last bits.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#ifndef BASCULE_ISA
#define BASCULE_ISA baseline
#endif
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

namespace {

constexpr int64_t kLanes = 8;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
typedef double Lanes __attribute__((vector_size(kLanes * sizeof(double)), aligned(64)));

inline int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

typedef double Four __attribute__((vector_size(4 * sizeof(double))));
typedef double Two __attribute__((vector_size(2 * sizeof(double))));
typedef int64_t Flags __attribute__((vector_size(kLanes * sizeof(int64_t)), aligned(64)));

inline double total(const Lanes& v) {
  const Four four = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  const Two two = __builtin_shufflevector(four, four, 0, 1) + __builtin_shufflevector(four, four, 2, 3);
  return two[0] + two[1];
}

inline const Lanes& lanes(const double* p) { return *reinterpret_cast<const Lanes*>(p); }

// Σ of four rows of z times y, over n cells, a multiple of the lanes.
inline void dots(const double* z, int64_t stride, const double* y, int64_t n, double* out) {
  Lanes sum[4] = {};
  for (int64_t at = 0; at < n; at += kLanes) {
    const Lanes right = lanes(y + at);
    for (int64_t a = 0; a < 4; ++a) sum[a] += lanes(z + a * stride + at) * right;
  }
  for (int64_t a = 0; a < 4; ++a) out[a] = total(sum[a]);
}

// gram[i][j] of four rows with four rows.
inline void tile(const double* z, int64_t stride, int64_t n, int64_t i, int64_t j, Lanes* gram, int64_t k,
                 int64_t lane) {
  Lanes sum[4][4] = {};
  for (int64_t at = 0; at < n; at += kLanes) {
    Lanes left[4], right[4];
    for (int64_t a = 0; a < 4; ++a) {
      left[a] = lanes(z + (i + a) * stride + at);
      right[a] = lanes(z + (j + a) * stride + at);
    }
    for (int64_t a = 0; a < 4; ++a)
      for (int64_t b = 0; b < 4; ++b) sum[a][b] += left[a] * right[b];
  }
  for (int64_t a = 0; a < 4; ++a)
    for (int64_t b = 0; b < 4; ++b)
      if (i + a < k && j + b < k && j + b <= i + a) gram[(i + a) * k + j + b][lane] = total(sum[a][b]);
}

inline Lanes pick(const Flags& choose, const Lanes& yes, const Lanes& no) { return choose ? yes : no; }

inline Lanes roots(const Lanes& v) {
  Lanes out;
  for (int64_t l = 0; l < kLanes; ++l) out[l] = std::sqrt(v[l]);
  return out;
}

// Inverses of the lower triangles gram [k][k], one matrix a lane, with work lower and half; dependent columns become
// rows and columns of 0.
inline void invert(const Lanes* gram, int64_t k, double pivot, Lanes* lower, Lanes* half, Lanes* inverse, Flags* dropped) {
  const Lanes zero = {}, one = zero + 1.0;
  for (int64_t j = 0; j < k; ++j) {
    Lanes left = gram[j * k + j];
    for (int64_t l = 0; l < j; ++l) left -= lower[j * k + l] * lower[j * k + l];
    dropped[j] = ~(left > pivot * gram[j * k + j]);
    const Lanes root = roots(pick(dropped[j], one, left));
    const Lanes share = pick(dropped[j], zero, one / root);
    lower[j * k + j] = root;
    for (int64_t i = j + 1; i < k; ++i) {
      Lanes below = gram[i * k + j];
      for (int64_t l = 0; l < j; ++l) below -= lower[i * k + l] * lower[j * k + l];
      lower[i * k + j] = below * share;
    }
    for (int64_t l = 0; l < j; ++l) lower[j * k + l] = pick(dropped[j], zero, lower[j * k + l]);
    half[j * k + j] = share;
  }
  for (int64_t j = 0; j < k; ++j)
    for (int64_t i = j + 1; i < k; ++i) {
      Lanes inner = zero;
      for (int64_t l = j; l < i; ++l) inner += lower[i * k + l] * half[l * k + j];
      half[i * k + j] = -inner * half[i * k + i];
    }
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      Lanes sum = zero;
      for (int64_t l = i; l < k; ++l) sum += half[l * k + i] * half[l * k + j];
      inverse[i * k + j] = inverse[j * k + i] = sum;
    }
}

template <class Y, class W>
inline int64_t scale(const float* first, const Y* y, const W* w, const uint8_t* counted, int64_t n, double* root,
                     double* target) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double value = y[i], weight = w[i];
    const bool inside = counted ? counted[i] != 0 : std::isfinite(first[i]);
    const bool known = inside && std::isfinite(value) && weight > 0.0;
    root[i] = known ? std::sqrt(weight) : 0.0;
    target[i] = known ? value * root[i] : 0.0;
    count += known;
  }
  return count;
}

}  // namespace

// As `Wls` of wls.py; strides in elements.
struct Wls {
  const float* exposures;  // [k][rows][n]
  int64_t k, rows, n, factor_stride, row_stride;
  const void* returns;  // [rows][n], doubles if wide_returns else floats
  const void* weights;
  int64_t wide_returns, wide_weights;
  const uint8_t* counted;  // [rows][n], or null: where the first exposure is finite
  double pivot;
  double* slopes;  // [rows][k]
  double* errors;
  float* residuals;  // [rows][n]
  double* r2;        // [rows]
  int64_t* count;
};

namespace {

// Where one row's cells are, scaled: factors [tall][wide], root of the weight [wide], target [wide].
struct Row {
  double *z, *root, *target;
  int64_t count;
};

inline void load(const Wls* g, int64_t t, Row& row, int64_t wide) {
  const int64_t n = g->n;
  const float* x = g->exposures + t * g->row_stride;
  const uint8_t* counted = g->counted ? g->counted + t * n : nullptr;
  const double *yd = static_cast<const double*>(g->returns) + t * n, *wd = static_cast<const double*>(g->weights) + t * n;
  const float *yf = static_cast<const float*>(g->returns) + t * n, *wf = static_cast<const float*>(g->weights) + t * n;
  double *root = row.root, *target = row.target;
  if (g->wide_returns)
    row.count = g->wide_weights ? scale(x, yd, wd, counted, n, root, target) : scale(x, yd, wf, counted, n, root, target);
  else
    row.count = g->wide_weights ? scale(x, yf, wd, counted, n, root, target) : scale(x, yf, wf, counted, n, root, target);
  for (int64_t f = 0; f < g->k; ++f) {
    const float* source = x + f * g->factor_stride;
    double* out = row.z + f * wide;
    for (int64_t i = 0; i < n; ++i) {
      const double value = source[i];
      out[i] = value == value ? value * root[i] : 0.0;
    }
  }
}

// Residuals of one row, and what follows from their squares.
inline void finish(const Wls* g, int64_t t, const Row& row, int64_t wide, const double* slope, const Lanes* inverse,
                   const Flags* dropped, int64_t lane) {
  const int64_t k = g->k, n = g->n;
  double* left = row.z + g->k * wide;  // behind the factors: padding that is not needed any more, or spare
  Lanes squares = {}, mass = {}, mean = {}, whole = {};
  for (int64_t at = 0; at < wide; at += 4 * kLanes) {
    const int64_t blocks = (wide - at) / kLanes < 4 ? (wide - at) / kLanes : 4;
    Lanes value[4] = {};
    for (int64_t b = 0; b < blocks; ++b) value[b] = lanes(row.target + at + b * kLanes);
    if (blocks == 4)
      for (int64_t f = 0; f < k; ++f)
        for (int64_t b = 0; b < 4; ++b) value[b] -= slope[f] * lanes(row.z + f * wide + at + b * kLanes);
    else
      for (int64_t f = 0; f < k; ++f)
        for (int64_t b = 0; b < blocks; ++b) value[b] -= slope[f] * lanes(row.z + f * wide + at + b * kLanes);
    for (int64_t b = 0; b < blocks; ++b) {
      const Lanes y = lanes(row.target + at + b * kLanes), r = lanes(row.root + at + b * kLanes);
      *reinterpret_cast<Lanes*>(left + at + b * kLanes) = value[b];
      squares += value[b] * value[b];
      mass += r * r;
      mean += r * y;
      whole += y * y;
    }
  }
  float* out = g->residuals + t * n;
  for (int64_t i = 0; i < n; ++i) {
    const double root = row.root[i];
    out[i] = root > 0.0 ? static_cast<float>(left[i] / root) : static_cast<float>(kNan);
  }
  int64_t free = row.count;
  for (int64_t i = 0; i < k; ++i) free -= !dropped[i][lane];
  const double unexplained = total(squares), weight = total(mass), sum = total(mean);
  const double spread = total(whole) - (weight > 0.0 ? sum * sum / weight : 0.0);
  const double variance = unexplained / (free > 0 ? free : 1);
  for (int64_t i = 0; i < k; ++i) {
    const bool good = !dropped[i][lane] && free >= 0;
    g->slopes[t * k + i] = good ? slope[i] : kNan;
    g->errors[t * k + i] = good && free > 0 ? std::sqrt(inverse[i * k + i][lane] * variance) : kNan;
  }
  g->r2[t] = free > 0 && spread > 0.0 ? 1.0 - unexplained / spread : kNan;
  g->count[t] = row.count;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int64_t PASTE(bascule_wls_, BASCULE_ISA)(const Wls* g) {
  const int64_t k = g->k, wide = padded(g->n, kLanes), tall = padded(k, 4);
  // a row: factors, padding (one more than needed: residuals go there), root, target
  const int64_t row_cells = (tall + 1 + 2) * wide, square = k * k * kLanes;
  const int64_t cells = kLanes * row_cells + 4 * square + (k + tall) * kLanes + tall;
  double* memory = static_cast<double*>(std::aligned_alloc(64, padded(cells * sizeof(double), 64)));
  if (!memory) return -100;
  for (int64_t i = 0; i < cells; ++i) memory[i] = 0.0;
  Row rows[kLanes];
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    double* at = memory + lane * row_cells;
    rows[lane] = {at, at + (tall + 1) * wide, at + (tall + 2) * wide, 0};
  }
  double* behind = memory + kLanes * row_cells;
  Lanes* gram = reinterpret_cast<Lanes*>(behind);
  Lanes *lower = gram + k * k, *half = lower + k * k, *inverse = half + k * k, *right = inverse + k * k;
  Flags* dropped = reinterpret_cast<Flags*>(right + tall);
  double* slope = reinterpret_cast<double*>(dropped + k);
  double some[4];
  for (int64_t first = 0; first < g->rows; first += kLanes) {
    const int64_t count = g->rows - first < kLanes ? g->rows - first : kLanes;
    for (int64_t lane = 0; lane < count; ++lane) {
      Row& row = rows[lane];
      load(g, first + lane, row, wide);
      if (k % 4)  // residuals of the batch before stand where the padding must be 0
        for (int64_t i = 0; i < wide; ++i) row.z[k * wide + i] = 0.0;
      for (int64_t i = 0; i < k; i += 4) {
        for (int64_t j = 0; j <= i; j += 4) tile(row.z, wide, wide, i, j, gram, k, lane);
        dots(row.z + i * wide, wide, row.target, wide, some);
        for (int64_t a = 0; a < 4; ++a) right[i + a][lane] = some[a];
      }
    }
    invert(gram, k, g->pivot, lower, half, inverse, dropped);
    for (int64_t i = 0; i < k; ++i) {
      Lanes sum = {};
      for (int64_t j = 0; j < k; ++j) sum += inverse[i * k + j] * right[j];
      lower[i] = sum;  // not needed any more
    }
    for (int64_t lane = 0; lane < count; ++lane) {
      for (int64_t i = 0; i < k; ++i) slope[i] = lower[i][lane];
      finish(g, first + lane, rows[lane], wide, slope, inverse, dropped, lane);
    }
  }
  std::free(memory);
  return 0;
}
