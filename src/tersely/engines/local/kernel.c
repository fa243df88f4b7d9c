/* What a decode step does between its matrix products, on float32 in memory order.
 *
 * A row's cache is a run of pages of PAGE positions. A page holds, for each key-value head, its
 * keys turned to [dim][PAGE], so that one vector holds the scores of a page, then its values as
 * [PAGE][dim]. `qkv` is a row's query, key and value heads, one after the other; `rotation` holds
 * a position's (cos, sin) pairs. Every sum is over one row, so what a row gets does not depend on
 * the rows beside it. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

#define PAGE 16   /* positions of a page, as in pages.py */
#define CHUNK 256 /* positions whose scores are held at once */
#define WIDEST 256 /* largest dim, as in kernel.py */
#define TOGETHER 8 /* query heads that share a chunk of keys */
#define AT_ONCE 4  /* those of them that share each key, and pages whose scores are summed at once */
#define PANEL 32   /* columns of a matrix that are multiplied at once, as in panels.py */
#define TILE 8     /* rows of the other factor beside them */
#define BLOCK 64   /* rows that take a whole step one after the other, as in panels.py */
#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * PAGE), aligned(4), may_alias));

/* e^x to a relative 2e-7 for |x| <= 87, beyond that as at 87 (the polynomial is Cephes' expf). */
INLINE float exp_of(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    float k = floorf(x * 1.44269504f + 0.5f);
    float r = x - k * 0.693359375f;
    r += k * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    union { uint32_t bits; float power; } two = {(uint32_t)((int32_t)k + 127) << 23};
    return y * two.power;
}

INLINE float inverse_rms(const float *x, int n, float eps)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return 1.0f / sqrtf(sum / n + eps);
}

static void rms_row(const float *x, float *out, int n, float eps)
{
    float scale = inverse_rms(x, n, eps);
    for (int i = 0; i < n; i++) out[i] = x[i] * scale;
}

/* out = x / sqrt(mean(x^2) + eps), row by row */
void rms(const float *x, float *out, int rows, int n, float eps, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int row = 0; row < rows; row++)
        rms_row(x + (int64_t)row * n, out + (int64_t)row * n, n, eps);
}

static void swiglu_row(const float *gate, const float *up, float *out, int n)
{
    for (int i = 0; i < n; i++) out[i] = gate[i] / (1.0f + exp_of(-gate[i])) * up[i];
}

/* out = silu(gate) * up, where a row is n gates and then n ups */
void swiglu(const float *gate_up, float *out, int rows, int n, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int row = 0; row < rows; row++) {
        const float *gate = gate_up + (int64_t)row * 2 * n;
        swiglu_row(gate, gate + n, out + (int64_t)row * n, n);
    }
}

/* One head's norm (where there is a gain) and rotation, in place. */
INLINE void turn(float *head, const float *gain, const float *rotation, int dim, float eps)
{
    if (gain) {
        float scale = inverse_rms(head, dim, eps);
        for (int d = 0; d < dim; d++) head[d] *= scale * gain[d];
    }
    for (int d = 0; d < dim; d += 2) {
        float a = head[d], b = head[d + 1];
        head[d] = a * rotation[d] - b * rotation[d + 1];
        head[d + 1] = a * rotation[d + 1] + b * rotation[d];
    }
}

/* A head's softmax(q @ keys) @ values so far: the weighted values, the weights, the largest score. */
typedef struct {
    float sum[WIDEST], total, top;
} attended;

/* Scores of `pages` pages' positions for some heads, whose sums do not wait for one another; each
 * key is read once for all heads. */
INLINE void page_scores(const float *q, const float *key, float (*score)[CHUNK], int heads, int first,
                        int pages, int dim)
{
    lanes sum[AT_ONCE][AT_ONCE] = {0};
    for (int d = 0; d < dim; d++)
        for (int p = 0; p < pages; p++)
            for (int h = 0; h < heads; h++)
                sum[h][p] += q[h * dim + d] * *(const lanes *)(key + (p * dim + d) * PAGE);
    for (int h = 0; h < heads; h++)
        for (int p = 0; p < pages; p++) *(lanes *)(score[h] + (first + p) * PAGE) = sum[h][p];
}

