/* The least that a step of sparse logistic regression with AdaGrad costs: one process, one thread, no network.
   floor ROWS_FILE MINIBATCH SECONDS; prints steps and seconds. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FEATURES (1 << 18)
#define RATE 0.1f
#define AT_ONCE 100

static float weights[FEATURES + 1], squares[FEATURES + 1], sums[FEATURES + 1];
static uint32_t seen[FEATURES + 1], keys[FEATURES + 1];

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static void *must(void *memory)
{
    if (!memory)
        exit(1);
    return memory;
}

static size_t add(uint32_t key, float part, uint32_t stamp, size_t count)
{
    if (seen[key] != stamp) {
        seen[key] = stamp;
        sums[key] = 0;
        keys[count++] = key;
    }
    sums[key] += part;
    return count;
}

static void step(const float *labels, const int64_t *starts, const uint32_t *features, size_t rows, uint32_t stamp)
{
    size_t count = 0;
    for (size_t row = 0; row < rows; row++) {
        float margin = weights[FEATURES];
        for (int64_t at = starts[row]; at < starts[row + 1]; at++)
            margin += weights[features[at]];
        float residual = (1.0f / (1.0f + expf(-margin)) - labels[row]) / (float)rows;
        for (int64_t at = starts[row]; at < starts[row + 1]; at++)
            count = add(features[at], residual, stamp, count);
        count = add(FEATURES, residual, stamp, count);
    }
    for (size_t at = 0; at < count; at++) {
        uint32_t key = keys[at];
        squares[key] += sums[key] * sums[key];
        weights[key] -= RATE * sums[key] / sqrtf(squares[key]);
    }
}

int main(int count, char **given)
{
    if (count != 4)
        return 2;
    FILE *file = must(fopen(given[1], "rb"));
    size_t minibatch = (size_t)atol(given[2]);
    int64_t sizes[2];
    if (fread(sizes, 8, 2, file) != 2)
        return 1;
    size_t rows = (size_t)sizes[0], values = (size_t)sizes[1];
    float *labels = must(malloc(4 * rows));
    int64_t *starts = must(malloc(8 * (rows + 1)));
    uint32_t *features = must(malloc(4 * values));
    if (fread(labels, 4, rows, file) != rows || fread(starts, 8, rows + 1, file) != rows + 1 ||
        fread(features, 4, values, file) != values)
        return 1;
    for (size_t key = 0; key <= FEATURES; key++)
        squares[key] = 0.01f;
    double begin = now(), end = begin + atof(given[3]), passed = begin;
    uint32_t steps = 0;
    size_t at = 0;
    while (passed < end) {
        for (int more = 0; more < AT_ONCE; more++) {
            at = at + minibatch > rows ? 0 : at;
            step(labels + at, starts + at, features, minibatch, ++steps);
            at += minibatch;
        }
        passed = now();
    }
    printf("%u %f\n", steps, passed - begin);
    return 0;
}
