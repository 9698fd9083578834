/* Gradients of a ladder of one-hidden-layer MLPs on binary inputs: see kernel.py for the algebra.

   B samples, K subtasks, n bits, G members, H hidden units in all, T threads. The samples are sorted by their
   subtask and cut into T shares; a share is worked on by itself, and what the shares found is added up in their
   order. The hidden units of a member are cut into blocks of COLUMNS, the last one padded with zeros. What is done
   with a share is in ladder_tables.h or, with -DTILES, in ladder_tiles.h; here is what goes before and after.
   Compiled for a REAL (float or double). */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error bits are read from words in the order of a little-endian processor
#endif

/* Two registers of tiles side by side; else so much that the tables of 100 bits fit into a first cache of 32 KB. */
#ifdef TILES
#define BLOCK_BYTES 128
#else
#define BLOCK_BYTES 64
#endif
#include "ladder_vectors.h"

typedef struct {
    int64_t n_samples, n_subtasks, n_bits, n_members, n_blocks, n_columns, n_threads, n_words, bits_stride,
        margins_only; /* 1, or 0: gradients are wanted */
    const int64_t *first_block;  /* (G + 1) */
    const int64_t *first_column; /* (blocks) of each block, in 0..H */
    const int64_t *n_used;       /* (blocks) columns of each block that are not padding */
    const int64_t *subtask;      /* (B) */
    const uint64_t *packed;      /* (B, n_words) bits, the first one lowest; or NULL, then they are in `bits` */
    const uint64_t *own;         /* (K, n_words) the bits whose parity is the label; only with `packed` */
    const uint8_t *bits;         /* (B, n), rows bits_stride apart */
    const uint8_t *label;        /* (B); only with `bits`, and not for margins */
    const REAL *embedding, *weight, *bias;       /* (K, H) (n, H) (H) */
    const REAL *readout, *offset;                /* (2, H) (2, G) */
    REAL *d_embedding, *d_weight, *d_bias;       /* (K, H) (n, H) (H) */
    REAL *d_readout, *d_offset;                  /* (2, H) (2, G) */
    REAL *margin; /* (B, G) */
    char *memory; /* as much as ladder_memory asks for */
} ladder;

/* The rows of a share, in the order of their subtasks; n_padded is n_rows rounded up to whole groups of four.
   Of the subtasks from first_subtask on it finds the gradients, but that of the first belongs to a share before
   where `continues`: then it is in `carry`, to be added. */
typedef struct {
    long n_rows, n_padded, first_subtask, n_subtasks;
    bool continues;
    const int32_t *order;                    /* (n_rows) their places in the batch */
    int32_t *subtask;                        /* (n_padded) counted from first_subtask */
    uint8_t *label;                          /* (n_padded) */
    uint64_t *words;                         /* (n_padded, n_words) their bits, 0 beyond the last */
    REAL *carry, *d_bias, *d_readout, *d_offset; /* (H) (H) (H) (G) */
} rows_of_share;

static long part(long n, long number, long of) { return n * number / of; }
static long round_up(long n, long to) { return (n + to - 1) / to * to; }

/* The next bytes of a memory, in whole cache lines. With memory that begins at NULL it only counts. */
static void *take(char **memory, long bytes) {
    char *taken = *memory;
    *memory += round_up(bytes, 64);
    return taken;
}

static long widest_member(const ladder *l) {
    long widest = 0;
    for (long g = 0; g < l->n_members; g++)
        if (l->first_block[g + 1] - l->first_block[g] > widest) widest = l->first_block[g + 1] - l->first_block[g];
    return widest;
}

/* A row of the embedding, with the bias. */
static inline block load_row(const ladder *l, long q, long k, const block *bias, long n_used) {
    block row = load(l->embedding + k * l->n_columns + l->first_column[q], n_used);
    for (int v = 0; v < VECTORS; v++) row.v[v] += bias->v[v];
    return row;
}