/* Scores of the pages' positions for some heads. */
INLINE void scores_of(const float *q, const float *key, float (*score)[CHUNK], int heads, int count,
                      int dim)
{
    int page = 0, pages = (count + PAGE - 1) / PAGE, some = heads > 2 ? 1 : AT_ONCE / heads;
    for (; page + some <= pages; page += some, key += some * PAGE * dim)
        page_scores(q, key, score, heads, page, some, dim);
    for (; page < pages; page++, key += PAGE * dim) page_scores(q, key, score, heads, page, 1, dim);
}

/* Turns the scores of `count` more positions into weights, and those beyond them in a page into 0. */
static __attribute__((noinline)) void weigh(attended *so_far, float *score, int count, int dim)
{
    float mass = 0.0f, top = so_far->top, peak = -INFINITY;
#pragma omp simd reduction(max : peak)
    for (int w = 0; w < count; w++) peak = score[w] > peak ? score[w] : peak;
    peak = peak > top ? peak : top;
#pragma omp simd reduction(+ : mass)
    for (int w = 0; w < count; w++) {
        score[w] = exp_of(score[w] - peak);
        mass += score[w];
    }
    for (int w = count; w % PAGE; w++) score[w] = 0.0f;
    if (top > -INFINITY) {
        float shrink = exp_of(top - peak);
        for (int d = 0; d < dim; d++) so_far->sum[d] *= shrink;
        mass = so_far->total * shrink + mass;
    }
    so_far->total = mass;
    so_far->top = peak;
}

/* sum += weight @ value, four positions at a time; weights beyond `count` are 0. */
INLINE void mix(attended *so_far, float (*weight)[CHUNK], const float *value, int heads, int count,
                int dim)
{
    for (int w = 0; w < count; w += 4, value += 4 * dim)
        for (int h = 0; h < heads; h++) {
            const float *v = value, *s = weight[h] + w;
            float *sum = so_far[h].sum;
            for (int d = 0; d < dim; d++)
                sum[d] += s[0] * v[d] + s[1] * v[d + dim] + s[2] * v[d + 2 * dim] +
                          s[3] * v[d + 3 * dim];
        }
}

/* Takes `count` more positions into those of some heads. */
INLINE void take(attended *so_far, const float *q, const float *key, const float *value, int heads,
                 int count, int dim)
{
    float score[AT_ONCE][CHUNK];
    scores_of(q, key, score, heads, count, dim);
    for (int h = 0; h < heads; h++) weigh(so_far + h, score[h], count, dim);
    mix(so_far, score, value, heads, count, dim);
}

/* out = softmax(q @ keys) @ values over `count` positions for heads of one group, a chunk at a time,
 * which stays in the processor's cache for all of them */
INLINE void some_heads(const float *q, const float *key, const float *value, float *out, int heads,
                       int count, int dim)
{
    attended so_far[TOGETHER];
    for (int h = 0; h < heads; h++) {
        so_far[h].total = 0.0f, so_far[h].top = -INFINITY;
        for (int d = 0; d < dim; d++) so_far[h].sum[d] = 0.0f;
    }
    for (int first = 0; first < count; first += CHUNK) {
        int here = count - first < CHUNK ? count - first : CHUNK;
        int64_t at = (int64_t)first * dim;
#define TAKE(N) take(so_far + h, q + h * dim, key + at, value + at, N, here, dim)
        for (int h = 0; h < heads; h += AT_ONCE)
            switch (heads - h) { /* constants keep the sums in registers */
            case 1: TAKE(1); break;
            case 2: TAKE(2); break;
            case 3: TAKE(3); break;
            default: TAKE(AT_ONCE);
            }
#undef TAKE
    }
    for (int h = 0; h < heads; h++)
        for (int d = 0; d < dim; d++) out[h * dim + d] = so_far[h].sum[d] / so_far[h].total;
}

