/* Gradients of a ladder of one-hidden-layer MLPs on binary inputs: see kernel.py for the algebra.

   B samples, K subtasks, n bits, G members, H hidden units in all. The hidden units of a member are cut into
   blocks of COLUMNS, the last one padded with zeros; a block stays in registers and in the first cache. The
   two products with the bits come from ladder_tables.h or, with -DTILES, from ladder_tiles.h; the rest is here.
   Compiled for a REAL (float or double) and for TERMS: the number of bfloat16 terms that weights and errors
   are taken to in those products; 1 is bfloat16 precision, 3 is all of float32. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

/* Bytes of a vector: those of the processor's registers. Of wider ones than it has, compilers make slow code. */
#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define BLOCK_BYTES 128
#define VECTORS (BLOCK_BYTES / VECTOR_BYTES)
#define COLUMNS (BLOCK_BYTES / (long)sizeof(REAL))
#define ROWS 512 /* samples worked on at a time, so that their activations stay in the second cache */

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL half __attribute__((vector_size(32)));
typedef REAL quarter __attribute__((vector_size(16)));
typedef __typeof__((vector){0} > (vector){0}) mask;
typedef struct { vector v[VECTORS]; } block;

typedef struct {
    int64_t n_samples, n_subtasks, n_bits, n_members, n_blocks, n_columns, n_threads, bits_stride;
    const int64_t *first_block;  /* (G + 1) */
    const int64_t *first_column; /* (blocks) of each block, in 0..H */
    const int64_t *n_used;       /* (blocks) columns of each block that are not padding */
    const int64_t *subtask;      /* (B) */
    const uint8_t *bits;         /* (B, n), rows bits_stride apart */
    const uint8_t *label;        /* (B); NULL: only margins are wanted */
    const REAL *embedding, *weight, *bias; /* (K, H) (n, H) (H) */
    const REAL *readout, *offset;          /* (H) (G) */
    block *rows;      /* (blocks, K) embedding + bias */
    char *products;   /* (blocks) the weights, as the product wants them */
    block *d_rows;    /* (threads, blocks, K) */
    char *d_products; /* (threads, blocks) their gradient, as the product makes it */
    REAL *d_embedding, *d_weight, *d_readout; /* (K, H) (n, H) (threads, H) */
    REAL *d_offset;                           /* (threads, G) */
    REAL *margin;                             /* (B, G); written if label is NULL */
} ladder;

/* The value where the mask is set, else 0. */
static inline vector keep(mask m, vector value) { return (vector)(m & (mask)value); }

/* The sum of 64 bytes of values, in an order that is the same for every size of vector. */
static inline REAL sum_lanes(const vector values[VECTORS / 2]) {
    half halves[2];
    memcpy(halves, values, sizeof halves);
    halves[0] += halves[1];
    quarter quarters[2];
    memcpy(quarters, halves, sizeof quarters);
    quarters[0] += quarters[1];
    REAL sum = 0;
    for (unsigned long i = 0; i < sizeof(quarter) / sizeof(REAL); i++) sum += quarters[0][i];
    return sum;
}

/* A float rounded to the nearest bfloat16, as a float. */
static inline float round_bf16(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
    memcpy(&value, &u, 4);
    return value;
}

/* What a product header provides:
   weight_bytes(n_bits), gradient_bytes(n_bits)    sizes of one block's products and d_products
   inputs                                          the bits of up to ROWS samples, as the product wants them
   new_inputs(n_bits, inputs *)                    whether there was memory for them; free_inputs(inputs *) in any case
   begin(), end()                                  around the work of a thread
   prepare_weights(l, q)                           fill products of block q
   read_bits(l, from, n_rows, inputs *)            fill inputs
   multiply(l, q, inputs *, n_rows, block *out)    out[b] = bits[b] @ weight
   accumulate(l, q, thread, inputs *, n_rows, block *dz)   d_products += bitsᵀ @ dz; may change dz
   collect_weights(l, q)                           d_weight of block q from every thread's d_products */
