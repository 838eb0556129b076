// One run of a program over a panel, as the Python side describes it. Plain C, shared by all parts.
#pragma once

#include <cstdint>

#include "program.h"

// A field [rows][instruments] of floats, or of doubles where its slot is wide.
struct Input {
    const char* p;
    int64_t stride;          // elements between rows
    int64_t own;             // 1: an instrument's own values, which begin with it
};

// Where an output begins: row `first` of the run, block 0.
struct Output {
    char* p;
    int64_t wide;            // 1: doubles
};

struct Run {
    // what is read
    const Input* inputs;
    int64_t rows;
    int64_t instruments;
    int64_t origin;          // absolute bar number of row 0
    const int64_t* starts;   // [instruments] first row of each, before 0 too; rows or more = never
    // what is done: slots 0 .. n_inputs-1 are the fields
    const int32_t* program;
    int64_t length;
    const double* constants;
    int64_t n_constants;
    const SlotShape* shapes;
    int64_t n_slots;
    int64_t n_inputs;
    int64_t tile_rows;
    // what is written: rows [first, last) of each output; strides in elements
    const Output* outputs;
    int64_t n_outputs;
    int64_t out_block;
    int64_t out_row;
    int64_t first;
    int64_t last;
    int64_t first_block;     // blocks [first_block, last_block) of 16 instruments; output block 0 is first_block
    int64_t last_block;
    int64_t chunk_rows;      // rows of one work item
    int64_t threads;
    int64_t stream;          // 1: write past the caches
};

// Labels to correlate the outputs of a run with, row by row across instruments.
struct Correlation {
    const float* labels;     // [n_labels][label_rows][instruments], rows as the run's inputs
    int64_t n_labels;
    int64_t label_rows;
    int64_t label_row;       // elements between rows
    const uint8_t* mask;     // [rows][instruments] which cells count, or null = all
    int64_t mask_row;
    double* plain;           // [outputs][n_labels][out_rows], or null
    double* rank;            // the same of ranks, or null
    int64_t out_rows;
    int64_t first;           // row of the run that is out row 0
    int64_t least;           // fewer common cells give NaN
    int64_t chunk_rows;      // rows that are held at a time
};

constexpr int64_t TILE_LANES = 16;

// Memory of one worker, in bytes, by part.
struct Memory {
    int64_t slots, scratch, staging, total;
};

// One implementation, compiled for one instruction set.
struct Kernels {
    const char* name;
    // Runs one work item: the lanes of one block over output rows [begin, end).
    void (*block)(const Run& run, const Memory& memory, char* base, int64_t block, int64_t begin, int64_t end);
    // Correlates factors [outputs][blocks][chunk_rows][16] of rows [begin, begin + rows).
    void (*correlate)(const Correlation& c, char* base, const float* factors, int64_t n_factors, int64_t blocks,
                      int64_t instruments, int64_t begin, int64_t rows);
    int64_t (*correlate_memory)(const Correlation& c, int64_t blocks);
};