/* Where a share puts the gradient of a row, its k-th. */
static REAL *d_row_of(const ladder *l, const rows_of_share *r, long k) {
    return k == 0 && r->continues ? r->carry : l->d_embedding + (r->first_subtask + k) * l->n_columns;
}

/* The readouts of a block: those of label 1 without those of label 0. */
static block load_readout(const ladder *l, long q) {
    const REAL *from = l->readout + l->first_column[q];
    block one = load(from + l->n_columns, l->n_used[q]), zero = load(from, l->n_used[q]);
    for (int v = 0; v < VECTORS; v++) one.v[v] -= zero.v[v];
    return one;
}

static REAL offset_of(const ladder *l, long g) { return l->offset[l->n_members + g] - l->offset[g]; }

/* Derivatives of the mean cross-entropy by the margins of some rows, in their place. */
static void find_errors(const ladder *l, long n_rows, const uint8_t *label, REAL *margin) {
    const REAL share = 1 / (REAL)l->n_samples;
    for (long b = 0; b < n_rows; b++) margin[b] = (sigmoid(margin[b]) - label[b]) * share;
}

/* What a header provides:
   shared, scratch                         types of memory: of all shares, and of one
   PREPARES                                whether there is anything to prepare
   share_out(l, memory, shared *)          take the memory
   lay_out(l, number, most_rows, memory, scratch *)
   prepare(l, number, shared *)            before the work on any share; a part of it
   work(l, rows_of_share *, scratch *, shared *)        the margins, or the sums of one share
   collect(l, number, scratch * of all, shared *)   after the work on all: a part of d_weight (and d_embedding) */
#ifdef TILES
#include "ladder_tiles.h"
#else
#include "ladder_tables.h"
#endif

typedef struct {
    const ladder *l;
    int32_t *order, *first_of; /* (B) (K + 1) */
    rows_of_share *rows;       /* (T) */
    scratch *scratches;        /* (T) */
    shared shared;
    long n_workers;
    pthread_mutex_t start;
    pthread_barrier_t barrier;
} task;

typedef struct {
    task *task;
    pthread_t id;
    long number;
} worker;

/* Divide l->memory; returns its size. */
static long lay_out_all(const ladder *l, task *all) {
    const long T = l->n_threads, most_rows = round_up((l->n_samples + T - 1) / T, 4);
    char *memory = l->memory;
    all->l = l;
    all->rows = take(&memory, T * sizeof *all->rows);
    all->scratches = take(&memory, T * sizeof *all->scratches);
    all->order = take(&memory, l->n_samples * sizeof *all->order);
    all->first_of = take(&memory, (l->n_subtasks + 1) * sizeof *all->first_of);
    share_out(l, &memory, &all->shared);
    for (long t = 0; t < T; t++) {
        rows_of_share r = {0};
        scratch s;
        r.subtask = take(&memory, most_rows * sizeof *r.subtask);
        r.label = take(&memory, most_rows);
        r.words = take(&memory, most_rows * l->n_words * sizeof *r.words);
        r.carry = take(&memory, l->n_columns * sizeof(REAL));
        r.d_bias = take(&memory, l->n_columns * sizeof(REAL));
        r.d_readout = take(&memory, l->n_columns * sizeof(REAL));
        r.d_offset = take(&memory, l->n_members * sizeof(REAL));
        lay_out(l, t, most_rows, &memory, &s);
        if (l->memory) all->rows[t] = r, all->scratches[t] = s;
    }
    return memory - l->memory;
}

/* Sort the samples by their subtask, those of one as they come, and cut them into shares; false if a subtask is not
   in 0..K-1. */
