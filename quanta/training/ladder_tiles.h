/* Products with bits on a processor with bfloat16 matrix tiles (Intel AMX).

   A bit is exact in bfloat16 and a float is the exact sum of three bfloat16 terms, so TERMS = 3 products of
   bfloat16, summed in float32, are the product in float32. A tile is 16 rows of 64 bytes: floats (16, 16), the
   left factor (16, 32), or the right factor (32, 16) with its rows in pairs; a vector is a row, since processors
   with tiles have vectors of 64 bytes. */

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PREPARES true
#define ROWS 512           /* worked on at a time, so that their activations stay in the second cache */
#define STRIDE (ROWS + 32) /* of transposed bits; not a power of two, so that rows do not share a cache set */

typedef uint16_t bf16;
typedef struct { char *weights; } shared; /* (blocks) as the product wants them */
typedef struct {
    bf16 *rows;      /* (ROWS, n) */
    bf16 *columns;   /* (n, STRIDE) */
    bf16 *errors;    /* (TERMS, VECTORS, ROWS / 2, 16, 2) */
    block *hidden;   /* (blocks of the widest member, ROWS) activations, then errors */
    REAL *delta;     /* (ROWS) */
    char *d_weights; /* (blocks) as the product makes them */
} scratch;

static long padded(long n_bits) { return (n_bits + 31) / 32 * 32; }
static long weight_bytes(long n_bits) { return TERMS * VECTORS * padded(n_bits) * 16 * sizeof(bf16); }
static long gradient_bytes(long n_bits) { return VECTORS * padded(n_bits) * 16 * sizeof(float); }

static void share_out(const ladder *l, char **memory, shared *all) {
    all->weights = take(memory, l->n_blocks * weight_bytes(l->n_bits));
}

static void lay_out(const ladder *l, long number, long most_rows, char **memory, scratch *s) {
    (void)number, (void)most_rows;
    const long n = padded(l->n_bits);
    s->rows = take(memory, ROWS * n * sizeof(bf16));
    s->columns = take(memory, n * STRIDE * sizeof(bf16));
    s->errors = take(memory, TERMS * VECTORS * ROWS * 16 * sizeof(bf16));
    s->hidden = take(memory, widest_member(l) * ROWS * sizeof(block));
    s->delta = take(memory, ROWS * sizeof(REAL));
    s->d_weights = l->margins_only ? NULL : take(memory, l->n_blocks * gradient_bytes(l->n_bits));
}

static void begin(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) config.row_bytes[tile] = 64, config.rows[tile] = 16;
    _tile_loadconfig(&config);
}

static void end(void) { _tile_release(); }

/* Whether the system lets this process use tiles. */
int ladder_has_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* A float rounded to the nearest bfloat16, as a float. */
static inline float round_bf16(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
    memcpy(&value, &u, 4);
    return value;
}

static bf16 upper_half(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    return (bf16)(u >> 16);
}

static bf16 *weights_of(const ladder *l, long q, const shared *all) {
    return (bf16 *)(all->weights + q * weight_bytes(l->n_bits));
}

static float *gradient_of(const ladder *l, long q, const scratch *s) {
    return (float *)(s->d_weights + q * gradient_bytes(l->n_bits));
}

static void prepare_weights(const ladder *l, long q, const shared *all) {
    const long n = padded(l->n_bits), from = l->first_column[q];
    bf16 *weights = weights_of(l, q, all); /* (TERMS, VECTORS, n / 2, 16, 2) */
    memset(weights, 0, weight_bytes(l->n_bits));
    for (long bit = 0; bit < l->n_bits; bit++)
        for (long c = 0; c < l->n_used[q]; c++) {
            float rest = l->weight[bit * l->n_columns + from + c];
            for (int term = 0; term < TERMS; term++) {
                const float value = round_bf16(rest);
                const long place = ((term * VECTORS + c / 16) * n / 2 + bit / 2) * 16 + c % 16;
                weights[place * 2 + bit % 2] = upper_half(value);
                rest -= value;
            }
        }
}

static void prepare(const ladder *l, long number, shared *all) {
    const long T = l->n_threads;
    for (long q = part(l->n_blocks, number, T); q < part(l->n_blocks, number + 1, T); q++) prepare_weights(l, q, all);
}

