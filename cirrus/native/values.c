/* The values of a table's rows: fetched, with their penalties settled, or computed from FTRL's state. */
#include "rules.h"
#include <math.h>
#include <string.h>

#define PIECE 256 /* numbers at a time */
#define SMALL_LOG 0x1p-10f
#define SMALL_EXP 0x1p-7f

void fetch(const Table *table, const float *matrix, const Rows *rows, size_t from, size_t to, float *out)
{
    size_t width = table->width;
    if (width == 1)
        for (size_t at = from; at < to; at++)
            out[at] = matrix[row(rows, at)];
    else
        for (size_t at = from; at < to; at++)
            memcpy(out + at * width, matrix + row(rows, at) * width, width * sizeof(float));
}

void store(const Table *table, float *matrix, const Rows *rows, size_t from, size_t to, const float *list)
{
    size_t width = table->width;
    if (width == 1)
        for (size_t at = from; at < to; at++)
            matrix[row(rows, at)] = list[at];
    else
        for (size_t at = from; at < to; at++)
            memcpy(matrix + row(rows, at) * width, list + at * width, width * sizeof(float));
}

void paid(Table *table, const Rows *rows, size_t from, size_t to, int64_t clock)
{
    if (table->touched)
        for (size_t at = from; at < to; at++)
            table->touched[row(rows, at)] = (int32_t)clock;
}

static float truncated(float weight, float by)
{
    return copysignf(fmaxf(fabsf(weight) - by, 0.0f), weight);
}

/* What `missed` steps of L2 penalties take of weights: exp(missed * log(r)) - 1, where log(r) is -log(1 + rate * l2)
   for AdaGrad. Most are small, and a series is many times as fast as the library's functions. */
static void losses(const Table *table, const float *missed, const float *rates, float *lost, size_t count)
{
    float l2 = (float)table->l2, logs[PIECE];
    uint32_t large = 0;
    for (size_t at = 0; at < count; at++) {
        float x = rates[at] * l2;
        float log = table->kind == ADAGRAD ? x * x * (0.5f - x * (1.0f / 3.0f)) - x : table->decay;
        large |= table->kind == ADAGRAD && x > SMALL_LOG;
        logs[at] = log;
    }
    for (size_t at = 0; large && at < count; at++)
        if (rates[at] * l2 > SMALL_LOG)
            logs[at] = -log1pf(rates[at] * l2);
    large = 0;
    for (size_t at = 0; at < count; at++) {
        float x = missed[at] * logs[at];
        lost[at] = x * (1.0f + x * (0.5f + x * (1.0f / 6.0f + x * (1.0f / 24.0f))));
        large |= x < -SMALL_EXP;
    }
    for (size_t at = 0; large && at < count; at++)
        if (missed[at] * logs[at] < -SMALL_EXP)
            lost[at] = expm1f(missed[at] * logs[at]);
}

/* Apply the penalties that each weight has missed; cirrus/learn/penalties.py has the formulas. */
static void shrink(const Table *table, const float *missed, const float *rates, float *weights, size_t count)
{
    float lost[PIECE], l1 = (float)table->l1;
    if (table->l2 == 0.0) {
        for (size_t at = 0; at < count; at++)
            weights[at] = truncated(weights[at], missed[at] * rates[at] * l1);
        return;
    }
    losses(table, missed, rates, lost, count);
    for (size_t at = 0; at < count; at++)
        weights[at] += weights[at] * lost[at];
    float ratio = (float)(-table->l1 / table->l2);
    for (size_t at = 0; at < count && l1 > 0.0f; at++)
        weights[at] = truncated(weights[at], lost[at] * ratio);
}

static void settle(const Table *table, const Rows *rows, size_t from, size_t to, int64_t clock, float *out)
{
    size_t width = table->width, end = to * width;
    float missed[PIECE], rates[PIECE];
    for (size_t begin = from * width; begin < end; begin += PIECE) {
        size_t count = end - begin < PIECE ? end - begin : PIECE;
        for (size_t at = 0; at < count; at++) {
            size_t line = width == 1 ? begin + at : (begin + at) / width, here = row(rows, line);
            missed[at] = (int64_t)here == table->free ? 0.0f : (float)((int32_t)clock - table->touched[here]);
            if (table->kind == ADAGRAD)
                rates[at] = table->state[0][here * width + (begin + at - line * width)];
        }
        for (size_t at = 0; at < count; at++)
            rates[at] = table->kind == ADAGRAD ? table->rate / sqrtf(rates[at]) : table->rate;
        shrink(table, missed, rates, out + begin, count);
    }
}

static void from_state(const Table *table, const Rows *rows, size_t from, size_t to, int64_t clock, float *out)
{
    size_t width = table->width;
    float l1 = (float)((double)clock * table->l1), l2 = (float)((double)clock * table->l2);
    for (size_t at = from; at < to; at++) {
        size_t here = row(rows, at);
        int penalised = (int64_t)here != table->free;
        for (size_t column = 0; column < width; column++) {
            float z = table->weights[here * width + column];
            float curve = (sqrtf(table->state[0][here * width + column]) + table->beta[0]) / table->rate;
            if (penalised) {
                curve += l2;
                z = l1 > 0.0f ? truncated(z, l1) : z;
            }
            out[at * width + column] = curve > 0.0f ? -(z / curve) : -0.0f;
        }
    }
}

void values(const Table *table, const Rows *rows, size_t from, size_t to, int64_t clock, float *out)
{
    if (table->kind == FTRL) {
        from_state(table, rows, from, to, clock, out);
        return;
    }
    fetch(table, table->weights, rows, from, to, out);
    if (table->touched)
        settle(table, rows, from, to, clock, out);
}