static bool sort(task *all) {
    const ladder *l = all->l;
    const long K = l->n_subtasks, T = l->n_threads;
    int32_t *next = all->first_of;
    memset(next, 0, (K + 1) * sizeof *next);
    for (long b = 0; b < l->n_samples; b++) {
        if (l->subtask[b] < 0 || l->subtask[b] >= K) return false;
        next[l->subtask[b] + 1]++;
    }
    for (long k = 0; k < K; k++) next[k + 1] += next[k];
    for (long b = 0; b < l->n_samples; b++) all->order[next[l->subtask[b]]++] = (int32_t)b;
    long done = 0; /* subtasks that are whole, but for what the share at hand has of them */
    for (long t = 0; t < T; t++) {
        rows_of_share *r = all->rows + t;
        const long from = part(l->n_samples, t, T), to = part(l->n_samples, t + 1, T);
        r->order = all->order + from;
        r->n_rows = to - from;
        r->n_padded = round_up(r->n_rows, 4);
        r->continues = r->n_rows > 0 && l->subtask[r->order[0]] < done;
        r->first_subtask = r->continues ? done - 1 : done;
        if (r->n_rows > 0) done = l->subtask[r->order[r->n_rows - 1]] + 1;
        if (t == T - 1) done = K;
        r->n_subtasks = done - r->first_subtask;
    }
    return true;
}

/* The bits of a sample as words. */
static void read_bits(const ladder *l, long place, uint64_t *words) {
    const long n_words = l->n_words;
    if (l->packed) {
        memcpy(words, l->packed + place * n_words, n_words * sizeof *words);
        if (l->n_bits % 64) words[n_words - 1] &= ((uint64_t)1 << l->n_bits % 64) - 1;
        return;
    }
    const uint8_t *bits = l->bits + place * l->bits_stride;
    memset(words, 0, n_words * sizeof *words);
    for (long i = 0; i < l->n_bits; i++) words[i / 64] |= (uint64_t)(bits[i] != 0) << i % 64;
}

static uint8_t read_label(const ladder *l, long place, const uint64_t *words) {
    if (!l->own) return l->label ? l->label[place] : 0;
    const uint64_t *own = l->own + l->subtask[place] * l->n_words;
    int count = 0;
    for (long w = 0; w < l->n_words; w++) count += __builtin_popcountll(words[w] & own[w]);
    return count & 1;
}

/* Bring the rows of a share together; those that fill up a group have bits 0. */
static void read_rows(const ladder *l, rows_of_share *r) {
    for (long b = 0; b < r->n_padded; b++) {
        uint64_t *words = r->words + b * l->n_words;
        if (b < r->n_rows) {
            const long place = r->order[b];
            read_bits(l, place, words);
            r->label[b] = read_label(l, place, words);
            r->subtask[b] = (int32_t)(l->subtask[place] - r->first_subtask);
        } else {
            memset(words, 0, l->n_words * sizeof *words);
            r->subtask[b] = r->subtask[b - 1];
        }
    }
}

/* Add up what the shares found of columns first..last-1 and, with the first columns, of the members. */
static void add_up(const ladder *l, const rows_of_share *rows, long first, long last) {
    const long H = l->n_columns, G = l->n_members, T = l->n_threads;
    for (long t = 0; t < T; t++)
        if (rows[t].continues)
            for (long c = first; c < last; c++) l->d_embedding[rows[t].first_subtask * H + c] += rows[t].carry[c];
    for (long c = first; c < last; c++) {
        REAL d_bias = 0, d_readout = 0;
        for (long t = 0; t < T; t++) d_bias += rows[t].d_bias[c], d_readout += rows[t].d_readout[c];
        l->d_bias[c] = d_bias;
        l->d_readout[c] = -d_readout, l->d_readout[H + c] = d_readout;
    }
    for (long g = 0; first == 0 && g < G; g++) {
        REAL d_offset = 0;
        for (long t = 0; t < T; t++) d_offset += rows[t].d_offset[g];
        l->d_offset[g] = -d_offset, l->d_offset[G + g] = d_offset;
    }
}