static void spread_bits(const ladder *l, const uint64_t *words, long n_rows, scratch *s) {
    const long n = padded(l->n_bits);
    const bf16 one = 0x3f80;
    for (long b = 0; b < n_rows; b++, words += l->n_words)
        for (long i = 0; i < l->n_bits; i++) s->rows[b * n + i] = words[i / 64] >> i % 64 & 1 ? one : 0;
    for (long i = 0; i < l->n_bits; i++)
        for (long b = 0; b < n_rows; b++) s->columns[i * STRIDE + b] = s->rows[b * n + i];
}

/* out[b] = bits[b] @ weight */
static void multiply(const ladder *l, const bf16 *weights, const scratch *s, long n_rows, block *out) {
    const long n = padded(l->n_bits);
    for (long b = 0; b < n_rows; b += 32) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long i = 0; i < n; i += 32) {
            _tile_loadd(4, s->rows + b * n + i, n * sizeof(bf16));
            _tile_loadd(5, s->rows + (b + 16) * n + i, n * sizeof(bf16));
            for (int term = 0; term < TERMS; term++) {
                _tile_loadd(6, weights + (term * VECTORS + 0) * n * 16 + i * 16, 64);
                _tile_loadd(7, weights + (term * VECTORS + 1) * n * 16 + i * 16, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
        _tile_stored(0, out[b].v + 0, sizeof(block));
        _tile_stored(1, out[b].v + 1, sizeof(block));
        _tile_stored(2, out[b + 16].v + 0, sizeof(block));
        _tile_stored(3, out[b + 16].v + 1, sizeof(block));
    }
}

/* The next bfloat16 term of the errors of two samples, lane by lane in pairs; what it leaves stays. */
static inline __m512i take_term(vector *even, vector *odd) {
    const __m512i in_turn = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                             21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i after_each_other = (__m512i)_mm512_cvtne2ps_pbh((__m512)*odd, (__m512)*even);
    const __m512i pairs = _mm512_permutexvar_epi16(in_turn, after_each_other);
    *even -= (vector)_mm512_slli_epi32(pairs, 16);
    *odd -= (vector)_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000));
    return pairs;
}