#ifdef TILES
#include "ladder_tiles.h"
#else
#include "ladder_tables.h"
#endif

typedef struct {
    const ladder *l;
    pthread_mutex_t *start;
    pthread_barrier_t *barrier;
    atomic_bool *no_memory; /* of any thread: then all do no work, but meet at the barriers */
    pthread_t id;
    long thread;
} worker;

static long share(long n, long part, long parts) { return n * part / parts; }

static void prepare(const ladder *l, long q) {
    const long from = l->first_column[q], used = l->n_used[q];
    for (long k = 0; k < l->n_subtasks; k++) {
        REAL *row = (REAL *)(l->rows + q * l->n_subtasks + k);
        for (long c = 0; c < used; c++) row[c] = l->embedding[k * l->n_columns + from + c] + l->bias[from + c];
    }
    prepare_weights(l, q);
}

static void collect(const ladder *l, long q) {
    for (long k = 0; k < l->n_subtasks; k++) {
        block sum = l->d_rows[q * l->n_subtasks + k];
        for (long t = 1; t < l->n_threads; t++)
            for (int v = 0; v < VECTORS; v++) sum.v[v] += l->d_rows[(t * l->n_blocks + q) * l->n_subtasks + k].v[v];
        memcpy(l->d_embedding + k * l->n_columns + l->first_column[q], &sum, l->n_used[q] * sizeof(REAL));
    }
    collect_weights(l, q);
}

static block load(const REAL *from, long n_used) {
    block padded = {0};
    memcpy(&padded, from, n_used * sizeof(REAL));
    return padded;
}

/* Hidden activations of a block, and their part of the margins. */
static void forward(const ladder *l, long q, const int64_t *subtask, inputs *bits, long n_rows, block *hidden,
                    REAL *margin) {
    const block readout = load(l->readout + l->first_column[q], l->n_used[q]), *rows = l->rows + q * l->n_subtasks;
    multiply(l, q, bits, n_rows, hidden);
    for (long b = 0; b < n_rows; b++) {
        vector product[VECTORS / 2] = {0};
        for (int v = 0; v < VECTORS; v++) {
            const vector h = hidden[b].v[v] + rows[subtask[b]].v[v];
            hidden[b].v[v] = keep(~(h <= 0), h); /* not h > 0, which would turn NaN into 0 */
            product[v % (VECTORS / 2)] += hidden[b].v[v] * readout.v[v];
        }
        margin[b] += sum_lanes(product);
    }
}

/* Gradients of a block; turns its hidden activations into the errors dz. */
static void backward(const ladder *l, long q, long thread, const int64_t *subtask, inputs *bits, long n_rows,
                     block *hidden, const REAL *delta) {
    const block readout = load(l->readout + l->first_column[q], l->n_used[q]);
    block *rows = l->d_rows + (thread * l->n_blocks + q) * l->n_subtasks, d_readout = {0};
    for (long b = 0; b < n_rows; b++)
        for (int v = 0; v < VECTORS; v++) {
            const vector h = hidden[b].v[v], dz = keep(h > 0, readout.v[v] * delta[b]);
            d_readout.v[v] += h * delta[b];
            rows[subtask[b]].v[v] += dz;
            hidden[b].v[v] = dz;
        }
    REAL *into = l->d_readout + thread * l->n_columns + l->first_column[q];
    for (long c = 0; c < l->n_used[q]; c++) into[c] += ((REAL *)&d_readout)[c];
    accumulate(l, q, thread, bits, n_rows, hidden);
}

