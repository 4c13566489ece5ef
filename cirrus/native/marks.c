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

static PyObject *found_in(Marks *marks, const View *indices, const View *keys, const View *places)
{
    const uint32_t *wanted = indices->start;
    uint32_t *place = places->start;
    Rows rows = {.narrow = wanted, .count = indices->count};
    if (keys->count < rows.count || places->count != rows.count ||
        (rows.count && largest_row(&rows) >= marks->features)) {
        PyErr_SetString(PyExc_ValueError, "lists that do not fit each other, or an index beyond the features");
        return NULL;
    }
    for (size_t at = 0; at < rows.count; at++) {
        size_t word = wanted[at] / 64;
        marks->bits[word] |= (uint64_t)1 << wanted[at] % 64;
        marks->touched[word] = 1;
    }
    size_t found = number(marks, keys->start);
    for (size_t at = 0; at < rows.count; at++)
        place[at] = marks->numbers[wanted[at]];
    return PyLong_FromSize_t(found);
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