/* d_weights += bitsᵀ @ dz; changes dz. */
static void accumulate(const ladder *l, long q, const scratch *s, long n_rows, block *dz) {
    const long n = padded(l->n_bits), n_padded = (n_rows + 31) / 32 * 32;
    memset(dz + n_rows, 0, (n_padded - n_rows) * sizeof(block));
    for (long b = 0; b < n_padded; b += 2)
        for (int v = 0; v < VECTORS; v++) {
            vector even = dz[b].v[v], odd = dz[b + 1].v[v];
            for (int term = 0; term < TERMS; term++)
                _mm512_store_si512(s->errors + (term * VECTORS + v) * ROWS * 16 + b * 16, take_term(&even, &odd));
        }
    float *gradient = gradient_of(l, q, s); /* (VECTORS, n, 16) */
    for (long i = 0; i < n; i += 32) {
        float *into[2] = {gradient + i * 16, gradient + (n + i) * 16};
        _tile_loadd(0, into[0], 64);
        _tile_loadd(1, into[1], 64);
        _tile_loadd(2, into[0] + 256, 64);
        _tile_loadd(3, into[1] + 256, 64);
        for (long b = 0; b < n_padded; b += 32) {
            _tile_loadd(4, s->columns + i * STRIDE + b, STRIDE * sizeof(bf16));
            _tile_loadd(5, s->columns + (i + 16) * STRIDE + b, STRIDE * sizeof(bf16));
            for (int term = 0; term < TERMS; term++) {
                _tile_loadd(6, s->errors + (term * VECTORS + 0) * ROWS * 16 + b * 16, 64);
                _tile_loadd(7, s->errors + (term * VECTORS + 1) * ROWS * 16 + b * 16, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
        _tile_stored(0, into[0], 64);
        _tile_stored(1, into[1], 64);
        _tile_stored(2, into[0] + 256, 64);
        _tile_stored(3, into[1] + 256, 64);
    }
}

/* Hidden activations of a block, and their part of the margins. Rows are in the order of their subtasks. */
static void forward(const ladder *l, long q, const rows_of_share *r, long from, long n_rows, const shared *all,
                    const scratch *s, block *hidden) {
    const block readout = load_readout(l, q), bias = load(l->bias + l->first_column[q], l->n_used[q]);
    block row = {0};
    long of = -1;
    multiply(l, weights_of(l, q, all), s, n_rows, hidden);
    for (long b = 0; b < n_rows; b++) {
        if (r->subtask[from + b] != of) {
            of = r->subtask[from + b];
            row = load_row(l, q, r->first_subtask + of, &bias, l->n_used[q]);
        }
        vector product[VECTORS / 2] = {0};
        for (int v = 0; v < VECTORS; v++) {
            const vector h = hidden[b].v[v] + row.v[v];
            hidden[b].v[v] = keep(~(h <= 0), h); /* not h > 0, which would turn NaN into 0 */
            product[v % (VECTORS / 2)] += hidden[b].v[v] * readout.v[v];
        }
        s->delta[b] += sum_lanes(fold(product));
    }
}

/* Add to the gradient of a row of the embedding, and of the bias. */
static void add_row(const ladder *l, long q, const rows_of_share *r, long k, const block *sum) {
    const long from = l->first_column[q];
    REAL *into = d_row_of(l, r, k) + from;
    for (long c = 0; c < l->n_used[q]; c++) {
        into[c] += ((const REAL *)sum)[c];
        r->d_bias[from + c] += ((const REAL *)sum)[c];
    }
}

/* Gradients of a block; turns its hidden activations into the errors dz. */
static void backward(const ladder *l, long q, const rows_of_share *r, long from, long n_rows, const scratch *s,
                     block *hidden) {
    const block readout = load_readout(l, q);
    block d_row = {0}, d_readout = {0};
    for (long b = 0; b < n_rows; b++) {
        for (int v = 0; v < VECTORS; v++) {
            const vector h = hidden[b].v[v], dz = keep(~(h <= 0), readout.v[v] * s->delta[b]);
            d_readout.v[v] += h * s->delta[b];
            d_row.v[v] += dz;
            hidden[b].v[v] = dz;
        }
        if (b + 1 == n_rows || r->subtask[from + b + 1] != r->subtask[from + b]) {
            add_row(l, q, r, r->subtask[from + b], &d_row);
            d_row = (block){0};
        }
    }
    REAL *into = r->d_readout + l->first_column[q];
    for (long c = 0; c < l->n_used[q]; c++) into[c] += ((REAL *)&d_readout)[c];
    accumulate(l, q, s, n_rows, hidden);
}

/* All members on some rows of a share. */
static void work_on(const ladder *l, rows_of_share *r, long from, long n_rows, const shared *all, scratch *s) {
    const long G = l->n_members;
    spread_bits(l, r->words + from * l->n_words, n_rows, s);
    for (long g = 0; g < G; g++) {
        const long first = l->first_block[g], last = l->first_block[g + 1];
        for (long b = 0; b < n_rows; b++) s->delta[b] = offset_of(l, g);
        for (long q = first; q < last; q++) forward(l, q, r, from, n_rows, all, s, s->hidden + (q - first) * ROWS);
        if (l->margins_only) {
            for (long b = 0; b < n_rows; b++) l->margin[r->order[from + b] * G + g] = s->delta[b];
            continue;
        }
        find_errors(l, n_rows, r->label + from, s->delta);
        r->d_offset[g] += sum_rows(s->delta, n_rows);
        for (long q = first; q < last; q++) backward(l, q, r, from, n_rows, s, s->hidden + (q - first) * ROWS);
    }
}

static void work(const ladder *l, rows_of_share *r, scratch *s, shared *all) {
    const long n = padded(l->n_bits), H = l->n_columns;
    memset(s->rows, 0, ROWS * n * sizeof(bf16));
    memset(s->columns, 0, n * STRIDE * sizeof(bf16));
    if (!l->margins_only) {
        memset(s->d_weights, 0, l->n_blocks * gradient_bytes(l->n_bits));
        for (long k = 0; k < r->n_subtasks; k++) memset(d_row_of(l, r, k), 0, H * sizeof(REAL));
    }
    begin();
    for (long from = 0; from < r->n_rows; from += ROWS)
        work_on(l, r, from, r->n_rows - from < ROWS ? r->n_rows - from : ROWS, all, s);
    end();
}

static void collect_weights(const ladder *l, long q, const scratch *of) {
    const long n = padded(l->n_bits), from = l->first_column[q];
    for (long bit = 0; bit < l->n_bits; bit++)
        for (long c = 0; c < l->n_used[q]; c++) {
            float sum = 0;
            for (long t = 0; t < l->n_threads; t++) sum += gradient_of(l, q, of + t)[(c / 16 * n + bit) * 16 + c % 16];
            l->d_weight[bit * l->n_columns + from + c] = sum;
        }
}

static void collect(const ladder *l, long number, scratch *of, shared *unused) {
    (void)unused;
    const long T = l->n_threads;
    for (long q = part(l->n_blocks, number, T); q < part(l->n_blocks, number + 1, T); q++) collect_weights(l, q, of);
}
