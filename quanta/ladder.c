/* Gradients of a ladder of one-hidden-layer MLPs on binary inputs: see kernel.py for the algebra.

   B samples, K subtasks, n bits, J = ceil(n / 4) nibbles a sample, G members. The hidden units of a member
   are cut into blocks of VECTORS · LANES columns, the last one padded with zeros; a block is the unit of
   work that stays in registers and in the first cache. Compiled once for each REAL (float or double). */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

#define VECTORS 2
#define LANES (64 / (long)sizeof(REAL))
#define COLUMNS (VECTORS * LANES)
#define ROWS 512 /* samples worked on at a time, so that their activations stay in the second cache */

typedef REAL vector __attribute__((vector_size(64)));
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
    block *rows, *tables;     /* (blocks, K) and (blocks, J, 16): what is looked up and added up */
    block *d_rows, *d_tables; /* their gradients, one of each a thread */
    REAL *d_embedding, *d_weight, *d_readout; /* (K, H) (n, H) (threads, H) */
    REAL *d_offset;                           /* (threads, G) */
    REAL *margin;                             /* (B, G); written if label is NULL */
} ladder;

typedef struct {
    const ladder *l;
    pthread_mutex_t *start;
    pthread_barrier_t *barrier;
    long thread;
} worker;

/* The value where the mask is set, else 0. */
static inline vector keep(mask m, vector value) { return (vector)(m & (mask)value); }

static long n_nibbles(const ladder *l) { return (l->n_bits + 3) / 4; }

static long share(long n, long part, long parts) { return n * part / parts; }

/* rows[k] = embedding[k] + bias, and tables[j][v] = sum of the weights of the bits of nibble j that v has. */
static void prepare(const ladder *l, long q) {
    const long J = n_nibbles(l), H = l->n_columns, from = l->first_column[q], used = l->n_used[q];
    block *rows = l->rows + q * l->n_subtasks, *tables = l->tables + q * J * 16;
    for (long k = 0; k < l->n_subtasks; k++) {
        REAL *row = (REAL *)(rows + k);
        for (long c = 0; c < used; c++) row[c] = l->embedding[k * H + from + c] + l->bias[from + c];
    }
    for (long j = 0; j < J; j++) {
        block *table = tables + j * 16;
        for (int value = 1; value < 16; value++) {
            const long bit = 4 * j + __builtin_ctz(value);
            table[value] = table[value & (value - 1)];
            if (bit < l->n_bits)
                for (long c = 0; c < used; c++) ((REAL *)(table + value))[c] += l->weight[bit * H + from + c];
        }
    }
}

/* Collect what the threads found: d_embedding from the rows, d_weight from the tables. */
static void collect(const ladder *l, long q) {
    const long J = n_nibbles(l), H = l->n_columns, from = l->first_column[q], used = l->n_used[q];
    for (long k = 0; k < l->n_subtasks; k++) {
        block sum = l->d_rows[q * l->n_subtasks + k];
        for (long t = 1; t < l->n_threads; t++)
            for (int v = 0; v < VECTORS; v++) sum.v[v] += l->d_rows[(t * l->n_blocks + q) * l->n_subtasks + k].v[v];
        memcpy(l->d_embedding + k * H + from, &sum, used * sizeof(REAL));
    }
    for (long bit = 0; bit < l->n_bits; bit++) {
        block sum = {0};
        for (long t = 0; t < l->n_threads; t++) {
            const block *table = l->d_tables + ((t * l->n_blocks + q) * J + bit / 4) * 16;
            for (int value = 1; value < 16; value++)
                if (value >> bit % 4 & 1)
                    for (int v = 0; v < VECTORS; v++) sum.v[v] += table[value].v[v];
        }
        memcpy(l->d_weight + bit * H + from, &sum, used * sizeof(REAL));
    }
}

static void read_nibbles(const ladder *l, long from, long n_rows, uint8_t *nibbles) {
    const long J = n_nibbles(l);
    for (long b = 0; b < n_rows; b++) {
        const uint8_t *bits = l->bits + (from + b) * l->bits_stride;
        for (long j = 0; j < J; j++) {
            uint32_t four = 0; /* a bit in each byte, the first bit in the lowest */
            const long left = l->n_bits - 4 * j;
            for (long i = 0; i < (left < 4 ? left : 4); i++) four |= (uint32_t)bits[4 * j + i] << i;
            nibbles[b * J + j] = (uint8_t)four;
        }
    }
}

/* Hidden activations of one block for one sample; returns their part of the margin. */
static inline REAL forward(const ladder *l, long q, long subtask, const uint8_t *nibbles, block readout, block *hidden) {
    const long J = n_nibbles(l);
    const block *tables = l->tables + q * J * 16;
    block h = l->rows[q * l->n_subtasks + subtask];
    for (long j = 0; j < J; j++) {
        const block *addend = tables + j * 16 + nibbles[j];
        for (int v = 0; v < VECTORS; v++) h.v[v] += addend->v[v];
    }
    vector product = {0};
    for (int v = 0; v < VECTORS; v++) {
        h.v[v] = keep(h.v[v] > 0, h.v[v]);
        product += h.v[v] * readout.v[v];
    }
    *hidden = h;
    REAL sum = 0;
    for (int i = 0; i < LANES; i++) sum += product[i];
    return sum;
}

