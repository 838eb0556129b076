#include "check.h"

namespace bascule {
namespace {

constexpr int64_t MOST_ROWS = 1 << 20;     // of a tile, a window or a lag
constexpr int64_t MOST_ENTRIES = 1 << 16;

// Reads the arguments of one instruction, remembering whether all were fine.
class Reader {
public:
    Reader(const Run& run, const int32_t* at) : run_(run), next_(at + HEADER), end_(at + at[1]), back_(at[2]) {}

    bool fine() const { return fine_; }
    bool finished() const { return fine_ && next_ == end_; }
    void refuse() { fine_ = false; }

    int32_t take() {
        if (next_ >= end_) {
            fine_ = false;
            return 0;
        }
        return *next_++;
    }
    int32_t number(int64_t low, int64_t high) {
        const int32_t value = take();
        if (value < low || value > high) {
            fine_ = false;
            return (int32_t)low;
        }
        return value;
    }
    void constant() { number(0, run_.n_constants - 1); }
    void floor() {
        const int32_t value = take();
        if (value < FLOOR_NONE || value >= run_.n_constants) fine_ = false;
    }

    // A series; its lag is kept until the windows are known.
    struct Series {
        int32_t slot, lag;
    };
    Series series(bool constants) {
        Series s{take(), take()};
        const bool constant = s.slot < 0;
        if (constant && (!constants || ~s.slot >= run_.n_constants)) fine_ = false;
        if (!constant && s.slot >= run_.n_slots) fine_ = false;
        if (s.lag < 0 || s.lag > MOST_ROWS) fine_ = false;
        return s;
    }
    // The slot must hold the rows that a window of w bars reads, in the first tile and in later ones.
    void reach(Series s, int64_t w) {
        if (!fine_ || s.slot < 0) return;
        const int64_t rows = s.lag + w - 1;
        const SlotShape& shape = run_.shapes[s.slot];
        if (rows > shape.keep || back_ + rows > shape.history) fine_ = false;
    }
    void sink() {
        const int32_t target = take(), addend = take(), finish = number(0, FINISHES - 1);
        const Series z = series(true);
        if (!fine_) return;
        if (target < 0 ? (~target >= run_.n_outputs || back_ != 0) : target >= run_.n_slots) refuse();
        if (!fine_) return;
        if (target >= 0 && (target < run_.n_inputs || back_ > run_.shapes[target].history)) refuse();
        const bool wide = target < 0 ? run_.outputs[~target].wide : run_.shapes[target].wide;
        widths_ |= wide ? 2 : 1;
        if (addend < -1 || addend >= run_.n_constants) refuse();
        if (wide && (addend >= 0 || finish != FINISH_NONE)) refuse();
        if (finish != FINISH_NONE) {
            if (z.slot >= 0 && run_.shapes[z.slot].wide) refuse();
            reach(z, 1);
        }
    }
    bool wide(Series s) const { return fine_ && s.slot >= 0 && run_.shapes[s.slot].wide; }
    // Some sinks, or all, keep doubles.
    bool sinks_wide() const { return widths_ & 2; }
    bool sinks_alike() const { return widths_ != 3; }

