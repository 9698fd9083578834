/* Products with bits by lookup, on any processor. See kernel.py for the algebra; here,

   a table has the sixteen sums of the weights of each four bits of a sample,
   sums have the sixteen sums of the errors of each four samples of a group,

   and a nibble of the bits, of one sample or of one bit in four samples, is the place in either. Errors are delta
   where the unit is active: the readout, which they all share, is multiplied into the sums at the end. */

#define PREPARES false
#define GROUPS 16                           /* of samples, whose sums stay in the first cache */
#define SIGNS (8 * (long)sizeof(REAL))      /* rows whose activity is in one block of bits */
#define ROWS_AT_ONCE (4 / VECTORS)          /* with two sums each: eight additions under way at a time */
#define BITS_AT_ONCE (8 / VECTORS)          /* the same */
#define HOT __attribute__((noinline)) static /* has the registers to itself */
#define INLINE __attribute__((always_inline)) static inline

#if BITS_AT_ONCE == 8
typedef uint32_t nibbles;
#elif BITS_AT_ONCE == 4
typedef uint16_t nibbles;
#else
typedef uint8_t nibbles;
#endif

typedef word signs __attribute__((vector_size(VECTOR_BYTES)));
typedef struct { signs v[VECTORS]; } flags;

typedef struct { char unused; } shared;
typedef struct {
    block *table;      /* (ceil(n / 4), 16) of the block at hand, as all that follow but `active` */
    block *rows;       /* (K) embedding + bias */
    block *d_rows;     /* (K) */
    block *sums;       /* (GROUPS, 16) */
    block *d_bits;     /* (n, to whole BITS_AT_ONCE) gradients of the weights */
    flags *inactive;  /* (blocks of the widest member, rows / SIGNS) a bit a row, the first row's highest */
    quarter *margin;   /* (rows) the members' so far, not yet summed over lanes */
    REAL *delta;       /* (rows) */
    int32_t *group;    /* (rows / 4) the subtask of a group, -1 if it has several */
    uint64_t *by_bit;  /* (rows / 4, ceil(n / 16)) the nibble of each bit in four rows */
    REAL *d_weight;    /* (n, H) what the share found, unless it is the first, whose is the gradient itself */
} scratch;

static long n_tables(const ladder *l) { return (l->n_bits + 3) / 4; }
static long n_by_bit(const ladder *l) { return (l->n_bits + 15) / 16; }
static long n_signs(long n_rows) { return (n_rows + SIGNS - 1) / SIGNS; }

static void share_out(const ladder *l, char **memory, shared *s) { (void)l, (void)memory, (void)s; }
static void prepare(const ladder *l, long number, shared *s) { (void)l, (void)number, (void)s; }

static void lay_out(const ladder *l, long number, long most_rows, char **memory, scratch *s) {
    const long K = l->n_subtasks;
    s->table = take(memory, n_tables(l) * 16 * sizeof(block));
    s->rows = take(memory, K * sizeof(block));
    s->margin = take(memory, most_rows * sizeof(quarter));
    s->inactive = take(memory, widest_member(l) * n_signs(most_rows) * sizeof(flags));
    if (l->margins_only) return;
    s->d_rows = take(memory, K * sizeof(block));
    s->sums = take(memory, GROUPS * 16 * sizeof(block));
    s->d_bits = take(memory, round_up(l->n_bits, BITS_AT_ONCE) * sizeof(block));
    s->delta = take(memory, most_rows * sizeof(REAL));
    s->group = take(memory, most_rows / 4 * sizeof(int32_t));
    s->by_bit = take(memory, most_rows / 4 * n_by_bit(l) * sizeof(uint64_t));
    s->d_weight = number == 0 ? l->d_weight : take(memory, l->n_bits * l->n_columns * sizeof(REAL));
}

/* Each of 16 bits as the lowest of a nibble. */
static uint64_t spread(uint64_t bits) {
    bits = (bits | bits << 24) & 0x000000ff000000ff;
    bits = (bits | bits << 12) & 0x000f000f000f000f;
    bits = (bits | bits << 6) & 0x0303030303030303;
    return (bits | bits << 3) & 0x1111111111111111;
}

