/* Vectors of REAL, as wide as the registers of the processor, and blocks of them. */

/* Bytes of a vector: those of the processor's registers. Of wider ones than it has, compilers make slow code. */
#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define VECTORS (BLOCK_BYTES / VECTOR_BYTES)
#define COLUMNS (BLOCK_BYTES / (long)sizeof(REAL))

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias)); /* anywhere */
typedef REAL half __attribute__((vector_size(32)));
typedef REAL quarter __attribute__((vector_size(16)));
typedef __typeof__((vector){0} > (vector){0}) mask;
typedef struct { vector v[VECTORS]; } block;
typedef __typeof__(_Generic((REAL)0, float: (uint32_t)0, double: (uint64_t)0)) word;

/* The value where the mask is set, else 0. */
static inline vector keep(mask m, vector value) { return (vector)(m & (mask)value); }

/* The sums of 64 bytes of values by their places in 16 bytes, in an order that is the same for every size of vector. */
static inline quarter fold(const vector values[64 / VECTOR_BYTES]) {
    half halves[2];
    memcpy(halves, values, sizeof halves);
    halves[0] += halves[1];
    quarter quarters[2];
    memcpy(quarters, halves, sizeof quarters);
    return quarters[0] + quarters[1];
}

static inline REAL sum_lanes(quarter values) {
    REAL sum = 0;
    for (unsigned long i = 0; i < sizeof values / sizeof(REAL); i++) sum += values[i];
    return sum;
}

/* A whole block goes by vectors: compilers would copy it in smaller pieces, for which loads of it have to wait. */
static inline block load(const REAL *from, long n_used) {
    block padded = {0};
    if (n_used == COLUMNS)
        for (int v = 0; v < VECTORS; v++) padded.v[v] = ((const loose *)from)[v];
    else memcpy(&padded, from, n_used * sizeof(REAL));
    return padded;
}

static inline void store(REAL *into, const block *values, long n_used) {
    if (n_used == COLUMNS)
        for (int v = 0; v < VECTORS; v++) ((loose *)into)[v] = values->v[v];
    else memcpy(into, values, n_used * sizeof(REAL));
}

/* 1 / (1 + exp(-x)), so that a loop of it becomes vectors. */
static inline REAL sigmoid(REAL x) {
    enum { MANTISSA = sizeof(REAL) == 4 ? 23 : 52, DEGREE = sizeof(REAL) == 4 ? 7 : 13 };
    const REAL most = sizeof(REAL) == 4 ? 87 : 708; /* beyond, exp would leave the range of REAL */
    const REAL ln2_high = (REAL)0x1.62e4p-1, ln2_low = (REAL)0x1.7f7d1cf79abcap-20; /* the first has few digits */
    const REAL rounding = (REAL)1.5 * ((word)1 << MANTISSA); /* of so large a number, the last place is 1 */
    REAL y = -x;
    y = y > most ? most : y < -most ? -most : y;
    /* exp(y) = 2^n exp(r); |r| < ln(2) / 2 is small enough for the power series. */
    const REAL shifted = y * (REAL)1.4426950408889634 + rounding, n = shifted - rounding;
    const REAL r = y - n * ln2_high - n * ln2_low;
    REAL power = 1;
    for (int k = DEGREE; k > 0; k--) power = power * r * (1 / (REAL)k) + 1;
    word exponent, bits;
    memcpy(&exponent, &shifted, sizeof exponent);
    memcpy(&bits, &power, sizeof bits);
    bits += exponent << MANTISSA;
    memcpy(&power, &bits, sizeof bits);
    return x == x ? 1 / (1 + power) : x;
}

/* A sum in an order that is the same for every size of vector. */
static REAL sum_rows(const REAL *values, long n_rows) {
    REAL sums[16] = {0}, sum = 0;
    long b = 0;
    for (; b + 16 <= n_rows; b += 16)
        for (long i = 0; i < 16; i++) sums[i] += values[b + i];
    for (; b < n_rows; b++) sums[b % 16] += values[b];
    for (long i = 0; i < 16; i++) sum += sums[i];
    return sum;
}
