// Correlation of factors with labels across the instruments of a row (IC), plain and of ranks.
//
// Both are taken over the cells where factor and label are finite and the mask, if any, holds. What only a label
// knows (its centred values, its order, its ranks) is prepared once for a chunk of rows and serves all factors.
//
// Plain: two passes in double precision, sums in 16 lanes that are added up in one fixed order.
// Ranks: rows are sorted some at a time, one in each lane of a register, by a network of exchanges that is the
// same for all rows (Batcher 1968); keys carry the column in their low half. Twice the average ranks are whole
// numbers, so their sums are exact.
#pragma once

#include <cmath>
#include <utility>

#include "run.h"
#include "simd.h"

namespace BASCULE_ISA {

constexpr int GROUP = HALF;  // rows that are sorted together
constexpr int PARTS = LANES / HALF;
constexpr int64_t LAST_KEY = INT64_MAX;

INLINE vl lower_key(vl a, vl b) {
#if defined(__AVX512F__) && BASCULE_WIDTH == 16
    return (vl)_mm512_min_epi64((__m512i)a, (__m512i)b);
#else
    return a < b ? a : b;
#endif
}
INLINE vl upper_key(vl a, vl b) {
#if defined(__AVX512F__) && BASCULE_WIDTH == 16
    return (vl)_mm512_max_epi64((__m512i)a, (__m512i)b);
#else
    return a < b ? b : a;
#endif
}

// -- sorting ---------------------------------------------------------------------------------------

// Two places whose keys are put in order.
struct Exchange {
    uint16_t low, high;
};

INLINE void exchange(vl& a, vl& b) {
    const vl low = lower_key(a, b);
    b = upper_key(a, b);
    a = low;
}

// The exchanges of Batcher's odd-even merge sort of n places, in order, from runs of `run` sorted ones on.
template <class F> constexpr void odd_even_merge(int n, int run, F f) {
    for (int p = run; p < n; p *= 2)
        for (int k = p; k >= 1; k /= 2)
            for (int j = k % p; j + k < n; j += 2 * k)
                for (int i = j; i < j + (k < n - j - k ? k : n - j - k); i++)
                    if (i / (2 * p) == (i + k) / (2 * p)) f(i, i + k);
}

// Sixteen keys are sorted within registers.
constexpr int RUN = 16;
struct ShortNetwork {
    Exchange at[80] = {};
    int count = 0;
    constexpr ShortNetwork() {
        odd_even_merge(RUN, 1, [this](int a, int b) { at[count++] = {(uint16_t)a, (uint16_t)b}; });
    }
};
constexpr ShortNetwork SHORT;

template <size_t... I> INLINE void sort_run(vl* keys, std::index_sequence<I...>) {
    vl k[RUN];
    for (int i = 0; i < RUN; i++) k[i] = keys[i];
    (exchange(k[SHORT.at[I].low], k[SHORT.at[I].high]), ...);
    for (int i = 0; i < RUN; i++) keys[i] = k[i];
}

// Sorts the columns of `keys` [n][GROUP] ascending, n a multiple of 16; `merges`: the exchanges after the runs.
static void sort_rows(vl* keys, int n, const Exchange* merges, int64_t n_merges) {
    for (int i = 0; i < n; i += RUN) sort_run(keys + i, std::make_index_sequence<(size_t)SHORT.count>());
    for (int64_t e = 0; e < n_merges; e++) exchange(keys[merges[e].low], keys[merges[e].high]);
}

// The order of one row: columns from the least value up, and where equal values end.
struct Order {
    uint16_t* column;  // [n]
    uint8_t* closes;   // [n] 1: the next value is greater
    int n;
    bool distinct;     // no two values are equal
};

// Memory to sort in.
struct Sorter {
    vl* keys;             // [width]
    int64_t* line;        // [width]
    Exchange* merges;
    int64_t n_merges;
    int width;
};

// Orders of GROUP rows at `rows[g]`, over the finite values.
static void order_rows(const Sorter& sorter, const float* const* rows, Order* orders) {
    int64_t* flat = (int64_t*)sorter.keys;
    const int width = sorter.width;
    for (int g = 0; g < GROUP; g++) {
        for (int i = 0; i < width; i++) {
            const float v = rows[g][i] + 0.0f;  // -0 is 0
            int32_t bits;
            memcpy(&bits, &v, 4);
            bits ^= (bits >> 31) & 0x7fffffff;  // orders as the float does
            const int64_t key = (int64_t)bits * 4294967296 + i;
            sorter.line[i] = v - v == 0.0f ? key : LAST_KEY;
        }
        for (int i = 0; i < width; i++) flat[(int64_t)i * GROUP + g] = sorter.line[i];
    }
    sort_rows(sorter.keys, width, sorter.merges, sorter.n_merges);
    for (int g = 0; g < GROUP; g++) {
        Order& o = orders[g];
        int n = 0;
        for (; n < width; n++) {
            const int64_t key = flat[(int64_t)n * GROUP + g];
            if (key == LAST_KEY) break;
            sorter.line[n] = key;
        }
        o.n = n;
        if (!n) continue;
        int ties = 0;
        for (int i = 0; i < n; i++) o.column[i] = (uint16_t)sorter.line[i];
        for (int i = 0; i < n - 1; i++) {
            o.closes[i] = (sorter.line[i] >> 32) != (sorter.line[i + 1] >> 32);
            ties += !o.closes[i];
        }
        o.closes[n - 1] = 1;
        o.distinct = ties == 0;
    }
}

// Twice the average ranks (from 1) of the columns of an order where `counts` holds; the sum of their squares.
static int64_t rank_row(const Order& o, const uint8_t* counts, int32_t* ranks) {
    int64_t squares = 0;
    int place = 0, begin = 0;
    for (int i = 0; i < o.n; i++) {
        place += counts[o.column[i]];
        if (!o.closes[i]) continue;
        int first = i;
        while (first > 0 && !o.closes[first - 1]) first--;
        const int32_t rank = begin + 1 + place;
        for (int k = first; k <= i; k++) {
            ranks[o.column[k]] = rank;
            squares += counts[o.column[k]] ? (int64_t)rank * rank : 0;
        }
        begin = place;
    }
    return squares;
}

// What a chunk of rows knows of one label. Rows are `width` values apart, width = blocks * 16.
struct Label {
    float* values;     // NaN where a cell does not count
    uint8_t* counts;   // 1 where it does
    double* centred;   // values less the row's mean, 0 where a cell does not count
    int32_t* ranks;    // twice the average rank
    uint16_t* columns; // the row's order, see Order
    uint8_t* closes;
    uint8_t* alike;    // of each row: it counts the cells that the label before it counts
    int32_t* n;        // of each row
    double* squares;   // of each row: sum of squares of `centred`
    int64_t* rank_squares;
};

INLINE double total(const vd a[PARTS]) {
    double lanes[LANES];
    for (int p = 0; p < PARTS; p++) store(lanes + p * HALF, a[p]);
    for (int step = LANES / 2; step; step /= 2)
        for (int i = 0; i < step; i++) lanes[i] += lanes[i + step];
    return lanes[0];
}

// A factor's row over the cells that a label counts: what all labels that count the same cells have in common.
struct Centred {
    double count;    // common cells
    double mean;     // of the factor over them
    double squares;  // sum of squares of the deviations; only if `all`
    bool all;        // the factor has a value wherever the label counts
};

// Cells that count in block b, half p.
INLINE vl common_cells(const float* x, int64_t stride, const float* y, int b, int p) {
    const vd u = widen(x + b * stride + p * HALF), v = widen(y + b * LANES + p * HALF);
    return finite(u) & (v == v);
}

// `deviations` [blocks * 16] gets the factor less its mean, 0 where a cell does not count, if `all`.
static Centred centre(const float* x, int64_t stride, const Label& label, int64_t row, int blocks, double* deviations) {
    const float* y = label.values + row * blocks * LANES;
    vd n[PARTS] = {}, sx[PARTS] = {};
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < PARTS; p++) {
            const vl ok = common_cells(x, stride, y, b, p);
            n[p] += only(ok, splat(1.0));
            sx[p] += only(ok, widen(x + b * stride + p * HALF));
        }
    Centred c;
    c.count = total(n);
    c.all = c.count == label.n[row];
    c.mean = total(sx) / c.count;
    c.squares = 0.0;
    if (!c.all) return c;
    vd xx[PARTS] = {};
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < PARTS; p++) {
            const vd u = widen(x + b * stride + p * HALF);
            const vd dx = only(common_cells(x, stride, y, b, p), u - c.mean);
            xx[p] += dx * dx;
            store(deviations + b * LANES + p * HALF, dx);
        }
    c.squares = total(xx);
    return c;
}

