/* What a shard makes sure of before it touches a table, each in one pass that the compiler makes vectors of. */
#include "native.h"
#include <math.h>

int is_ascending(const View *view, uint64_t limit)
{
    const uint32_t *keys = view->start;
    uint32_t wrong = 0;
    for (size_t at = 1; at < view->count; at++)
        wrong |= keys[at] <= keys[at - 1];
    return !wrong && (!view->count || keys[view->count - 1] < limit);
}

int is_sane(const View *view, float most)
{
    const float *numbers = view->start;
    uint32_t wrong = 0;
    for (size_t at = 0; at < view->count; at++)
        wrong |= !(fabsf(numbers[at]) <= most); /* so that NaN is wrong */
    return !wrong;
}

/* ascends(keys, limit) -> bool */
PyObject *ascends(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    View view;
    (void)self;
    if (!counted(count, 2))
        return NULL;
    uint64_t limit = whole(args[1], (uint64_t)1 << 40);
    if (PyErr_Occurred() || take(args[0], &view, 4, READING) < 0)
        return NULL;
    int good = is_ascending(&view, limit);
    leave(&view);
    return PyBool_FromLong(good);
}

/* sane(numbers, most) -> bool */
PyObject *sane(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    View view;
    (void)self;
    if (!counted(count, 2))
        return NULL;
    float most = (float)PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred() || take(args[0], &view, 4, READING) < 0)
        return NULL;
    int good = is_sane(&view, most);
    leave(&view);
    return PyBool_FromLong(good);
}
