/* What a shard makes sure of before it touches a table, each in one pass that the compiler makes vectors of. */
#include "native.h"
#include <math.h>

/* ascends(keys, limit) -> bool */
PyObject *ascends(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    (void)self;
    if (!counted(count, 2))
        return NULL;
    size_t limit = PyLong_AsSize_t(args[1]);
    if (limit == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (take_buffer(args[0], &view, 4, READ) < 0)
        return NULL;
    const uint32_t *keys = view.buf;
    size_t length = items(&view);
    uint32_t wrong = 0;
    for (size_t at = 1; at < length; at++)
        wrong |= keys[at] <= keys[at - 1];
    int good = !wrong && (!length || keys[length - 1] < limit);
    PyBuffer_Release(&view);
    return PyBool_FromLong(good);
}

/* sane(numbers, most) -> bool */
PyObject *sane(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    (void)self;
    if (!counted(count, 2))
        return NULL;
    float most = (float)PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred() || take_buffer(args[0], &view, 4, READ) < 0)
        return NULL;
    const float *numbers = view.buf;
    size_t length = items(&view);
    uint32_t wrong = 0;
    for (size_t at = 0; at < length; at++)
        wrong |= !(fabsf(numbers[at]) <= most); /* so that NaN is wrong */
    PyBuffer_Release(&view);
    return PyBool_FromLong(!wrong);
}