static double quotient(double xy, double squares_x, double squares_y, double mean_x, double count) {
    // equal values leave the rounding of their mean, far below what floats can differ by
    const double flat = 1e-12 * mean_x;
    if (!(squares_x > flat * flat * count && squares_y > 0.0)) return NAND;
    const double r = xy / (sqrt(squares_x) * sqrt(squares_y));
    return r > 1.0 ? 1.0 : r < -1.0 ? -1.0 : r;
}

// Correlation of a factor's row with a label's over common cells, two passes; `blocks` of 16 values, the
// factor's `stride` apart.
static double plain_ic(const float* x, int64_t stride, const Label& label, int64_t row, int blocks, int least,
                       const Centred& c, const double* deviations) {
    if (c.count < least) return NAND;
    const int64_t at = row * blocks * LANES;
    const double* yc = label.centred + at;
    if (c.all) {
        vd xy[PARTS] = {};
        for (int b = 0; b < blocks; b++)
            for (int p = 0; p < PARTS; p++) {
                const int64_t i = b * LANES + p * HALF;
                xy[p] += load(deviations + i) * load(yc + i);
            }
        return quotient(total(xy), c.squares, label.squares[row], c.mean, c.count);
    }
    // the label is centred anew
    const float* y = label.values + at;
    vd sy[PARTS] = {};
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < PARTS; p++)
            sy[p] += only(common_cells(x, stride, y, b, p), load(yc + b * LANES + p * HALF));
    const double mean_y = total(sy) / c.count;
    vd xx[PARTS] = {}, xy[PARTS] = {}, yy[PARTS] = {};
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < PARTS; p++) {
            const vl ok = common_cells(x, stride, y, b, p);
            const vd dx = only(ok, widen(x + b * stride + p * HALF) - c.mean);
            const vd dy = only(ok, load(yc + b * LANES + p * HALF) - mean_y);
            xx[p] += dx * dx;
            xy[p] += dx * dy;
            yy[p] += dy * dy;
        }
    return quotient(total(xy), total(xx), total(yy), c.mean, c.count);
}

