/* Minibatches of sparse rows: their lines in another order, their loss and its gradient. */
#include "native.h"
#include <math.h>
#include <string.h>

#define MOST_VIEWS 7
#define MOST_FACTORS 512

/* Take `count` lists, items of `sizes[k]` bytes each, those from `written` on for writing; any may be None. */
static int take_all(PyObject *const *args, View *views, const uint8_t *sizes, int count, int written)
{
    for (int at = 0; at < count; at++) {
        if (take_or_none(args[at], &views[at], sizes[at], at < written ? READING : WRITING) == 0)
            continue;
        while (at--)
            leave(&views[at]);
        return -1;
    }
    return 0;
}

static PyObject *give_back(View *views, int count, PyObject *result)
{
    for (int at = 0; at < count; at++)
        leave(&views[at]);
    if (!result && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "lists that do not fit each other");
    return result;
}

/* Whether the lines that begin at `starts` lie within `most` items, one behind the other. */
static int in_order(const int64_t *starts, size_t lines, size_t most)
{
    uint64_t wrong = starts[0] < 0 || (size_t)starts[lines] > most;
    for (size_t at = 0; at < lines; at++)
        wrong |= starts[at] > starts[at + 1];
    return !wrong;
}

static int below(const uint32_t *numbers, size_t count, size_t limit)
{
    Rows rows = {.narrow = numbers, .count = count};
    return !count || largest_row(&rows) < limit;
}

/* take_lines(order, indptr, indices, values, new indptr, new indices, new values) -> how many values were taken */
PyObject *take_lines(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static const uint8_t sizes[] = {8, 8, 4, 4, 8, 4, 4};
    View views[MOST_VIEWS];
    (void)self;
    if (!counted(count, 7) || take_all(args, views, sizes, 7, 4) < 0)
        return NULL;
    const int64_t *order = views[0].start, *starts = views[1].start;
    const uint32_t *from = views[2].start;
    const float *values = views[3].start;
    int64_t *ends = views[4].start;
    uint32_t *to = views[5].start;
    float *taken = views[6].start;
    size_t wanted = views[0].count, lines = views[1].count - 1, at = 0, room = views[5].count;

    int good = views[1].count && views[4].count == wanted + 1 && in_order(starts, lines, views[2].count) &&
               !values == !taken && (!values || (views[3].count == views[2].count && views[6].count == room));
    for (size_t line = 0; good && line < wanted; line++) {
        uint64_t here = (uint64_t)order[line];
        if (!(good = here < lines))
            break;
        size_t begin = (size_t)starts[here], length = (size_t)starts[here + 1] - begin;
        if (!(good = length <= room - at))
            break;
        ends[line] = (int64_t)at;
        memcpy(to + at, from + begin, length * 4);
        if (values)
            memcpy(taken + at, values + begin, length * 4);
        at += length;
    }
    if (good)
        ends[wanted] = (int64_t)at;
    return give_back(views, 7, good ? PyLong_FromSize_t(at) : NULL);
}

/* The margins' sum over a line; four sums at a time, since each waits for the one before. */
static float dot(const uint32_t *places, const float *values, size_t length, const float *weights)
{
    float sums[4] = {0};
    size_t at = 0;
    for (; at + 4 <= length; at += 4)
        for (size_t lane = 0; lane < 4; lane++)
            sums[lane] += weights[places[at + lane]] * (values ? values[at + lane] : 1.0f);
    for (; at < length; at++)
        sums[0] += weights[places[at]] * (values ? values[at] : 1.0f);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* logistic(labels, indptr, places, values, weights, gradient) -> the sum of the rows' losses
   The last weight is the intercept's; the gradient, as long as the weights, is that of the mean loss. */
PyObject *logistic(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static const uint8_t sizes[] = {4, 8, 4, 4, 4, 4};
    View views[MOST_VIEWS];
    (void)self;
    if (!counted(count, 6) || take_all(args, views, sizes, 6, 5) < 0)
        return NULL;
    const float *labels = views[0].start, *values = views[3].start, *weights = views[4].start;
    const int64_t *starts = views[1].start;
    const uint32_t *places = views[2].start;
    float *gradient = views[5].start;
    size_t lines = views[0].count, keys = views[4].count;

    int good = views[1].count == lines + 1 && keys && views[5].count == keys &&
               in_order(starts, lines, views[2].count) && below(places, views[2].count, keys) &&
               (!values || views[3].count >= (size_t)starts[lines]);
    if (!good)
        return give_back(views, 6, NULL);
    float share = -1.0f / (float)(lines ? lines : 1);
    double loss = 0.0, whole = 0.0, product = 1.0; /* of 1 + small, each at most 2: one logarithm for many lines */
    memset(gradient, 0, keys * sizeof(float));
    for (size_t line = 0; line < lines; line++) {
        size_t begin = (size_t)starts[line], length = (size_t)starts[line + 1] - begin;
        const float *scale = values ? values + begin : NULL;
        float sign = 2.0f * labels[line] - 1.0f;
        float right = (dot(places + begin, scale, length, weights) + weights[keys - 1]) * sign;
        float small = expf(-fabsf(right)); /* never above 1, so nothing overflows */
        loss -= (double)fminf(right, 0.0f);
        product *= 1.0 + (double)small;
        if (line % MOST_FACTORS == MOST_FACTORS - 1) {
            loss += log(product);
            product = 1.0;
        }
        float residual = (right >= 0.0f ? small : 1.0f) / (small + 1.0f) * (sign * share);
        whole += (double)residual;
        for (size_t at = 0; at < length; at++)
            gradient[places[begin + at]] += scale ? residual * scale[at] : residual;
    }
    gradient[keys - 1] += (float)whole;
    return give_back(views, 6, PyFloat_FromDouble(loss + log(product)));
}