/* Add one sample's share to the gradients of one block. */
static inline void backward(const ladder *l, long q, long thread, long subtask, const uint8_t *nibbles,
                            block readout, block hidden, REAL delta, block *d_readout) {
    const long J = n_nibbles(l);
    const long place = thread * l->n_blocks + q;
    block *row = l->d_rows + place * l->n_subtasks + subtask, *tables = l->d_tables + place * J * 16;
    block dz;
    for (int v = 0; v < VECTORS; v++) {
        d_readout->v[v] += hidden.v[v] * delta;
        dz.v[v] = keep(hidden.v[v] > 0, readout.v[v] * delta);
        row->v[v] += dz.v[v];
    }
    for (long j = 0; j < J; j++) {
        block *sum = tables + j * 16 + nibbles[j];
        for (int v = 0; v < VECTORS; v++) sum->v[v] += dz.v[v];
    }
}

static block load(const REAL *from, long n_used) {
    block padded = {0};
    memcpy(&padded, from, n_used * sizeof(REAL));
    return padded;
}

/* All members on some rows of the batch. */
static void work(const ladder *l, long thread, long from, long n_rows, uint8_t *nibbles, block *hidden, REAL *delta) {
    const long J = n_nibbles(l), G = l->n_members;
    const int64_t *subtask = l->subtask + from;
    read_nibbles(l, from, n_rows, nibbles);
    for (long g = 0; g < G; g++) {
        const long first = l->first_block[g], last = l->first_block[g + 1];
        for (long b = 0; b < n_rows; b++) delta[b] = l->offset[g];
        for (long q = first; q < last; q++) {
            const block readout = load(l->readout + l->first_column[q], l->n_used[q]);
            for (long b = 0; b < n_rows; b++)
                delta[b] += forward(l, q, subtask[b], nibbles + b * J, readout, hidden + (q - first) * ROWS + b);
        }
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
        for (long q = first; q < last; q++) {
            const block readout = load(l->readout + l->first_column[q], l->n_used[q]);
            block d_readout = {0};
            for (long b = 0; b < n_rows; b++)
                backward(l, q, thread, subtask[b], nibbles + b * J, readout, hidden[(q - first) * ROWS + b], delta[b],
                         &d_readout);
            REAL *into = l->d_readout + thread * l->n_columns + l->first_column[q];
            for (long c = 0; c < l->n_used[q]; c++) into[c] += ((REAL *)&d_readout)[c];
        }
    }
}

static void *run(void *argument) {
    const worker *w = argument;
    const ladder *l = w->l;
    pthread_mutex_lock(w->start);
    pthread_mutex_unlock(w->start);
    const long t = w->thread, n = l->n_threads, J = n_nibbles(l), Q = l->n_blocks;
    for (long q = share(Q, t, n); q < share(Q, t + 1, n); q++) prepare(l, q);
    if (l->label) {
        memset(l->d_rows + t * Q * l->n_subtasks, 0, Q * l->n_subtasks * sizeof(block));
        memset(l->d_tables + t * Q * J * 16, 0, Q * J * 16 * sizeof(block));
        memset(l->d_readout + t * l->n_columns, 0, l->n_columns * sizeof(REAL));
        memset(l->d_offset + t * l->n_members, 0, l->n_members * sizeof(REAL));
    }
    long widest = 0;
    for (long g = 0; g < l->n_members; g++)
        if (l->first_block[g + 1] - l->first_block[g] > widest) widest = l->first_block[g + 1] - l->first_block[g];
    block *hidden = aligned_alloc(64, widest * ROWS * sizeof(block));
    uint8_t *nibbles = malloc(ROWS * J);
    REAL *delta = malloc(ROWS * sizeof(REAL));
    pthread_barrier_wait(w->barrier);
    const long end = share(l->n_samples, t + 1, n);
    for (long from = share(l->n_samples, t, n); from < end; from += ROWS)
        work(l, t, from, end - from < ROWS ? end - from : ROWS, nibbles, hidden, delta);
    free(hidden), free(nibbles), free(delta);
    pthread_barrier_wait(w->barrier);
    if (l->label)
        for (long q = share(Q, t, n); q < share(Q, t + 1, n); q++) collect(l, q);
    return NULL;
}

/* Run all of it on up to asked->n_threads threads, or as many as can be started. */
void ladder_run(const ladder *asked) {
    ladder l = *asked;
    pthread_t threads[l.n_threads];
    worker workers[l.n_threads];
    pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
    pthread_barrier_t barrier;
    pthread_mutex_lock(&start); /* nobody begins before the number of threads is known */
    for (long t = 0; t < l.n_threads; t++) {
        workers[t] = (worker){&l, &start, &barrier, t};
        if (t > 0 && pthread_create(threads + t, NULL, run, workers + t)) l.n_threads = t;
    }
    pthread_barrier_init(&barrier, NULL, l.n_threads);
    pthread_mutex_unlock(&start);
    run(workers);
    for (long t = 1; t < l.n_threads; t++) pthread_join(threads[t], NULL);
    pthread_barrier_destroy(&barrier);
}
