/* The values of a table's rows: fetched, with their penalties settled, or computed from FTRL's state. */
#include "rules.h"
#include <math.h>
#include <string.h>

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

/* log(1 + x) for x >= 0; penalties of one step are small, and a series is five times as fast. */
static float log_of_more(float x)
{
    return x < SMALL_LOG ? x - x * x * (0.5f - x / 3.0f) : log1pf(x);
}

/* exp(x) - 1 for x <= 0 */
static float exp_less_one(float x)
{
    return x > -SMALL_EXP ? x * (1.0f + x * (0.5f + x * (1.0f / 6.0f + x / 24.0f))) : expm1f(x);
}

static float truncated(float weight, float by)
{
    return copysignf(fmaxf(fabsf(weight) - by, 0.0f), weight);
}

/* What a weight has become after `missed` steps of penalties; cirrus/learn/penalties.py has the formulas. */
static float shrunk(const Table *table, float weight, float missed, float rate, float decay)
{
    if (table->l2 == 0.0)
        return truncated(weight, missed * rate * (float)table->l1);
    float lost = exp_less_one(missed * decay);
    weight += weight * lost;
    return table->l1 > 0.0 ? truncated(weight, lost * (float)(-table->l1 / table->l2)) : weight;
}

static void settle(const Table *table, const Rows *rows, size_t from, size_t to, int64_t clock, float *out)
{
    size_t width = table->width;
    for (size_t at = from; at < to; at++) {
        size_t here = row(rows, at);
        float missed = (float)((int32_t)clock - table->touched[here]);
        if (missed == 0.0f || (int64_t)here == table->free)
            continue;
        for (size_t column = 0; column < width; column++) {
            float rate = table->rate, decay = table->decay;
            if (table->kind == ADAGRAD) {
                rate /= sqrtf(table->state[0][here * width + column]);
                decay = -log_of_more(rate * (float)table->l2);
            }
            float *weight = out + at * width + column;
            *weight = shrunk(table, *weight, missed, rate, decay);
        }
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