static void group_rows(const ladder *l, const rows_of_share *r, scratch *s) {
    uint64_t *by_bit = s->by_bit;
    for (long b = 0; b < r->n_padded; b += 4) {
        const int32_t *k = r->subtask + b;
        s->group[b / 4] = k[0] == k[3] ? k[0] : -1;
        for (long j = 0; j < n_by_bit(l); j++, by_bit++) {
            *by_bit = 0;
            for (long i = 0; i < 4; i++) {
                const uint64_t bits = r->words[(b + i) * l->n_words + j / 4] >> 16 * (j % 4) & 0xffff;
                *by_bit |= spread(bits) << i;
            }
        }
    }
}

/* table[j][v] = sum of the weights of those bits of nibble j that the value v has; and rows. */
INLINE void fill_with(const ladder *l, long q, const rows_of_share *r, const scratch *s, long n_used) {
    const REAL *weight = l->weight + l->first_column[q];
    for (long bit = 0; bit < 4 * n_tables(l); bit++) {
        const block w = bit < l->n_bits ? load(weight + bit * l->n_columns, n_used) : (block){0};
        block *sums = s->table + bit / 4 * 16;
        const long n = 1 << bit % 4;
        if (n == 1) sums[0] = (block){0};
        for (long value = 0; value < n; value++)
            for (int v = 0; v < VECTORS; v++) sums[n + value].v[v] = sums[value].v[v] + w.v[v];
    }
    const block bias = load(l->bias + l->first_column[q], n_used);
    for (long k = 0; k < r->n_subtasks; k++) {
        const block row = load_row(l, q, r->first_subtask + k, &bias, n_used);
        for (int v = 0; v < VECTORS; v++) s->rows[k].v[v] = row.v[v];
    }
}

/* sum += the block of sixteen that begin at `table` that a nibble names, which is in bits 4 to 7. */
INLINE void look_up(const int n_vectors, vector *sum, const char *table, uint64_t nibble) {
    const block *found = (const block *)(table + (nibble & 0xf0) * (sizeof(block) / 16));
    for (int v = 0; v < n_vectors; v++) sum[v] += found->v[v];
}

/* Activity of a block, and its part of the margins. Only the first vectors of a block may be in use. */
INLINE void forward_with(const int n_vectors, const ladder *l, const rows_of_share *r, const scratch *s,
                         const block *readout, flags *inactive) {
    const long fours = l->n_bits / 16, tables = n_tables(l), stride = l->n_words * sizeof(uint64_t);
    const block weight = *readout;
    flags off = {0};
    for (long b = 0; b < r->n_padded; b += ROWS_AT_ONCE) {
        if (b % SIGNS == 0) off = (flags){0};
        const char *table = (const char *)s->table, *row = (const char *)r->words + b * stride;
        vector sums[ROWS_AT_ONCE][2][VECTORS];
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            for (int v = 0; v < VECTORS; v++) {
                sums[i][0][v] = s->rows[r->subtask[b + i]].v[v];
                sums[i][1][v] = (vector){0};
            }
#pragma GCC unroll 2
        for (long j = 0; j < fours; j++, table += 64 * sizeof(block), row += 2)
            for (int i = 0; i < ROWS_AT_ONCE; i++) {
                uint16_t four;
                memcpy(&four, row + i * stride, sizeof four);
                look_up(n_vectors, sums[i][0], table, (uint64_t)four << 4);
                look_up(n_vectors, sums[i][1], table + 16 * sizeof(block), four);
                look_up(n_vectors, sums[i][0], table + 32 * sizeof(block), four >> 4);
                look_up(n_vectors, sums[i][1], table + 48 * sizeof(block), four >> 8);
            }
        for (long j = 4 * fours, shift = 0; j < tables; j++, shift += 4, table += 16 * sizeof(block))
            for (int i = 0; i < ROWS_AT_ONCE; i++) {
                uint16_t four;
                memcpy(&four, row + i * stride, sizeof four);
                look_up(n_vectors, sums[i][0], table, (uint64_t)four << 4 >> shift);
            }
        for (int i = 0; i < ROWS_AT_ONCE; i++) {
            vector products[VECTORS] = {0};
            for (int v = 0; v < n_vectors; v++) {
                const vector z = sums[i][0][v] + sums[i][1][v];
                const mask is_off = z <= 0; /* and not what is not above 0, which would turn NaN into 0 */
                products[v] = keep(~is_off, z) * weight.v[v];
                off.v[v] += off.v[v] - (signs)is_off;
            }
            s->margin[b + i] += fold(products);
        }
        if ((b + ROWS_AT_ONCE) % SIGNS == 0 || b + ROWS_AT_ONCE == r->n_padded) {
            const long n_left = SIGNS - (b + ROWS_AT_ONCE - 1) % SIGNS - 1;
            for (int v = 0; v < VECTORS; v++) off.v[v] <<= n_left;
            *inactive++ = off;
        }
    }
}

