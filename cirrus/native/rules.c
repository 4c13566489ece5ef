/* Each rule in two halves: what the gradient would do alone, then, when it is known how much it counts, doing it. */
#include "rules.h"
#include <math.h>

#define AT_ONCE 1024 /* numbers that stay in the fastest cache from one loop to the next */
#define LOUD 10.0
#define LANES 4

/* Add to the echo: gradient times what has moved since the pull, and times the step. cirrus/learn/staleness.py */
static void hear(Push *push, size_t from, size_t to)
{
    const float *g = push->gradient, *then = push->pulled, *now = push->weights, *step = push->step;
    double along[LANES] = {0}, own[LANES] = {0};
    size_t at = from;
    for (; at + LANES <= to; at += LANES)
        for (size_t lane = 0; lane < LANES; lane++) {
            along[lane] += (double)g[at + lane] * (double)(then[at + lane] - now[at + lane]);
            own[lane] += (double)g[at + lane] * (double)step[at + lane];
        }
    for (; at < to; at++) {
        along[0] += (double)g[at] * (double)(then[at] - now[at]);
        own[0] += (double)g[at] * (double)step[at];
    }
    push->along += (along[0] + along[1]) + (along[2] + along[3]);
    push->own += (own[0] + own[1]) + (own[2] + own[3]);
}

static float damping(const Push *push)
{
    if (!push->pulled || !(push->along > 0.0) || !(push->own > 0.0))
        return 1.0f;
    double echo = fmin(push->along / push->own, LOUD);
    return (float)exp(-(echo * echo));
}

/* 1 - beta ** times, to full precision also where beta is next to 1; below -18 nothing is left of the power. */
static float bias(const Table *table, int which, int32_t times)
{
    if (times < KNOWN)
        return table->known[which][times];
    float exponent = (float)times * table->log_beta[which];
    return exponent < -18.0f ? 1.0f : -expm1f(exponent);
}

void know(Table *table)
{
    for (int which = 0; which < 2; which++)
        for (int32_t times = 0; times < KNOWN; times++)
            table->known[which][times] = times ? -expm1f((float)times * table->log_beta[which]) : 0.0f;
}

static void step_by(Push *push, size_t from, size_t to, float rate)
{
    for (size_t at = from; at < to; at++)
        push->step[at] = push->gradient[at] * rate;
}

static void prepare_momentum(Table *table, Push *push, size_t from, size_t to)
{
    if (push->pulled)
        step_by(push, from, to, table->total);
}

static void prepare_adagrad(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    size_t width = table->width;
    const float *g = push->gradient;
    float *squares = push->more, *step = push->step, rate = table->rate;
    fetch(table, table->state[0], rows, from, to, squares);
    for (size_t at = from * width; at < to * width; at++)
        squares[at] += g[at] * g[at];
    store(table, table->state[0], rows, from, to, squares);
    for (size_t at = from * width; at < to * width; at++)
        step[at] = g[at] / sqrtf(squares[at]) * rate;
}

static void prepare_adam(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    size_t width = table->width;
    const float *g = push->gradient;
    float *root = push->more, beta = table->beta[1], rest = table->rest[1];
    fetch(table, table->state[1], rows, from, to, root);
    for (size_t at = from * width; at < to * width; at++)
        root[at] = root[at] * beta + g[at] * g[at] * rest;
    store(table, table->state[1], rows, from, to, root);
    for (size_t at = from; at < to; at++) {
        float corrected = bias(table, 1, ++table->count[row(rows, at)]);
        for (size_t column = at * width; column < (at + 1) * width; column++)
            root[column] = sqrtf(root[column] / corrected) + table->epsilon;
    }
    if (push->pulled)
        for (size_t at = from * width; at < to * width; at++)
            push->step[at] = g[at] / root[at] * table->rate;
}