    // Entries of (window, statistic, sink) in order of windows; gives the longest.
    int64_t entries(int statistics) {
        const int32_t count = number(1, MOST_ENTRIES);
        int64_t longest = 0;
        for (int32_t e = 0; e < count && fine_; e++) {
            const int32_t w = number(1, MOST_ROWS);
            if (w < longest) refuse();
            longest = w;
            number(0, statistics - 1);
            sink();
        }
        return longest;
    }

private:
    const Run& run_;
    const int32_t* next_;
    const int32_t* end_;
    int64_t back_;
    bool fine_ = true;
    int8_t widths_ = 0;  // bit 1: some sink of this instruction keeps doubles, bit 0: some does not
};

bool reads_only_floats(const Run& run, Reader::Series s) { return s.slot < 0 || !run.shapes[s.slot].wide; }

void check_elementwise(const Run& run, Reader& in, int operands) {
    const int32_t wide = in.number(0, 1);
    in.sink();
    for (int i = 0; i < operands; i++) {
        const Reader::Series s = in.series(true);
        in.reach(s, 1);
        if (in.fine() && !wide && !reads_only_floats(run, s)) in.refuse();
    }
}

bool instruction_is_fine(const Run& run, const int32_t* at) {
    Reader in(run, at);
    const int32_t op = at[0];
    if (op >= OP_COPY && op <= OP_NOT) {
        check_elementwise(run, in, 1);
    } else if (op >= OP_ADD && op <= OP_OR) {
        check_elementwise(run, in, 2);
    } else if (op == OP_IF || op == OP_IF_KNOWN) {
        check_elementwise(run, in, 3);
    } else if (op == OP_ORDER) {
        const Reader::Series x = in.series(false);
        const int32_t w = in.number(1, MOST_ROWS), count = in.number(1, MOST_ENTRIES);
        in.reach(x, w);
        for (int32_t e = 0; e < count && in.fine(); e++) {
            in.number(0, ORDER_STATISTICS - 1);
            in.constant();
            in.sink();
        }
        if (!in.sinks_alike()) in.refuse();
    } else if (op == OP_EMA) {
        const Reader::Series x = in.series(false);
        in.reach(x, in.number(1, MOST_ROWS));
        in.constant();
        in.sink();
    } else if (op == OP_PAIRS) {
        const Reader::Series x = in.series(false), y = in.series(false);
        in.floor();
        const int64_t w = in.entries(PAIR_STATISTICS);
        in.reach(x, w);
        in.reach(y, w);
    } else {
        const Reader::Series x = in.series(false);
        int statistics = 1;
        switch (op) {
            case OP_MOMENTS:
                in.floor();
                statistics = MOMENT_STATISTICS;
                break;
            case OP_SHAPE:
                in.floor();
                statistics = SHAPE_STATISTICS;
                break;
            case OP_EXTREMA:
                in.number(0, 1);
                statistics = 2;
                break;
            case OP_SUM:
            case OP_COUNT:
            case OP_SHARE:
            case OP_DEVIATION:
            case OP_RANK:
                break;
            default:
                return false;
        }
        in.reach(x, in.entries(statistics));
        if (op == OP_RANK && !in.sinks_alike()) in.refuse();
        if ((op == OP_EXTREMA || op == OP_COUNT) && in.sinks_wide() && !in.wide(x)) in.refuse();
    }
    return in.finished();
}

int64_t longest_window(const Run& run) {
    int64_t longest = 1;
    for (int64_t s = 0; s < run.n_slots; s++)
        if (run.shapes[s].keep + 1 > longest) longest = run.shapes[s].keep + 1;
    return longest;
}

int64_t aligned(int64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

int64_t check(const Run& run) {
    if (run.n_inputs < 0 || run.n_slots < run.n_inputs || run.n_slots > MOST_ENTRIES) return -1;
    if (run.n_constants < 0 || run.n_constants > MOST_ENTRIES || run.n_outputs < 0) return -2;
    if (run.tile_rows < 1 || run.tile_rows > MOST_ROWS || run.chunk_rows < 1) return -3;
    if (run.first < 0 || run.first > run.last || run.last > run.rows || run.instruments < 1) return -4;
    const int64_t blocks = (run.instruments + TILE_LANES - 1) / TILE_LANES;
    if (run.first_block < 0 || run.first_block > run.last_block || run.last_block > blocks) return -4;
    for (int64_t s = 0; s < run.n_slots; s++) {
        const SlotShape& shape = run.shapes[s];
        if (shape.keep < 0 || shape.history < shape.keep || shape.history > 64 * MOST_ROWS) return -5;
        if (shape.wide < 0 || shape.wide > 1) return -5;
    }
    for (int64_t at = 0; at < run.length;) {
        const int32_t* i = run.program + at;
        const bool whole = run.length - at >= HEADER && i[1] >= HEADER && i[1] <= run.length - at && i[2] >= 0;
        if (!whole || !instruction_is_fine(run, i)) return at + 1;
        at += i[1];
    }
    return 0;
}

Memory memory_of(const Run& run) {
    Memory m;
    m.slots = aligned(run.n_slots * (int64_t)sizeof(char*) + run.n_constants * 256 + 64);
    int64_t slots = 0;
    for (int64_t s = 0; s < run.n_slots; s++)
        slots += (run.shapes[s].history + run.tile_rows) * TILE_LANES * (run.shapes[s].wide ? 8 : 4) + 192;
    m.scratch = aligned(m.slots + slots);
    // at most twelve vectors of 64 bytes are saved for each row of a window (blocks.h)
    m.staging = aligned(m.scratch + (longest_window(run) + 2) * 12 * 64);
    m.total = aligned(m.staging + run.tile_rows * TILE_LANES * 4 * 16);
    return m;
}

}  // namespace bascule
