// All kernels and the loop over tiles, compiled once for each instruction set.
//
// 1. A work item is one block of 16 instruments over a range of rows; it is cut into tiles.
// 2. The fields of a tile are copied into slots [rows][16].
// 3. The program runs over the slots; results go to slots or straight to the outputs.
// 4. What later windows will read is kept: each slot's last rows move before its row 0.
//
// The first tile of an item computes every intermediate as far back as its readers look (`back` of each
// instruction), so items need nothing from each other.
#include "correlate.h"
#include "elementwise.h"
#include "extrema.h"
#include "moments.h"
#include "order.h"
#include "pairs.h"
#include "run.h"
#include "sums.h"

#define TEXT_OF(x) #x
#define NAME_OF(x) TEXT_OF(x)

namespace BASCULE_ISA {

#define BY_TYPE(kernel)                                              \
    do {                                                             \
        if (is_wide(t, args[0])) kernel<double>(t, args, r0);        \
        else kernel<float>(t, args, r0);                             \
    } while (0)

// Kernels that compute in the type of their operand do so in double precision where a result is kept so; all
// results of one instruction are kept alike.
#define BY_TYPES(kernel, first_sink)                                             \
    do {                                                                         \
        if (is_wide(t, args[0])) kernel<double, double>(t, args, r0);            \
        else if (sinks_wide(t, args[first_sink])) kernel<double, float>(t, args, r0); \
        else kernel<float, float>(t, args, r0);                                  \
    } while (0)

static void run_instruction(const Tile& t, int op, const int32_t* args, int r0) {
    if (run_elementwise(t, op, args, r0)) return;
    switch (op) {
        case OP_MOMENTS: BY_TYPE(run_moments); break;
        case OP_SUM: BY_TYPE(run_sum); break;
        case OP_SHAPE: BY_TYPE(run_shape); break;
        case OP_COUNT: BY_TYPE(run_count); break;
        case OP_DEVIATION: BY_TYPE(run_deviation); break;
        case OP_SHARE: run_share(t, args, r0); break;
        case OP_EXTREMA: BY_TYPE(run_extrema); break;
        case OP_ORDER: BY_TYPES(run_order, 6); break;
        case OP_RANK: BY_TYPES(run_rank, 5); break;
        case OP_EMA: BY_TYPE(run_ema); break;
        case OP_PAIRS: {
            const bool a = is_wide(t, args[0]), b = is_wide(t, args[2]);
            if (a && b) run_pairs<double, double>(t, args, r0);
            else if (a) run_pairs<double, float>(t, args, r0);
            else if (b) run_pairs<float, double>(t, args, r0);
            else run_pairs<float, float>(t, args, r0);
            break;
        }
        default: break;  // refused by the validation
    }
}

// The rows of one field; NaN before the panel's first row. The last block repeats its last instrument.
template <class E> static void read_field(const Run& run, const Tile& t, int64_t field, int64_t t0, int64_t block) {
    const int64_t lane0 = block * LANES, lanes = run.instruments - lane0;
    const Input& input = run.inputs[field];
    const int r0 = t.first ? -t.shapes[field].history : 0;
    E* slot = (E*)t.slots[field];
    for (int r = r0; r < t.rows; r++) {
        E* row = slot + (int64_t)r * LANES;
        const E* const ahead = (const E*)input.p + (t0 + r + run.tile_rows) * input.stride + lane0;
        if (t0 + r + run.tile_rows < run.rows) __builtin_prefetch(ahead, 0, 2);  // the next tile's row
        const E* from = (const E*)input.p + (t0 + r) * input.stride + lane0;
        if (t0 + r < 0)
            for (int l = 0; l < LANES; l++) row[l] = (E)NAND;
        else if (lanes >= LANES)
            memcpy(row, from, LANES * sizeof(E));
        else
            for (int l = 0; l < LANES; l++) row[l] = from[l < lanes ? l : lanes - 1];
    }
    if (t.late && input.own) blank(t, slot, LANES * sizeof(E), r0, t.rows);
}

// Where the instruments of a block begin, and whether that matters to rows [-reach, rows) of a tile.
static void find_starts(const Run& run, Tile& t, int64_t t0, int64_t block, int64_t reach, int32_t* born, int32_t* since) {
    const auto bounded = [&](int64_t row) { return (int32_t)(row < -reach ? -reach : row > t.rows ? t.rows : row); };
    t.late = t.ragged = false;
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t i = block * LANES + l;
        const int64_t start = run.starts[i < run.instruments ? i : run.instruments - 1];
        born[l] = bounded(start - t0);
        since[l] = bounded((start > 0 ? start : 0) - t0);
        t.late |= since[l] > -reach;
        t.ragged |= born[l] > -reach && born[l] < t.rows;
    }
}

static void run_block(const Run& run, const Memory& memory, char* base, int64_t block, int64_t begin, int64_t end) {
    alignas(64) int32_t born[LANES], since[LANES];
    char** slots = (char**)base;
    Constant* constants = (Constant*)(slots + run.n_slots);
    char* p = base + memory.slots;
    int64_t history = 0, keep = 0;
    for (int64_t s = 0; s < run.n_slots; s++) {
        const SlotShape& shape = run.shapes[s];
        const int64_t row = shape.wide ? DOUBLE_ROW : FLOAT_ROW;
        slots[s] = p + shape.history * row;
        p += (shape.history + run.tile_rows) * row + 192;  // an odd number of lines: no two slots share all sets
        history = history > shape.history ? history : shape.history;
        keep = keep > shape.keep ? keep : shape.keep;
    }
    for (int64_t i = 0; i < run.n_constants; i++) {
        constants[i].value = run.constants[i];
        for (int l = 0; l < LANES; l++) {
            constants[i].wide[l] = run.constants[i];
            constants[i].lanes[l] = (float)run.constants[i];
        }
    }
    Tile t;
    t.first = true;
    t.shapes = run.shapes;
    t.slots = slots;
    t.constants = constants;
    t.outputs = run.outputs;
    t.out_row = run.out_row;
    t.stream = run.stream;
    t.born = born;
    t.since = since;
    t.scratch = base + memory.scratch;
    t.staging = base + memory.staging;
    t.staged = 0;
    for (int64_t t0 = begin; t0 < end; t0 += t.rows, t.first = false) {
        t.rows = (int)(end - t0 < run.tile_rows ? end - t0 : run.tile_rows);
        t.when = run.origin + t0;
        t.out_at = (block - run.first_block) * run.out_block + (t0 - run.first) * run.out_row;
        find_starts(run, t, t0, block, t.first ? history : keep, born, since);
        for (int64_t i = 0; i < run.n_inputs; i++) {
            if (run.shapes[i].wide) read_field<double>(run, t, i, t0, block);
            else read_field<float>(run, t, i, t0, block);
        }
        for (const int32_t* i = run.program; i < run.program + run.length; i += i[1])
            run_instruction(t, i[0], i + HEADER, t.first ? -i[2] : 0);
        for (int64_t s = 0; s < run.n_slots; s++) {
            const int64_t row = run.shapes[s].wide ? DOUBLE_ROW : FLOAT_ROW, kept = run.shapes[s].keep * row;
            if (kept) memmove(slots[s] - kept, slots[s] + t.rows * row - kept, kept);
        }
    }
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

Kernels kernels = {NAME_OF(BASCULE_ISA), run_block, correlate_chunk, correlate_memory};

}  // namespace BASCULE_ISA
