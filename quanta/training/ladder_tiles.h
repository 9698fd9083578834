/* Products with bits on a processor with bfloat16 matrix tiles (Intel AMX).

   A bit is exact in bfloat16 and a float is the exact sum of three bfloat16 terms, so TERMS = 3 products of
   bfloat16, summed in float32, are the product in float32. A tile is 16 rows of 64 bytes: floats (16, 16), the
   left factor (16, 32), or the right factor (32, 16) with its rows in pairs; a vector is a row, since processors
   with tiles have vectors of 64 bytes. */

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STRIDE (ROWS + 32) /* of transposed bits; not a power of two, so that rows do not share a cache set */

typedef uint16_t bf16;
typedef struct {
    bf16 *rows;    /* (ROWS, n) */
    bf16 *columns; /* (n, STRIDE) */
    bf16 *errors;  /* (TERMS, VECTORS, ROWS / 2, 16, 2) */
} inputs;

static long padded(long n_bits) { return (n_bits + 31) / 32 * 32; }
static long weight_bytes(long n_bits) { return TERMS * VECTORS * padded(n_bits) * 16 * sizeof(bf16); }
static long gradient_bytes(long n_bits) { return VECTORS * padded(n_bits) * 16 * sizeof(float); }

static bool new_inputs(long n_bits, inputs *bits) {
    const long n = padded(n_bits);
    bits->rows = aligned_alloc(64, ROWS * n * sizeof(bf16));
    bits->columns = aligned_alloc(64, n * STRIDE * sizeof(bf16));
    bits->errors = aligned_alloc(64, TERMS * VECTORS * ROWS * 16 * sizeof(bf16));
    if (!bits->rows || !bits->columns || !bits->errors) return false;
    memset(bits->rows, 0, ROWS * n * sizeof(bf16));
    memset(bits->columns, 0, n * STRIDE * sizeof(bf16));
    return true;
}

static void free_inputs(inputs *bits) { free(bits->rows), free(bits->columns), free(bits->errors); }

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

static bf16 upper_half(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    return (bf16)(u >> 16);
}

static bf16 *weights_of(const ladder *l, long q) { return (bf16 *)(l->products + q * weight_bytes(l->n_bits)); }

static float *gradient_of(const ladder *l, long thread, long q) {
    return (float *)(l->d_products + (thread * l->n_blocks + q) * gradient_bytes(l->n_bits));
}

static void prepare_weights(const ladder *l, long q) {
    const long n = padded(l->n_bits), from = l->first_column[q];
    bf16 *weights = weights_of(l, q); /* (TERMS, VECTORS, n / 2, 16, 2) */
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

static void read_bits(const ladder *l, long from, long n_rows, inputs *into) {
    const long n = padded(l->n_bits);
    const bf16 one = 0x3f80;
    for (long b = 0; b < n_rows; b++) {
        const uint8_t *bits = l->bits + (from + b) * l->bits_stride;
        for (long i = 0; i < l->n_bits; i++) into->rows[b * n + i] = bits[i] ? one : 0;
    }
    for (long i = 0; i < l->n_bits; i++)
        for (long b = 0; b < n_rows; b++) into->columns[i * STRIDE + b] = into->rows[b * n + i];
}

static void multiply(const ladder *l, long q, inputs *bits, long n_rows, block *out) {
    const long n = padded(l->n_bits);
    const bf16 *weights = weights_of(l, q);
    for (long b = 0; b < n_rows; b += 32) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long i = 0; i < n; i += 32) {
            _tile_loadd(4, bits->rows + b * n + i, n * sizeof(bf16));
            _tile_loadd(5, bits->rows + (b + 16) * n + i, n * sizeof(bf16));
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

static void accumulate(const ladder *l, long q, long thread, inputs *bits, long n_rows, block *dz) {
    const long n = padded(l->n_bits), n_padded = (n_rows + 31) / 32 * 32;
    memset(dz + n_rows, 0, (n_padded - n_rows) * sizeof(block));
    for (long b = 0; b < n_padded; b += 2)
        for (int v = 0; v < VECTORS; v++) {
            vector even = dz[b].v[v], odd = dz[b + 1].v[v];
            for (int term = 0; term < TERMS; term++)
                _mm512_store_si512(bits->errors + (term * VECTORS + v) * ROWS * 16 + b * 16, take_term(&even, &odd));
        }
    float *gradient = gradient_of(l, thread, q); /* (VECTORS, n, 16) */
    for (long i = 0; i < n; i += 32) {
        float *into[2] = {gradient + i * 16, gradient + (n + i) * 16};
        _tile_loadd(0, into[0], 64);
        _tile_loadd(1, into[1], 64);
        _tile_loadd(2, into[0] + 256, 64);
        _tile_loadd(3, into[1] + 256, 64);
        for (long b = 0; b < n_padded; b += 32) {
            _tile_loadd(4, bits->columns + i * STRIDE + b, STRIDE * sizeof(bf16));
            _tile_loadd(5, bits->columns + (i + 16) * STRIDE + b, STRIDE * sizeof(bf16));
            for (int term = 0; term < TERMS; term++) {
                _tile_loadd(6, bits->errors + (term * VECTORS + 0) * ROWS * 16 + b * 16, 64);
                _tile_loadd(7, bits->errors + (term * VECTORS + 1) * ROWS * 16 + b * 16, 64);
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

static void collect_weights(const ladder *l, long q) {
    const long n = padded(l->n_bits), from = l->first_column[q];
    for (long bit = 0; bit < l->n_bits; bit++)
        for (long c = 0; c < l->n_used[q]; c++) {
            float sum = 0;
            for (long t = 0; t < l->n_threads; t++) sum += gradient_of(l, t, q)[(c / 16 * n + bit) * 16 + c % 16];
            l->d_weight[bit * l->n_columns + from + c] = sum;
        }
}