/* The sums of errors of some groups, from `bits` of their rows' activity; the whole sums go to d_rows too. */
INLINE void sum_with(const int n_vectors, const rows_of_share *r, const scratch *s, long first_group, long n_groups,
                     const flags *inactive) {
    for (long g = 0; g < n_groups; g++) {
        const long b = 4 * (first_group + g);
        const REAL *delta = s->delta + b;
        const int32_t *subtask = r->subtask + b, k = s->group[b / 4];
        for (int v = 0; v < n_vectors; v++) {
            const signs off = inactive[4 * g / SIGNS].v[v] << 4 * g % SIGNS;
            vector sums[16];
            for (int i = 0; i < 4; i++)
                sums[1 << i] = keep((mask)(off << i) >= 0, delta[i] - (vector){0});
            for (int subset = 1; subset < 16; subset++) {
                const int rest = subset & (subset - 1);
                if (rest) sums[subset] = sums[rest] + sums[subset ^ rest];
                s->sums[16 * g + subset].v[v] = sums[subset];
            }
            if (k >= 0) s->d_rows[k].v[v] += sums[15];
            else for (int i = 0; i < 4; i++) s->d_rows[subtask[i]].v[v] += sums[1 << i];
        }
    }
}

/* d_bits += of each group the sum over the rows that have the bit. */
INLINE void gather_with(const int n_vectors, const ladder *l, const scratch *s, long first_group, long n_groups) {
    const long stride = n_by_bit(l) * sizeof(uint64_t);
    const char *row = (const char *)(s->by_bit + first_group * n_by_bit(l));
    for (long bit = 0; bit < l->n_bits; bit += BITS_AT_ONCE, row += sizeof(nibbles)) {
        block *into = s->d_bits + bit;
        vector sums[BITS_AT_ONCE][VECTORS];
        for (int i = 0; i < BITS_AT_ONCE; i++)
            for (int v = 0; v < n_vectors; v++) sums[i][v] = into[i].v[v];
        const char *table = (const char *)s->sums, *at = row;
        for (long g = 0; g < n_groups; g++, table += 16 * sizeof(block), at += stride) {
            nibbles here;
            memcpy(&here, at, sizeof here);
            for (int i = 0; i < BITS_AT_ONCE; i++) look_up(n_vectors, sums[i], table, (uint64_t)here << 4 >> 4 * i);
        }
        for (int i = 0; i < BITS_AT_ONCE; i++)
            for (int v = 0; v < n_vectors; v++) into[i].v[v] = sums[i][v];
    }
}

/* Of the gradients of a block, those of a share; by Euler's theorem that of the readout too. */
INLINE void finish_with(const ladder *l, long q, const rows_of_share *r, const scratch *s, long n_used) {
    const long H = l->n_columns, from = l->first_column[q];
    const block readout = load_readout(l, q), bias = load(l->bias + from, n_used);
    block d_readout = {0}, d_bias = {0};
    for (long k = 0; k < r->n_subtasks; k++) {
        const block row = load_row(l, q, r->first_subtask + k, &bias, n_used);
        block d_row;
        for (int v = 0; v < VECTORS; v++) {
            d_readout.v[v] += row.v[v] * s->d_rows[k].v[v];
            d_row.v[v] = readout.v[v] * s->d_rows[k].v[v];
            d_bias.v[v] += d_row.v[v];
        }
        store(d_row_of(l, r, k) + from, &d_row, n_used);
    }
    for (long bit = 0; bit < l->n_bits; bit++) {
        const block weight = load(l->weight + bit * H + from, n_used);
        block d_weight;
        for (int v = 0; v < VECTORS; v++) {
            d_readout.v[v] += weight.v[v] * s->d_bits[bit].v[v];
            d_weight.v[v] = readout.v[v] * s->d_bits[bit].v[v];
        }
        store(s->d_weight + bit * H + from, &d_weight, n_used);
    }
    store(r->d_bias + from, &d_bias, n_used);
    store(r->d_readout + from, &d_readout, n_used);
}