static void *run(void *argument) {
    const worker *w = argument;
    task *all = w->task;
    pthread_mutex_lock(&all->start);
    pthread_mutex_unlock(&all->start);
    const ladder *l = all->l;
    const long T = l->n_threads;
    if (PREPARES) {
        for (long t = w->number; t < T; t += all->n_workers) prepare(l, t, &all->shared);
        pthread_barrier_wait(&all->barrier);
    }
    for (long t = w->number; t < T; t += all->n_workers) {
        rows_of_share *rows = all->rows + t;
        read_rows(l, rows);
        memset(rows->carry, 0, l->n_columns * sizeof(REAL));
        memset(rows->d_bias, 0, l->n_columns * sizeof(REAL));
        memset(rows->d_readout, 0, l->n_columns * sizeof(REAL));
        memset(rows->d_offset, 0, l->n_members * sizeof(REAL));
        work(l, rows, all->scratches + t, &all->shared);
    }
    if (l->margins_only) return NULL;
    pthread_barrier_wait(&all->barrier);
    for (long t = w->number; t < T; t += all->n_workers) {
        collect(l, t, all->scratches, &all->shared);
        add_up(l, all->rows, part(l->n_columns, t, T), part(l->n_columns, t + 1, T));
    }
    return NULL;
}

/* Threads that are worth starting: with less to do, one is done before another has begun. Of no weight for what comes
   out, since a thread may do the work of several shares. */
static long count_workers(const ladder *l) {
    const long lookups = l->n_samples * l->n_blocks * (l->n_bits / 2 + 12), worth_a_thread = 1 << 19;
    return lookups / worth_a_thread + 1 < l->n_threads ? lookups / worth_a_thread + 1 : l->n_threads;
}

/* Bytes of memory that ladder_run needs; of the pointers, only first_block is read. */
int64_t ladder_memory(const ladder *asked) {
    ladder l = *asked;
    task all;
    l.memory = NULL;
    return lay_out_all(&l, &all);
}

/* Run all of it in l->n_threads shares, on as many threads or fewer, where that is not worth while or so many cannot
   be started; the result is the same. Returns 0 when it is done, or what is wrong. */
int ladder_run(const ladder *l) {
    enum { DONE, NO_MEMORY, NO_SUCH_SUBTASK };
    worker *workers = malloc(l->n_threads * sizeof *workers);
    if (!workers) return NO_MEMORY;
    task all = {.n_workers = count_workers(l)};
    lay_out_all(l, &all);
    if (!sort(&all)) {
        free(workers);
        return NO_SUCH_SUBTASK;
    }
    pthread_mutex_init(&all.start, NULL);
    pthread_mutex_lock(&all.start); /* nobody begins before the number of threads is known */
    for (long t = 0; t < all.n_workers; t++) {
        workers[t] = (worker){.task = &all, .number = t};
        if (t > 0 && pthread_create(&workers[t].id, NULL, run, workers + t)) all.n_workers = t;
    }
    pthread_barrier_init(&all.barrier, NULL, all.n_workers);
    pthread_mutex_unlock(&all.start);
    run(workers);
    for (long t = 1; t < all.n_workers; t++) pthread_join(workers[t].id, NULL);
    pthread_barrier_destroy(&all.barrier);
    pthread_mutex_destroy(&all.start);
    free(workers);
    return DONE;
}

int64_t ladder_block_bytes(void) { return BLOCK_BYTES; }

/* The instructions that this code is made of, as `quanta status` shows them. */
const char *ladder_compiled_for(void) {
#if defined TILES
    return "AVX-512 with tiles";
#elif defined __AVX512F__
    return "AVX-512";
#elif defined __AVX2__
    return "AVX2";
#elif defined __AVX__
    return "AVX";
#elif defined __SSE2__
    return "SSE2";
#elif defined __ARM_NEON
    return "NEON";
#else
    return "other vectors of 16 bytes";
#endif
}