// The correlations of one factor's row with all labels, `step` apart.
static void plain_row(const float* x, int64_t stride, const Label* labels, int64_t n_labels, int64_t row, int blocks,
                      int least, double* deviations, double* out, int64_t step) {
    Centred c = {};
    for (int64_t h = 0; h < n_labels; h++) {
        if (h == 0 || !labels[h].alike[row]) c = centre(x, stride, labels[h], row, blocks, deviations);
        out[h * step] = plain_ic(x, stride, labels[h], row, blocks, least, c, deviations);
    }
}

// The same of ranks, from the order of the factor's row; `present`: its finite columns, `again`: memory for ranks.
static double rank_ic(const Order& x, const float* values, uint8_t* present, const Label& label, int64_t row, int width,
                      int least, int32_t* again) {
    const uint8_t* counts = label.counts + row * width;
    int common = 0;
    for (int i = 0; i < x.n; i++) common += counts[x.column[i]];
    if (common < least) return NAND;
    const int32_t* ranks = label.ranks + row * width;
    int64_t yy = label.rank_squares[row];
    if (common != label.n[row]) {  // the label is ranked anew among the common cells
        for (int i = 0; i < width; i++) present[i] = values[i] - values[i] == 0.0f;
        yy = rank_row({label.columns + row * width, label.closes + row * width, label.n[row], false}, present, again);
        ranks = again;
    }
    int64_t xy = 0, xx = 0;
    if (common == x.n && x.distinct) {
        for (int i = 0; i < x.n; i++) xy += (int64_t)(i + 1) * ranks[x.column[i]];
        xy *= 2;
        xx = (int64_t)common * (common + 1) * (2 * (int64_t)common + 1) / 6 * 4;
    } else {
        int place = 0, begin = 0;
        int64_t sum = 0;
        for (int i = 0; i < x.n; i++) {
            const int column = x.column[i];
            place += counts[column];
            sum += counts[column] ? ranks[column] : 0;
            if (!x.closes[i]) continue;
            const int64_t rank = begin + 1 + place;  // twice the average of places begin+1 .. place
            xy += rank * sum;
            xx += rank * rank * (place - begin);
            begin = place;
            sum = 0;
        }
    }
    const __int128 n = common, s = n * (n + 1);  // s: sum of doubled ranks
    const double top = (double)(n * xy - s * s), vx = (double)(n * xx - s * s), vy = (double)(n * yy - s * s);
    if (!(vx > 0.0 && vy > 0.0)) return NAND;
    const double r = top / (sqrt(vx) * sqrt(vy));
    return r > 1.0 ? 1.0 : r < -1.0 ? -1.0 : r;
}

