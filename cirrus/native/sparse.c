/* Minibatches of sparse rows: their lines in another order, their distinct keys, their loss and its gradient. */
#include "native.h"
#include <math.h>
#include <string.h>

#define MOST_BUFFERS 7

/* Take `count` buffers, items of `sizes[k]` bytes each; where an argument is None its view has no buffer. */
static int take_all(PyObject *const *args, Py_buffer *views, const uint8_t *sizes, int count, int first_written)
{
    for (int at = 0; at < count; at++) {
        if (args[at] == Py_None) {
            views[at] = (Py_buffer){.itemsize = 1};
            continue;
        }
        if (take_buffer(args[at], &views[at], sizes[at], at < first_written ? READ : WRITE) == 0)
            continue;
        while (at--)
            if (views[at].obj)
                PyBuffer_Release(&views[at]);
        return -1;
    }
    return 0;
}

static PyObject *give_back(Py_buffer *views, int count, PyObject *result)
{
    for (int at = 0; at < count; at++)
        if (views[at].obj)
            PyBuffer_Release(&views[at]);
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
    Py_buffer views[MOST_BUFFERS];
    (void)self;
    if (!counted(count, 7) || take_all(args, views, sizes, 7, 4) < 0)
        return NULL;
    const int64_t *order = views[0].buf, *starts = views[1].buf;
    const uint32_t *from = views[2].buf;
    const float *values = views[3].buf;
    int64_t *ends = views[4].buf;
    uint32_t *to = views[5].buf;
    float *taken = views[6].buf;
    size_t wanted = items(&views[0]), lines = items(&views[1]) - 1, at = 0, room = items(&views[5]);

    int good = items(&views[1]) && items(&views[4]) == wanted + 1 && in_order(starts, lines, items(&views[2])) &&
               !values == !taken && (!values || (items(&views[3]) == items(&views[2]) && items(&views[6]) == room));
    for (size_t line = 0; good && line < wanted; line++) {
        uint64_t here = (uint64_t)order[line];
        size_t begin = here < lines ? (size_t)starts[here] : 0, length = here < lines ? (size_t)starts[here + 1] - begin : 0;
        ends[line] = (int64_t)at;
        good = here < lines && length <= room - at;
        if (!good)
            break;
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
    Py_buffer views[MOST_BUFFERS];
    (void)self;
    if (!counted(count, 6) || take_all(args, views, sizes, 6, 5) < 0)
        return NULL;
    const float *labels = views[0].buf, *values = views[3].buf, *weights = views[4].buf;
    const int64_t *starts = views[1].buf;
    const uint32_t *places = views[2].buf;
    float *gradient = views[5].buf;
    size_t lines = items(&views[0]), keys = items(&views[4]);

    int good = items(&views[1]) == lines + 1 && keys && items(&views[5]) == keys &&
               in_order(starts, lines, items(&views[2])) && below(places, items(&views[2]), keys) &&
               (!values || items(&views[3]) >= (size_t)starts[lines]);
    if (!good)
        return give_back(views, 6, NULL);
    float share = -1.0f / (float)(lines ? lines : 1);
    double loss = 0.0, whole = 0.0;
    memset(gradient, 0, keys * sizeof(float));
    for (size_t line = 0; line < lines; line++) {
        size_t begin = (size_t)starts[line], length = (size_t)starts[line + 1] - begin;
        const float *scale = values ? values + begin : NULL;
        float sign = 2.0f * labels[line] - 1.0f;
        float right = (dot(places + begin, scale, length, weights) + weights[keys - 1]) * sign;
        float small = expf(-fabsf(right)); /* never above 1, so nothing overflows */
        loss += (double)(log1pf(small) - fminf(right, 0.0f));
        float residual = (right >= 0.0f ? small : 1.0f) / (small + 1.0f) * (sign * share);
        whole += (double)residual;
        for (size_t at = 0; at < length; at++)
            gradient[places[begin + at]] += scale ? residual * scale[at] : residual;
    }
    gradient[keys - 1] += (float)whole;
    return give_back(views, 6, PyFloat_FromDouble(loss));
}

typedef struct {
    PyObject_HEAD
    size_t features, words;
    uint64_t *bits;    /* one for each feature; all 0 between calls */
    uint8_t *touched;  /* one for each word of `bits`; all 0 between calls; room for whole words of 8 */
    uint32_t *numbers; /* one for each feature */
} Marks;

static void free_marks(PyObject *self)
{
    Marks *marks = (Marks *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(marks->bits);
    PyMem_Free(marks->touched);
    PyMem_Free(marks->numbers);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *new_marks(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    Py_ssize_t features;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "n", &features))
        return NULL;
    if (features < 0 || features > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a number of features is wanted");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *self = allocate(type, 0);
    if (!self)
        return NULL;
    Marks *marks = (Marks *)self;
    marks->features = (size_t)features;
    marks->words = marks->features / 64 + 1;
    marks->bits = PyMem_Calloc(marks->words, 8);
    marks->touched = PyMem_Calloc(marks->words / 8 + 1, 8);
    marks->numbers = PyMem_Malloc((marks->features + 1) * sizeof(uint32_t));
    if (marks->bits && marks->touched && marks->numbers)
        return self;
    Py_DECREF(self);
    return PyErr_NoMemory();
}

static int lowest(uint64_t word)
{
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int at = 0;
    for (; !(word & 1); word >>= 1)
        at++;
    return at;
#endif
}

/* Number the marked features in ascending order, and take the marks away. */
static size_t number(Marks *marks, uint32_t *keys)
{
    size_t found = 0;
    for (size_t eight = 0; eight < marks->words; eight += 8) {
        uint64_t any;
        memcpy(&any, marks->touched + eight, 8);
        if (!any)
            continue;
        for (size_t word = eight; word < eight + 8 && word < marks->words; word++) {
            for (uint64_t left = marks->bits[word]; left; left &= left - 1) {
                uint32_t feature = (uint32_t)(word * 64 + (size_t)lowest(left));
                marks->numbers[feature] = (uint32_t)found;
                keys[found++] = feature;
            }
            marks->bits[word] = 0;
        }
        memset(marks->touched + eight, 0, 8);
    }
    return found;
}

/* distinct(indices, keys, places) -> how many there are; keys has room for each index to be another */
static PyObject *distinct(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static const uint8_t sizes[] = {4, 4, 4};
    Marks *marks = (Marks *)self;
    Py_buffer views[MOST_BUFFERS];
    if (!counted(count, 3) || take_all(args, views, sizes, 3, 1) < 0)
        return NULL;
    const uint32_t *indices = views[0].buf;
    uint32_t *keys = views[1].buf, *places = views[2].buf;
    size_t length = items(&views[0]);
    if (items(&views[1]) < length || items(&views[2]) != length || !below(indices, length, marks->features))
        return give_back(views, 3, NULL);
    for (size_t at = 0; at < length; at++) {
        size_t word = indices[at] / 64;
        marks->bits[word] |= (uint64_t)1 << indices[at] % 64;
        marks->touched[word] = 1;
    }
    size_t found = number(marks, keys);
    for (size_t at = 0; at < length; at++)
        places[at] = marks->numbers[indices[at]];
    return give_back(views, 3, PyLong_FromSize_t(found));
}

static PyMethodDef methods[] = {
    {"distinct", (PyCFunction)(void (*)(void))distinct, METH_FASTCALL,
     "Find the distinct indices, ascending, and the place of each index among them."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A mark for each feature, to find the distinct ones of many lists without sorting."},
    {Py_tp_new, new_marks},
    {Py_tp_dealloc, free_marks},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec marks_spec = {
    .name = "cirrus.native._kernels.Marks",
    .basicsize = sizeof(Marks),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
