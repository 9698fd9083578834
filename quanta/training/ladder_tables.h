/* Products with bits by lookup, on any processor: the sixteen sums of each four rows of weights. */

typedef struct { uint8_t *nibbles; } inputs; /* (ROWS, J) with J = ceil(n / 4) */

static long n_nibbles(long n_bits) { return (n_bits + 3) / 4; }
static long weight_bytes(long n_bits) { return n_nibbles(n_bits) * 16 * sizeof(block); }
static long gradient_bytes(long n_bits) { return weight_bytes(n_bits); }

static bool new_inputs(long n_bits, inputs *bits) {
    bits->nibbles = malloc(ROWS * n_nibbles(n_bits));
    return bits->nibbles;
}

static void free_inputs(inputs *bits) { free(bits->nibbles); }
static void begin(void) {}
static void end(void) {}

static block *table_of(const ladder *l, char *tables, long place) {
    return (block *)(tables + place * weight_bytes(l->n_bits));
}

/* table[j][v] = sum of the weights of those bits of nibble j that the value v has. */
static void prepare_weights(const ladder *l, long q) {
    const long H = l->n_columns, from = l->first_column[q], used = l->n_used[q];
    block *tables = table_of(l, l->products, q);
    for (long j = 0; j < n_nibbles(l->n_bits); j++) {
        block *table = tables + j * 16;
        table[0] = (block){0};
        for (int value = 1; value < 16; value++) {
            const long bit = 4 * j + __builtin_ctz(value);
            table[value] = table[value & (value - 1)];
            if (bit >= l->n_bits) continue;
            for (long c = 0; c < used; c++) {
                const REAL w = l->weight[bit * H + from + c];
                ((REAL *)(table + value))[c] += TERMS == 1 ? (REAL)round_bf16((float)w) : w;
            }
        }
    }
}

static void read_bits(const ladder *l, long from, long n_rows, inputs *into) {
    const long J = n_nibbles(l->n_bits);
    for (long b = 0; b < n_rows; b++) {
        const uint8_t *bits = l->bits + (from + b) * l->bits_stride;
        for (long j = 0; j < J; j++) {
            const long left = l->n_bits - 4 * j;
            int value = 0;
            for (long i = 0; i < (left < 4 ? left : 4); i++) value |= (bits[4 * j + i] != 0) << i;
            into->nibbles[b * J + j] = (uint8_t)value;
        }
    }
}

static void multiply(const ladder *l, long q, inputs *bits, long n_rows, block *out) {
    const long J = n_nibbles(l->n_bits);
    const block *tables = table_of(l, l->products, q);
    for (long b = 0; b < n_rows; b++) {
        block sum = {0};
        for (long j = 0; j < J; j++) {
            const block *addend = tables + j * 16 + bits->nibbles[b * J + j];
            for (int v = 0; v < VECTORS; v++) sum.v[v] += addend->v[v];
        }
        out[b] = sum;
    }
}

static void accumulate(const ladder *l, long q, long thread, inputs *bits, long n_rows, block *dz) {
    const long J = n_nibbles(l->n_bits);
    block *tables = table_of(l, l->d_products, thread * l->n_blocks + q);
    for (long b = 0; b < n_rows; b++) {
        if (TERMS == 1)
            for (long c = 0; c < COLUMNS; c++) ((REAL *)(dz + b))[c] = round_bf16((float)((REAL *)(dz + b))[c]);
        const block addend = dz[b]; /* a copy stays in registers; dz, for all the compiler knows, changes with sum */
        for (long j = 0; j < J; j++) {
            block *sum = tables + j * 16 + bits->nibbles[b * J + j];
            for (int v = 0; v < VECTORS; v++) sum->v[v] += addend.v[v];
        }
    }
}

static void collect_weights(const ladder *l, long q) {
    for (long bit = 0; bit < l->n_bits; bit++) {
        block sum = {0};
        for (long t = 0; t < l->n_threads; t++) {
            const block *table = table_of(l, l->d_products, t * l->n_blocks + q) + bit / 4 * 16;
            for (int value = 1; value < 16; value++)
                if (value >> bit % 4 & 1)
                    for (int v = 0; v < VECTORS; v++) sum.v[v] += table[value].v[v];
        }
        memcpy(l->d_weight + bit * l->n_columns + l->first_column[q], &sum, l->n_used[q] * sizeof(REAL));
    }
}