INLINE void one_row(float *qkv, const float *gain, const float *rotation, int64_t position,
                    float *cache, float *out, int heads, int kv_heads, int pages, int dim,
                    float eps)
{
    int group = heads / kv_heads, place = position % PAGE;
    int64_t half = (int64_t)pages * PAGE * dim, page = (position - place) * dim;
    for (int h = 0; h < heads + kv_heads; h++)
        turn(qkv + h * dim, gain ? gain + h * dim : 0, rotation + position * dim, dim, eps);
    for (int k = 0; k < kv_heads; k++) {
        const float *new_key = qkv + (heads + k) * dim, *new_value = new_key + kv_heads * dim;
        float *keys = cache + k * 2 * half, *values = keys + half;
        float *put = values + position * dim;
        for (int d = 0; d < dim; d++) keys[page + d * PAGE + place] = new_key[d];
        memcpy(put, new_value, sizeof(float) * dim);
        /* mix reads four at a time, and what an earlier row left here may be no number */
        if (place % 4 == 0) memset(put + dim, 0, sizeof(float) * 3 * dim);
        for (int h = k * group; h < (k + 1) * group; h += TOGETHER) {
            int some = (k + 1) * group - h < TOGETHER ? (k + 1) * group - h : TOGETHER;
            some_heads(qkv + h * dim, keys, values, out + h * dim, some, (int)position + 1, dim);
        }
    }
}

static void attend_row(float *qkv, const float *gain, const float *rotation, int64_t position,
                       float *cache, float *out, int heads, int kv_heads, int pages, int dim,
                       float eps)
{
#define ROW(D) one_row(qkv, gain, rotation, position, cache, out, heads, kv_heads, pages, D, eps)
    if (dim == 24) ROW(24); /* a constant lets the compiler unroll: the lab's models, then */
    else if (dim == 32) ROW(32);
    else if (dim == 64) ROW(64); /* the sizes that most models have */
    else if (dim == 128) ROW(128);
    else ROW(dim);
#undef ROW
}

/* Norms, rotates and stores one token a row, then attends to all its positions up to this one.
 * `pages` is how many of them a head's keys have; `gain` may be null. */
void attend(float *qkv, const float *gain, const float *rotation, const int64_t *position,
            float *cache, float *out, int rows, int heads, int kv_heads, int pages, int dim,
            float eps, int threads)
{
    int64_t width = (heads + 2 * kv_heads) * dim, size = (int64_t)pages * kv_heads * 2 * PAGE * dim;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic, 4)
    for (int row = 0; row < rows; row++)
        attend_row(qkv + row * width, gain, rotation, position[row], cache + row * size,
                   out + (int64_t)row * heads * dim, heads, kv_heads, pages, dim, eps);
}

/* The first token up to which the sum of p exceeds a share of all, or the last, and its `logp`. */
void choose(const float *p, const float *logp, const double *share, int64_t *token, float *chosen,
            int rows, int cells)
{
    for (int row = 0; row < rows; row++, p += cells, logp += cells) {
        double all = 0.0, sum = p[0];
        for (int i = 0; i < cells; i++) all += p[i];
        int at = 0;
        while (!(sum > share[row] * all) && at < cells - 1) sum += p[++at];
        token[row] = at;
        chosen[row] = logp[at];
    }
}

/* rows x PANEL products, or fewer columns: out (+)= x @ panel. Of `depth` inputs each, sums are made
 * one input after the other. */
INLINE void tile(const float *x, const float *panel, float *out, int inputs, int outputs,
                 int columns, int depth, int add, int rows)
{
    for (int first = 0; first < inputs; first += depth) {
        int last = inputs - first < depth ? inputs : first + depth;
        lanes sum[TILE][2];
        for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (lanes){0};
        for (int k = first; k < last; k++) {
            const lanes *weight = (const lanes *)(panel + (int64_t)k * PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                sum[r][0] += x[(int64_t)r * inputs + k] * weight[0];
                sum[r][1] += x[(int64_t)r * inputs + k] * weight[1];
            }
        }
        for (int r = 0; r < rows; r++) {
            float whole[PANEL], *to = out + (int64_t)r * outputs;
            memcpy(whole, sum[r], sizeof whole);
            for (int c = 0; c < columns; c++) to[c] = add || first ? to[c] + whole[c] : whole[c];
        }
    }
}

/* out = x @ weight, or out += x @ weight; `weight` is panels of PANEL outputs, input by input. */
void product(const float *x, const float *weight, float *out, int rows, int inputs, int outputs,
             int depth, int add)
{
    for (int column = 0; column < outputs; column += PANEL, weight += (int64_t)inputs * PANEL) {
        int columns = outputs - column < PANEL ? outputs - column : PANEL;
        for (int row = 0; row < rows; row += TILE) {
            const float *from = x + (int64_t)row * inputs;
            float *to = out + (int64_t)row * outputs + column;
#define OF(R) case R: tile(from, weight, to, inputs, outputs, columns, depth, add, R); break
            switch (rows - row < TILE ? rows - row : TILE) { OF(1); OF(2); OF(3); OF(4); OF(5);
                OF(6); OF(7); OF(8); }
#undef OF
        }
    }
}

