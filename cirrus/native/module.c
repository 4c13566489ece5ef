/* The module cirrus.native._kernels, and how its functions get at the memory of arrays. */
#include "native.h"

int take_buffer(PyObject *object, Py_buffer *view, size_t itemsize, int flags)
{
    if (PyObject_GetBuffer(object, view, flags | PyBUF_ND) < 0)
        return -1;
    if ((size_t)view->itemsize == itemsize)
        return 0;
    PyBuffer_Release(view);
    PyErr_Format(PyExc_TypeError, "items of %zu bytes are wanted", itemsize);
    return -1;
}

int take_rows(PyObject *object, Py_buffer *view, Rows *rows)
{
    if (PyObject_GetBuffer(object, view, READ | PyBUF_ND) < 0)
        return -1;
    if (view->itemsize != 4 && view->itemsize != 8) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_TypeError, "row numbers of 4 or 8 bytes are wanted");
        return -1;
    }
    rows->narrow = view->itemsize == 4 ? view->buf : NULL;
    rows->wide = view->buf;
    rows->count = items(view);
    return 0;
}

size_t largest_row(const Rows *rows)
{
    if (rows->narrow) {
        uint32_t largest = 0;
        for (size_t at = 0; at < rows->count; at++)
            largest = rows->narrow[at] > largest ? rows->narrow[at] : largest;
        return largest;
    }
    uint64_t largest = 0;
    for (size_t at = 0; at < rows->count; at++)
        largest = (uint64_t)rows->wide[at] > largest ? (uint64_t)rows->wide[at] : largest;
    return largest;
}

int counted(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments are wanted, not %zd", wanted, given);
    return 0;
}

#define FUNCTION(name, function, text) {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, text}

static PyMethodDef functions[] = {
    FUNCTION("ascends", ascends, "Whether uint32 keys ascend strictly and stay below a limit."),
    FUNCTION("sane", sane, "Whether no float32 number is NaN or larger in magnitude than a limit."),
    FUNCTION("take_lines", take_lines, "Copy lines of a compressed sparse row matrix in another order."),
    FUNCTION("logistic", logistic, "Log loss of a minibatch and its mean gradient."),
    {NULL, NULL, 0, NULL},
};

static PyMethodDef where_the_processor_can[] = {
    FUNCTION("crc32", checksum, "The CRC-32 of a buffer, as zlib's, beginning with a value."),
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    int failed = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return failed;
}

static int fill(PyObject *module)
{
    if (has_crc32() && PyModule_AddFunctions(module, where_the_processor_can) < 0)
        return -1;
    if (add_type(module, "part", &part_spec) < 0)
        return -1;
    return add_type(module, "marks", &marks_spec);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "The loops that a training step spends its time in; numpy's twins of them are in cirrus.learn.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