// -- a chunk of rows -------------------------------------------------------------------------------

static int64_t count_merges(int64_t width) {
    int64_t count = 0;
    odd_even_merge((int)width, RUN, [&](int, int) { count++; });
    return count;
}

// Takes pieces off a block of memory.
struct Arena {
    char* p;
    template <class T> T* take(int64_t count) {
        T* found = (T*)p;
        p += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
        return found;
    }
};

struct LabelMemory {
    Label* labels;
    Sorter sorter;
    Order orders[GROUP];
    float* rows[GROUP];
    uint8_t* present;
    double* deviations;
    int32_t* again;
};

static LabelMemory label_memory(char* base, int64_t n_labels, int64_t rows, int64_t width, int64_t merges) {
    Arena a{base};
    LabelMemory m;
    m.labels = a.take<Label>(n_labels);
    const int64_t cells = rows * width;
    for (int64_t h = 0; h < n_labels; h++) {
        Label& l = m.labels[h];
        l.values = a.take<float>(cells);
        l.counts = a.take<uint8_t>(cells);
        l.centred = a.take<double>(cells);
        l.ranks = a.take<int32_t>(cells);
        l.columns = a.take<uint16_t>(cells);
        l.closes = a.take<uint8_t>(cells);
        l.alike = a.take<uint8_t>(rows);
        l.n = a.take<int32_t>(rows);
        l.squares = a.take<double>(rows);
        l.rank_squares = a.take<int64_t>(rows);
    }
    m.sorter.keys = a.take<vl>(width);
    m.sorter.line = a.take<int64_t>(width);
    m.sorter.merges = a.take<Exchange>(merges);
    m.sorter.n_merges = 0;
    m.sorter.width = (int)width;
    odd_even_merge((int)width, RUN, [&](int low, int high) {
        m.sorter.merges[m.sorter.n_merges++] = {(uint16_t)low, (uint16_t)high};
    });
    for (int g = 0; g < GROUP; g++) {
        m.orders[g].column = a.take<uint16_t>(width);
        m.orders[g].closes = a.take<uint8_t>(width);
        m.rows[g] = a.take<float>(width);
    }
    m.present = a.take<uint8_t>(width);
    m.deviations = a.take<double>(width);
    m.again = a.take<int32_t>(width);
    return m;
}

// Values, mean and spread of one row of a label.
static void read_label(const Correlation& c, int64_t h, int64_t t, Label& l, int64_t row, int width, int instruments) {
    const float* y = c.labels + (h * c.label_rows + t) * c.label_row;
    const uint8_t* mask = c.mask ? c.mask + t * c.mask_row : nullptr;
    float* values = l.values + row * width;
    uint8_t* counts = l.counts + row * width;
    double* centred = l.centred + row * width;
    for (int i = 0; i < width; i++) {
        const bool there = i < instruments && (!mask || mask[i]);
        const float v = i < instruments ? y[i] : NANF;
        counts[i] = there & (v - v == 0.0f);
        values[i] = counts[i] ? v : NANF;
    }
    vd n[PARTS] = {}, sum[PARTS] = {}, squares[PARTS] = {};
    for (int b = 0; b < width; b += LANES)
        for (int p = 0; p < PARTS; p++) {
            const vd v = widen(values + b + p * HALF);
            n[p] += only(v == v, splat(1.0));
            sum[p] += only(v == v, v);
        }
    const double count = total(n), mean = count > 0.0 ? total(sum) / count : 0.0;
    for (int b = 0; b < width; b += LANES)
        for (int p = 0; p < PARTS; p++) {
            const vd v = widen(values + b + p * HALF);
            const vd d = only(v == v, v - mean);
            squares[p] += d * d;
            store(centred + b + p * HALF, d);
        }
    l.n[row] = (int32_t)count;
    l.squares[row] = total(squares);
}