/* All members on some rows of the batch. */
static void work(const ladder *l, long thread, long from, long n_rows, inputs *bits, block *hidden, REAL *delta) {
    const long G = l->n_members;
    const int64_t *subtask = l->subtask + from;
    read_bits(l, from, n_rows, bits);
    for (long g = 0; g < G; g++) {
        const long first = l->first_block[g], last = l->first_block[g + 1];
        for (long b = 0; b < n_rows; b++) delta[b] = l->offset[g];
        for (long q = first; q < last; q++) forward(l, q, subtask, bits, n_rows, hidden + (q - first) * ROWS, delta);
        if (!l->label) {
            for (long b = 0; b < n_rows; b++) l->margin[(from + b) * G + g] = delta[b];
            continue;
        }
        REAL total = 0;
        for (long b = 0; b < n_rows; b++) {
            delta[b] = (1 / (1 + exp(-delta[b])) - l->label[from + b]) / l->n_samples;
            total += delta[b];
        }
        l->d_offset[thread * G + g] += total;
        for (long q = first; q < last; q++)
            backward(l, q, thread, subtask, bits, n_rows, hidden + (q - first) * ROWS, delta);
    }
}

static void *run(void *argument) {
    const worker *w = argument;
    pthread_mutex_lock(w->start);
    pthread_mutex_unlock(w->start);
    const ladder *l = w->l;
    const long t = w->thread, n = l->n_threads, Q = l->n_blocks;
    for (long q = share(Q, t, n); q < share(Q, t + 1, n); q++) prepare(l, q);
    if (l->label) {
        const long bytes = gradient_bytes(l->n_bits) * Q;
        memset(l->d_rows + t * Q * l->n_subtasks, 0, Q * l->n_subtasks * sizeof(block));
        memset(l->d_products + t * bytes, 0, bytes);
    }
    long widest = 0;
    for (long g = 0; g < l->n_members; g++)
        if (l->first_block[g + 1] - l->first_block[g] > widest) widest = l->first_block[g + 1] - l->first_block[g];
    block *hidden = aligned_alloc(64, widest * ROWS * sizeof(block));
    inputs bits;
    REAL *delta = malloc(ROWS * sizeof(REAL));
    if (!new_inputs(l->n_bits, &bits) || !hidden || !delta) *w->no_memory = true;
    pthread_barrier_wait(w->barrier);
    if (!*w->no_memory) {
        begin();
        const long end_row = share(l->n_samples, t + 1, n);
        for (long from = share(l->n_samples, t, n); from < end_row; from += ROWS)
            work(l, t, from, end_row - from < ROWS ? end_row - from : ROWS, &bits, hidden, delta);
        end();
    }
    free(hidden), free_inputs(&bits), free(delta);
    pthread_barrier_wait(w->barrier);
    if (l->label && !*w->no_memory)
        for (long q = share(Q, t, n); q < share(Q, t + 1, n); q++) collect(l, q);
    return NULL;
}

/* Run all of it on up to asked->n_threads threads, or as many as can be started; false for lack of memory. */
bool ladder_run(const ladder *asked) {
    ladder l = *asked;
    worker *workers = malloc(l.n_threads * sizeof *workers);
    if (!workers) return false;
    pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
    pthread_barrier_t barrier;
    atomic_bool no_memory = false;
    pthread_mutex_lock(&start); /* nobody begins before the number of threads is known */
    for (long t = 0; t < l.n_threads; t++) {
        workers[t] = (worker){.l = &l, .start = &start, .barrier = &barrier, .no_memory = &no_memory, .thread = t};
        if (t > 0 && pthread_create(&workers[t].id, NULL, run, workers + t)) l.n_threads = t;
    }
    pthread_barrier_init(&barrier, NULL, l.n_threads);
    pthread_mutex_unlock(&start);
    run(workers);
    for (long t = 1; t < l.n_threads; t++) pthread_join(workers[t].id, NULL);
    pthread_barrier_destroy(&barrier);
    free(workers);
    return !no_memory;
}

/* Bytes of one block's products and d_products. */
int64_t ladder_weight_bytes(int64_t n_bits) { return weight_bytes(n_bits); }
int64_t ladder_gradient_bytes(int64_t n_bits) { return gradient_bytes(n_bits); }

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
