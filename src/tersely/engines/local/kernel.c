/* What a decode step does between its matrix products, on float32 in memory order.
 *
 * A row's cache holds, for each key-value head, its keys and then its values, in pages of PAGE
 * positions one after the other, as memory is read fastest. Keys of a page are turned to
 * [dim][PAGE], so that one vector holds its scores; values are [PAGE][dim]. `qkv` is a row's query,
 * key and value heads, one after the other; `rotation` holds a position's (cos, sin) pairs. Every
 * sum is over one row, so what a row gets does not depend on the rows beside it. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define PAGE 16   /* positions of a page, as in pages.py */
#define CHUNK 256 /* positions whose scores are held at once */
#define WIDEST 256 /* largest dim, as in kernel.py */
#define TOGETHER 8 /* query heads that share a chunk of keys */
#define AT_ONCE 4 /* those of them that share each key */
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

/* out = x / sqrt(mean(x^2) + eps), row by row */
void rms(const float *x, float *out, int rows, int n, float eps, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int row = 0; row < rows; row++) {
        const float *from = x + (int64_t)row * n;
        float *to = out + (int64_t)row * n;
        float scale = inverse_rms(from, n, eps);
        for (int i = 0; i < n; i++) to[i] = from[i] * scale;
    }
}

/* out = silu(gate) * up, where a row is n gates and then n ups */
void swiglu(const float *gate_up, float *out, int rows, int n, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int row = 0; row < rows; row++) {
        const float *gate = gate_up + (int64_t)row * 2 * n, *up = gate + n;
        float *to = out + (int64_t)row * n;
        for (int i = 0; i < n; i++) to[i] = gate[i] / (1.0f + exp_of(-gate[i])) * up[i];
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

/* Scores of the pages' positions for some heads; each key is read once for all of them. */
INLINE void scores_of(const float *q, const float *key, float (*score)[CHUNK], int heads, int count,
                      int dim)
{
    for (int first = 0; first < count; first += PAGE, key += PAGE * dim) {
        lanes sum[AT_ONCE] = {0};
        for (int d = 0; d < dim; d++)
            for (int h = 0; h < heads; h++)
                sum[h] += q[h * dim + d] * *(const lanes *)(key + d * PAGE);
        for (int h = 0; h < heads; h++) *(lanes *)(score[h] + first) = sum[h];
    }
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

/* Norms, rotates and stores one token a row, then attends to all its positions up to this one.
 * `pages` is how many of them a head's keys have; `gain` may be null. */
void attend(float *qkv, const float *gain, const float *rotation, const int64_t *position,
            float *cache, float *out, int rows, int heads, int kv_heads, int pages, int dim,
            float eps, int threads)
{
    int width = (heads + 2 * kv_heads) * dim;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic, 4)
    for (int row = 0; row < rows; row++) {
        float *in = qkv + (int64_t)row * width, *to = out + (int64_t)row * heads * dim;
        float *own = cache + (int64_t)row * pages * kv_heads * 2 * PAGE * dim;
#define ROW(D) one_row(in, gain, rotation, position[row], own, to, heads, kv_heads, pages, D, eps)
        if (dim == 24) ROW(24); /* a constant lets the compiler unroll: the lab's models, then */
        else if (dim == 32) ROW(32);
        else if (dim == 64) ROW(64); /* the sizes that most models have */
        else if (dim == 128) ROW(128);
        else ROW(dim);
#undef ROW
    }
}