static void rank_labels(const Correlation& c, LabelMemory& m, int64_t rows, int width) {
    for (int64_t h = 0; h < c.n_labels; h++) {
        Label& l = m.labels[h];
        for (int64_t row = 0; row < rows; row += GROUP) {
            const float* at[GROUP];
            Order orders[GROUP];
            for (int g = 0; g < GROUP; g++) {
                const int64_t r = row + g < rows ? row + g : rows - 1;
                at[g] = l.values + r * width;
                orders[g] = row + g < rows ? Order{l.columns + r * width, l.closes + r * width, 0, false} : m.orders[g];
            }
            order_rows(m.sorter, at, orders);
            for (int g = 0; g < GROUP && row + g < rows; g++) {
                const int64_t r = row + g;
                l.rank_squares[r] = rank_row(orders[g], l.counts + r * width, l.ranks + r * width);
            }
        }
    }
}

// Correlations of all factors of a chunk [F][blocks][rows][16] with all labels.
static void correlate_chunk(const Correlation& c, char* base, const float* factors, int64_t n_factors, int64_t blocks,
                            int64_t instruments, int64_t begin, int64_t rows) {
    const int width = (int)(blocks * LANES);
    LabelMemory m = label_memory(base, c.n_labels, c.chunk_rows, width, count_merges(width));
    for (int64_t h = 0; h < c.n_labels; h++)
        for (int64_t row = 0; row < rows; row++) {
            read_label(c, h, begin + row, m.labels[h], row, width, (int)instruments);
            m.labels[h].alike[row] =
                h && !memcmp(m.labels[h].counts + row * width, m.labels[h - 1].counts + row * width, width);
        }
    if (c.rank) rank_labels(c, m, rows, width);
    const int64_t stride = c.chunk_rows * LANES;
    for (int64_t f = 0; f < n_factors; f++) {
        const float* factor = factors + f * blocks * stride;
        if (c.plain)
            for (int64_t row = 0; row < rows; row++)
                plain_row(factor + row * LANES, stride, m.labels, c.n_labels, row, (int)blocks, (int)c.least,
                          m.deviations, c.plain + f * c.n_labels * c.out_rows + (begin - c.first) + row, c.out_rows);
        if (!c.rank) continue;
        for (int64_t row = 0; row < rows; row += GROUP) {
            const int64_t group = rows - row < GROUP ? rows - row : GROUP;
            for (int g = 0; g < GROUP; g++) {
                const int64_t r = row + (g < group ? g : group - 1);
                for (int64_t b = 0; b < blocks; b++)
                    memcpy(m.rows[g] + b * LANES, factor + b * stride + r * LANES, LANES * 4);
                for (int64_t i = instruments; i < width; i++) m.rows[g][i] = NANF;
            }
            order_rows(m.sorter, m.rows, m.orders);
            for (int g = 0; g < group; g++)
                for (int64_t h = 0; h < c.n_labels; h++)
                    c.rank[(f * c.n_labels + h) * c.out_rows + (begin - c.first) + row + g] = rank_ic(
                        m.orders[g], m.rows[g], m.present, m.labels[h], row + g, width, (int)c.least, m.again);
        }
    }
}

// Bytes that correlate_chunk needs.
static int64_t correlate_memory(const Correlation& c, int64_t blocks) {
    const int64_t width = blocks * LANES, cells = c.chunk_rows * width;
    const int64_t label = cells * (4 + 1 + 8 + 4 + 2 + 1) + c.chunk_rows * (1 + 4 + 8 + 8) + 16 * 64;
    return c.n_labels * (label + (int64_t)sizeof(Label)) + count_merges(width) * (int64_t)sizeof(Exchange) +
           width * (int64_t)(sizeof(vl) + GROUP * 16 + 40) + 8192;
}

}  // namespace BASCULE_ISA