/* What stays from step to step: matrices in panels; `bias` and `gain` may be null. `depth` is of the
 * products in their order, the output matrix last. */
typedef struct {
    const float *embedding, *rotation, *norm, *head;
    const struct { const float *qkv, *bias, *gain, *out, *gate_up, *down; } *layers;
    int count, heads, kv_heads, dim, hidden, ffn, vocabulary, depth[5];
    float eps;
} model;

/* One token of up to BLOCK rows through all layers; `layer` is the numbers of a layer's cache and
 * `pages` those of a head's keys. */
static void block(const model *m, const int64_t *token, const int64_t *position, float *cache,
                  int64_t layer, int pages, float *spare, float *logits, int rows)
{
    int64_t size = (int64_t)pages * m->kv_heads * 2 * PAGE * m->dim;
    int hidden = m->hidden, ffn = m->ffn, mixed_size = m->heads * m->dim;
    int width = (m->heads + 2 * m->kv_heads) * m->dim;
    float *x = spare, *normed = x + BLOCK * hidden, *mixed = normed + BLOCK * hidden;
    float *inner = mixed + BLOCK * mixed_size, *wide = inner + BLOCK * ffn;
#define EACH for (int row = 0; row < rows; row++)
    EACH memcpy(x + row * hidden, m->embedding + token[row] * hidden, sizeof(float) * hidden);
    for (int l = 0; l < m->count; l++, cache += layer) {
        EACH rms_row(x + row * hidden, normed + row * hidden, hidden, m->eps);
        const float *bias = m->layers[l].bias;
        if (bias) EACH memcpy(wide + row * width, bias, sizeof(float) * width);
        product(normed, m->layers[l].qkv, wide, rows, hidden, width, m->depth[0], bias != 0);
        EACH attend_row(wide + row * width, m->layers[l].gain, m->rotation, position[row],
                        cache + row * size, mixed + row * mixed_size, m->heads, m->kv_heads,
                        pages, m->dim, m->eps);
        product(mixed, m->layers[l].out, x, rows, mixed_size, hidden, m->depth[1], 1);
        EACH rms_row(x + row * hidden, normed + row * hidden, hidden, m->eps);
        product(normed, m->layers[l].gate_up, wide, rows, hidden, 2 * ffn, m->depth[2], 0);
        EACH swiglu_row(wide + row * 2 * ffn, wide + row * 2 * ffn + ffn, inner + row * ffn, ffn);
        product(inner, m->layers[l].down, x, rows, ffn, hidden, m->depth[3], 1);
    }
    EACH
    {
        rms_row(x + row * hidden, normed + row * hidden, hidden, m->eps);
        for (int i = 0; i < hidden; i++) normed[row * hidden + i] *= m->norm[i];
    }
#undef EACH
    product(normed, m->head, logits, rows, hidden, m->vocabulary, m->depth[4], 0);
}

/* A whole step, block by block: what a block reads and writes between its layers stays near. Every
 * other step goes backwards, so that it begins with the keys and values that the last one ended
 * with. `all_rows` and `pages` are those of the cache; `spare` has `spare_size` numbers a thread. */
void step(const model *m, const int64_t *token, const int64_t *position, float *cache,
          int64_t all_rows, int pages, float *spare, int64_t spare_size, float *logits, int rows,
          int threads)
{
    int some = threads == 1 ? BLOCK : (rows + 4 * threads - 1) / (4 * threads);
    some = some > BLOCK ? BLOCK : some < TILE ? TILE : some;
    int blocks = (rows + some - 1) / some, back = position[0] & 1;
    int64_t size = (int64_t)pages * m->kv_heads * 2 * PAGE * m->dim;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic, 1)
    for (int b = 0; b < blocks; b++) {
        int first = (back ? blocks - 1 - b : b) * some, left = rows - first;
        block(m, token + first, position + first, cache + first * size, all_rows * size, pages,
              spare + THREAD * spare_size, logits + (int64_t)first * m->vocabulary,
              left < some ? left : some);
    }
}