/* Leaves in `more` what `z` loses however much the gradient counts. */
static void prepare_ftrl(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    size_t width = table->width;
    for (size_t at = from * width; at < to * width; at++) {
        float *n = table->state[0] + row(rows, at / width) * width + at % width;
        float g = push->gradient[at], root = sqrtf(*n);
        *n += g * g;
        float grown = sqrtf(*n), curve = grown + table->beta[0];
        push->step[at] = curve > 0.0f ? g / curve * table->rate : 0.0f;
        push->more[at] = push->weights[at] * (grown - root) / table->rate;
    }
}

static void prepare(Table *table, const Rows *rows, int64_t clock, Push *push, size_t from, size_t to)
{
    values(table, rows, from, to, clock, push->weights);
    size_t begin = from * table->width, end = to * table->width;
    switch (table->kind) {
    case SGD:
        step_by(push, begin, end, table->rate);
        break;
    case MOMENTUM:
    case NESTEROV:
        prepare_momentum(table, push, begin, end);
        break;
    case ADAGRAD:
        prepare_adagrad(table, rows, push, from, to);
        break;
    case ADAM:
        prepare_adam(table, rows, push, from, to);
        break;
    case FTRL:
        prepare_ftrl(table, rows, push, from, to);
        break;
    }
    if (push->pulled)
        hear(push, begin, end);
}

static void finish_momentum(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    size_t width = table->width;
    float *velocity = push->more, momentum = table->beta[0];
    int ahead = table->kind == NESTEROV;
    fetch(table, table->state[0], rows, from, to, velocity);
    for (size_t at = from * width; at < to * width; at++) {
        float news = push->gradient[at] * push->scale;
        velocity[at] = velocity[at] * momentum + news;
        float step = ahead ? velocity[at] * momentum + news : velocity[at];
        push->weights[at] -= step * table->rate;
    }
    store(table, table->state[0], rows, from, to, velocity);
}

static void finish_adam(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    size_t width = table->width;
    float *first = push->step, beta = table->beta[0], rest = table->rest[0], rate = table->rate * push->scale;
    fetch(table, table->state[0], rows, from, to, first);
    for (size_t at = from * width; at < to * width; at++)
        first[at] = first[at] * beta + push->gradient[at] * rest;
    store(table, table->state[0], rows, from, to, first);
    for (size_t at = from; at < to; at++) {
        float corrected = bias(table, 0, table->count[row(rows, at)]);
        for (size_t column = at * width; column < (at + 1) * width; column++)
            push->weights[column] -= first[column] / push->more[column] / corrected * rate;
    }
}

static void finish_ftrl(Table *table, const Rows *rows, Push *push, size_t from, size_t to)
{
    fetch(table, table->weights, rows, from, to, push->weights); /* z from here on */
    for (size_t at = from * table->width; at < to * table->width; at++)
        push->weights[at] = push->weights[at] - push->more[at] + push->gradient[at] * push->scale;
}

static void finish(Table *table, const Rows *rows, int64_t clock, Push *push, size_t from, size_t to)
{
    switch (table->kind) {
    case SGD:
    case ADAGRAD:
        for (size_t at = from * table->width; at < to * table->width; at++)
            push->weights[at] -= push->step[at] * push->scale;
        break;
    case MOMENTUM:
    case NESTEROV:
        finish_momentum(table, rows, push, from, to);
        break;
    case ADAM:
        finish_adam(table, rows, push, from, to);
        break;
    case FTRL:
        finish_ftrl(table, rows, push, from, to);
        break;
    }
    store(table, table->weights, rows, from, to, push->weights);
    paid(table, rows, from, to, clock);
}

void apply(Table *table, const Rows *rows, int64_t clock, Push *push)
{
    size_t block = table->width < AT_ONCE ? AT_ONCE / table->width : 1;
    for (size_t from = 0; from < rows->count; from += block)
        prepare(table, rows, clock, push, from, from + block < rows->count ? from + block : rows->count);
    push->scale = damping(push);
    for (size_t from = 0; from < rows->count; from += block)
        finish(table, rows, clock, push, from, from + block < rows->count ? from + block : rows->count);
}