HOT void fill_whole(const ladder *l, long q, const rows_of_share *r, const scratch *s) { fill_with(l, q, r, s, COLUMNS); }
HOT void fill_part(const ladder *l, long q, const rows_of_share *r, const scratch *s) {
    fill_with(l, q, r, s, l->n_used[q]);
}
HOT void finish_whole(const ladder *l, long q, const rows_of_share *r, const scratch *s) {
    finish_with(l, q, r, s, COLUMNS);
}
HOT void finish_part(const ladder *l, long q, const rows_of_share *r, const scratch *s) {
    finish_with(l, q, r, s, l->n_used[q]);
}

#define WITH_VECTORS(name, n)                                                                                          \
    HOT void forward_##name(const ladder *l, const rows_of_share *r, const scratch *s, const block *readout,           \
                            flags *inactive) { forward_with(n, l, r, s, readout, inactive); }                           \
    HOT void sum_##name(const rows_of_share *r, const scratch *s, long first_group, long n_groups,                     \
                        const flags *inactive) { sum_with(n, r, s, first_group, n_groups, inactive); }                  \
    HOT void gather_##name(const ladder *l, const scratch *s, long first_group, long n_groups) {                       \
        gather_with(n, l, s, first_group, n_groups);                                                                   \
    }
WITH_VECTORS(whole, VECTORS)
WITH_VECTORS(half, (VECTORS + 1) / 2)

/* A block of which so little is used that half of its vectors are 0. */
static bool is_half(const ladder *l, long q) { return l->n_used[q] * sizeof(REAL) <= BLOCK_BYTES / 2; }

static void forward(const ladder *l, long q, const rows_of_share *r, const scratch *s, flags *inactive) {
    const block readout = load_readout(l, q);
    (l->n_used[q] == COLUMNS ? fill_whole : fill_part)(l, q, r, s);
    (is_half(l, q) ? forward_half : forward_whole)(l, r, s, &readout, inactive);
}

static void backward(const ladder *l, long q, const rows_of_share *r, const scratch *s, const flags *inactive) {
    memset(s->d_rows, 0, r->n_subtasks * sizeof(block));
    memset(s->d_bits, 0, round_up(l->n_bits, BITS_AT_ONCE) * sizeof(block));
    for (long g = 0; g < r->n_padded / 4; g += GROUPS) {
        const long n = r->n_padded / 4 - g < GROUPS ? r->n_padded / 4 - g : GROUPS;
        (is_half(l, q) ? sum_half : sum_whole)(r, s, g, n, inactive + 4 * g / SIGNS);
        (is_half(l, q) ? gather_half : gather_whole)(l, s, g, n);
    }
    (l->n_used[q] == COLUMNS ? finish_whole : finish_part)(l, q, r, s);
}

static void work(const ladder *l, rows_of_share *r, scratch *s, shared *unused) {
    (void)unused;
    const long G = l->n_members, stride = n_signs(r->n_padded);
    if (!l->margins_only) {
        group_rows(l, r, s);
        for (long g = 0; g < GROUPS; g++) s->sums[16 * g] = (block){0};
    }
    for (long g = 0; g < G; g++) {
        const long first = l->first_block[g], last = l->first_block[g + 1];
        const REAL offset = offset_of(l, g);
        memset(s->margin, 0, r->n_padded * sizeof *s->margin);
        for (long q = first; q < last; q++) forward(l, q, r, s, s->inactive + (q - first) * stride);
        if (l->margins_only) {
            for (long b = 0; b < r->n_rows; b++) l->margin[r->order[b] * G + g] = offset + sum_lanes(s->margin[b]);
            continue;
        }
        for (long b = 0; b < r->n_rows; b++) s->delta[b] = offset + sum_lanes(s->margin[b]);
        for (long b = r->n_rows; b < r->n_padded; b++) s->delta[b] = 0;
        find_errors(l, r->n_rows, r->label, s->delta);
        r->d_offset[g] = sum_rows(s->delta, r->n_rows);
        for (long q = first; q < last; q++) backward(l, q, r, s, s->inactive + (q - first) * stride);
    }
}

/* A part of the weights' gradient: the first share's are there, add the others'. */
static void collect(const ladder *l, long number, scratch *of, shared *unused) {
    (void)unused;
    const long size = l->n_bits * l->n_columns, T = l->n_threads;
    for (long t = 1; t < T; t++)
        for (long i = part(size, number, T); i < part(size, number + 1, T); i++) l->d_weight[i] += of[t].d_weight[i];
}
