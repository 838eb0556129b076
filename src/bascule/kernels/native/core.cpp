// The plain C face of the kernels: choose an instruction set, check a run, share it among threads.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "check.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__x86_64__)
namespace avx512 { extern Kernels kernels; }
namespace avx2 { extern Kernels kernels; }
#endif
namespace baseline { extern Kernels kernels; }

namespace {

constexpr int ABI = 2;
constexpr int64_t HUGE_PAGE = 2 << 20;
constexpr int64_t OUT_OF_MEMORY = -100;
constexpr int64_t UNKNOWN_SET = -101;
constexpr int64_t WRONG_CORRELATION = -102;

bool runs_here(const Kernels& k) {
#if defined(__x86_64__)
    if (&k == &avx512::kernels)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2");
    if (&k == &avx2::kernels) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)k;
    return true;
}

// Best first.
const Kernels* const ALL[] = {
#if defined(__x86_64__)
    &avx512::kernels,
    &avx2::kernels,
#endif
    &baseline::kernels,
};

const Kernels* find(const char* name) {
    for (const Kernels* k : ALL)
        if (runs_here(*k) && (!name || !*name || !strcmp(name, k->name))) return k;
    return nullptr;
}

// Takes work items until none is left. Item = block of lanes, then chunk of rows.
void work(const Run& run, const Kernels& kernels, const Memory& memory, char* base, std::atomic<int64_t>& next) {
    const int64_t blocks = run.last_block - run.first_block;
    const int64_t chunks = (run.last - run.first + run.chunk_rows - 1) / run.chunk_rows;
    for (int64_t item = next++; item < blocks * chunks; item = next++) {
        const int64_t begin = run.first + item / blocks * run.chunk_rows;
        const int64_t end = begin + run.chunk_rows < run.last ? begin + run.chunk_rows : run.last;
        kernels.block(run, memory, base, run.first_block + item % blocks, begin, end);
    }
}

// Takes chunks of rows until none is left: all factors of a chunk into a buffer, then their correlations.
void correlate(const Run& run, const Correlation& c, const Kernels& kernels, const Memory& memory, char* base,
               std::atomic<int64_t>& next) {
    const int64_t blocks = run.last_block;
    char* factors = base + memory.total;
    const int64_t size = blocks * c.chunk_rows * TILE_LANES * (int64_t)sizeof(float);
    std::vector<Output> outputs;
    for (int64_t f = 0; f < run.n_outputs; f++) outputs.push_back({factors + f * size, 0});
    char* labels = factors + run.n_outputs * size;
    Run part = run;
    part.outputs = outputs.data();
    part.out_block = c.chunk_rows * TILE_LANES;
    part.out_row = TILE_LANES;
    part.stream = 0;
    const int64_t chunks = (run.last - run.first + c.chunk_rows - 1) / c.chunk_rows;
    for (int64_t item = next++; item < chunks; item = next++) {
        const int64_t begin = run.first + item * c.chunk_rows;
        const int64_t end = begin + c.chunk_rows < run.last ? begin + c.chunk_rows : run.last;
        part.first = begin;
        for (int64_t b = 0; b < blocks; b++) kernels.block(part, memory, base, b, begin, end);
        kernels.correlate(c, labels, (const float*)factors, run.n_outputs, blocks, run.instruments, begin, end - begin);
    }
}

struct Free {
    std::vector<void*> held;
    ~Free() {
        for (void* p : held) free(p);
    }
};

// Runs `job(memory, next)` in as many threads as there is work for.
template <class Job> int64_t share(const Run& run, int64_t items, int64_t bytes, Job job) {
    int64_t threads = run.threads < 1 ? 1 : run.threads;
    if (threads > items) threads = items;
    Free memories;
    for (int64_t i = 0; i < threads; i++) {
        // touching megabytes of ordinary pages for the first time costs as much as a small run
        const size_t page = bytes < HUGE_PAGE ? 4096 : HUGE_PAGE;
        const size_t size = ((size_t)bytes + page - 1) / page * page;
        void* p = aligned_alloc(page, size);
        if (!p) return OUT_OF_MEMORY;
#if defined(__linux__)
        if (page == HUGE_PAGE) madvise(p, size, MADV_HUGEPAGE);
#endif
        memories.held.push_back(p);
    }
    std::atomic<int64_t> next{0};
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads; i++)
        others.emplace_back([&, i] { job((char*)memories.held[i], next); });
    job((char*)memories.held[0], next);
    for (std::thread& t : others) t.join();
    return 0;
}

}  // namespace

EXPORT int bascule_abi() { return ABI; }

// "name=number ..." of all opcodes, for the other side to compare with its own.
EXPORT const char* bascule_opcodes() {
#define BASCULE_OPCODE(name, number) #name "=" #number " "
    return BASCULE_OPCODES(BASCULE_OPCODE);
#undef BASCULE_OPCODE
}

// The instruction sets that this machine can run, best first, separated by blanks.
EXPORT const char* bascule_sets() {
    static char text[64];
    char* p = text;
    for (const Kernels* k : ALL)
        if (runs_here(*k)) {
            if (p != text) *p++ = ' ';
            p = stpcpy(p, k->name);
        }
    return text;
}

EXPORT int64_t bascule_check(const Run* run) { return bascule::check(*run); }

// Runs a program over all its work items; `set` names an instruction set, or is empty for the best.
// 0, or what bascule_check says, or a code above.
EXPORT int64_t bascule_run(const Run* run, const char* set) {
    if (const int64_t wrong = bascule::check(*run)) return wrong;
    const Kernels* kernels = find(set);
    if (!kernels) return UNKNOWN_SET;
    if (run->first == run->last || run->first_block == run->last_block) return 0;
    const Memory memory = bascule::memory_of(*run);
    const int64_t blocks = run->last_block - run->first_block;
    const int64_t items = blocks * ((run->last - run->first + run->chunk_rows - 1) / run->chunk_rows);
    return share(*run, items, memory.total, [&](char* base, std::atomic<int64_t>& next) {
        work(*run, *kernels, memory, base, next);
    });
}

// Correlates the outputs of a run with labels, without keeping them; the outputs' addresses are not used.
EXPORT int64_t bascule_correlate(const Run* run, const Correlation* c, const char* set) {
    if (const int64_t wrong = bascule::check(*run)) return wrong;
    const int64_t blocks = (run->instruments + TILE_LANES - 1) / TILE_LANES;
    const bool fits = run->first_block == 0 && run->last_block == blocks && blocks * TILE_LANES <= 65536 &&
                      c->n_labels >= 1 && c->chunk_rows >= 1 && c->label_rows >= run->last && c->least >= 2 &&
                      c->out_rows >= run->last - c->first && c->first == run->first;
    for (int64_t f = 0; f < run->n_outputs; f++)
        if (run->outputs[f].wide) return WRONG_CORRELATION;
    if (!fits) return WRONG_CORRELATION;
    const Kernels* kernels = find(set);
    if (!kernels) return UNKNOWN_SET;
    if (run->first == run->last) return 0;
    const Memory memory = bascule::memory_of(*run);
    const int64_t factors = run->n_outputs * blocks * c->chunk_rows * TILE_LANES * (int64_t)sizeof(float);
    const int64_t bytes = memory.total + factors + kernels->correlate_memory(*c, blocks);
    const int64_t chunks = (run->last - run->first + c->chunk_rows - 1) / c->chunk_rows;
    return share(*run, chunks, bytes, [&](char* base, std::atomic<int64_t>& next) {
        correlate(*run, *c, *kernels, memory, base, next);
    });
}
