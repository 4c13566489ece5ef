/* The distinct keys of a minibatch, by a mark for each feature. */
#include "native.h"
#include <string.h>

typedef struct {
    PyObject_HEAD
    size_t features, words;
    uint64_t *bits;    /* one for each feature; all 0 between calls */
    uint8_t *touched;  /* one for each word of `bits`; all 0 between calls */
    uint32_t *numbers; /* one for each feature */
} Marks;

static void free_marks(PyObject *self)
{
    Marks *marks = (Marks *)self;
    PyMem_Free(marks->bits);
    PyMem_Free(marks->touched);
    PyMem_Free(marks->numbers);
    release_object(self);
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
    marks->words = (marks->features / 4096 + 1) * 64;
    marks->bits = PyMem_Calloc(marks->words, 8);
    marks->touched = PyMem_Calloc(marks->words, 1);
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

/* Which of the 64 words at `touched`, a byte for each that is 0 or 1, are set: the product moves byte k to bit k. */
static uint64_t any_of(const uint8_t *touched)
{
    uint64_t mask = 0;
    for (int at = 0; at < 64; at += 8) {
        uint64_t eight = 0;
        for (int byte = 0; byte < 8; byte++)
            eight |= (uint64_t)touched[at + byte] << 8 * byte;
        mask |= (eight * 0x0102040810204080u >> 56) << at;
    }
    return mask;
}

/* Number the marked features in ascending order, and take the marks away. */
static size_t number(Marks *marks, uint32_t *keys)
{
    size_t found = 0;
    for (size_t begin = 0; begin < marks->words; begin += 64) {
        uint64_t words = any_of(marks->touched + begin);
        if (!words)
            continue;
        memset(marks->touched + begin, 0, 64);
        for (; words; words &= words - 1) {
            size_t word = begin + (size_t)lowest(words);
            for (uint64_t left = marks->bits[word]; left; left &= left - 1) {
                uint32_t feature = (uint32_t)(word * 64 + (size_t)lowest(left));
                marks->numbers[feature] = (uint32_t)found;
                keys[found++] = feature;
            }
            marks->bits[word] = 0;
        }
    }
    return found;
}

/* The distinct ones of `count` indices, all of which are features, and the place of each; returns how many they are. */
static size_t distinct_of(Marks *marks, const uint32_t *wanted, size_t count, uint32_t *keys, uint32_t *place)
{
    for (size_t at = 0; at < count; at++) {
        size_t word = wanted[at] / 64;
        marks->bits[word] |= (uint64_t)1 << wanted[at] % 64;
        marks->touched[word] = 1;
    }
    size_t found = number(marks, keys);
    for (size_t at = 0; at < count; at++)
        place[at] = marks->numbers[wanted[at]];
    return found;
}

static int are_features(const Marks *marks, const View *indices)
{
    Rows rows = {.narrow = indices->start, .count = indices->count};
    return !rows.count || largest_row(&rows) < marks->features;
}

enum { INDICES, CUTS, KEYS, PLACES, ENDS, LISTS };

/* Of each minibatch: its distinct keys, then the last one; where they end. The lists' bounds are checked here. */
static int split(Marks *marks, const View *lists, uint32_t last)
{
    const uint32_t *indices = lists[INDICES].start;
    const int64_t *cuts = lists[CUTS].start;
    uint32_t *keys = lists[KEYS].start, *places = lists[PLACES].start;
    int64_t *ends = lists[ENDS].start;
    size_t count = lists[ENDS].count, all = lists[INDICES].count, used = 0;
    if (lists[CUTS].count != count + 1 || lists[KEYS].count < all + count || lists[PLACES].count != all ||
        cuts[0] != 0 || (size_t)cuts[count] != all || !are_features(marks, &lists[INDICES]))
        return 0;
    for (size_t at = 0; at < count; at++)
        if (cuts[at] > cuts[at + 1])
            return 0;
    for (size_t at = 0; at < count; at++) {
        size_t begin = (size_t)cuts[at], length = (size_t)cuts[at + 1] - begin;
        used += distinct_of(marks, indices + begin, length, keys + used, places + begin);
        keys[used++] = last;
        ends[at] = (int64_t)used;
    }
    return 1;
}

/* minibatches(indices, cuts, last, keys, places, ends) */
static PyObject *minibatches(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static const uint8_t given[LISTS] = {0, 1, 3, 4, 5}, sizes[LISTS] = {4, 8, 4, 4, 8};
    View lists[LISTS];
    int held = 0, good = 0;
    if (!counted(count, 6))
        return NULL;
    uint64_t last = whole(args[2], UINT32_MAX);
    if (PyErr_Occurred())
        return NULL;
    while (held < LISTS && take(args[given[held]], &lists[held], sizes[held], held < KEYS ? READING : WRITING) == 0)
        held++;
    if (held == LISTS && !(good = split((Marks *)self, lists, (uint32_t)last)))
        PyErr_SetString(PyExc_ValueError, "lists that do not fit each other, or an index beyond the features");
    while (held--)
        leave(&lists[held]);
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyObject *found_in(Marks *marks, const View *indices, const View *keys, const View *places)
{
    if (keys->count < indices->count || places->count != indices->count || !are_features(marks, indices)) {
        PyErr_SetString(PyExc_ValueError, "lists that do not fit each other, or an index beyond the features");
        return NULL;
    }
    return PyLong_FromSize_t(distinct_of(marks, indices->start, indices->count, keys->start, places->start));
}

/* distinct(indices, keys, places) -> how many there are; keys has room for each index to be another */
static PyObject *distinct(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    View indices, keys, places;
    PyObject *found = NULL;
    if (!counted(count, 3) || take(args[0], &indices, 4, READING) < 0)
        return NULL;
    if (take(args[1], &keys, 4, WRITING) == 0) {
        if (take(args[2], &places, 4, WRITING) == 0) {
            found = found_in((Marks *)self, &indices, &keys, &places);
            leave(&places);
        }
        leave(&keys);
    }
    leave(&indices);
    return found;
}

static PyMethodDef methods[] = {
    METHOD("distinct", distinct, "Find the distinct indices, ascending, and the place of each index among them."),
    METHOD("minibatches", minibatches, "The same for each of several minibatches, whose keys end with a last one."),
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
