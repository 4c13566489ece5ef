/* The module cirrus.native._kernels. */
#include "native.h"

int take_rows(PyObject *object, View *view, Rows *rows)
{
    if (take_any(object, view, READING) < 0)
        return -1;
    if (view->size != 4 && view->size != 8) {
        leave(view);
        PyErr_SetString(PyExc_TypeError, "row numbers of 4 or 8 bytes are wanted");
        return -1;
    }
    rows->narrow = view->size == 4 ? view->start : NULL;
    rows->wide = view->start;
    rows->count = view->count;
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

uint64_t whole(PyObject *object, uint64_t most)
{
    uint64_t number = PyLong_AsUnsignedLongLong(object);
    if (number > most && !PyErr_Occurred())
        PyErr_Format(PyExc_OverflowError, "a number up to %llu is wanted", (unsigned long long)most);
    return number;
}

void release_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef functions[] = {
    METHOD("ascends", ascends, "Whether uint32 keys ascend strictly and stay below a limit."),
    METHOD("sane", sane, "Whether no float32 number is NaN or larger in magnitude than a limit."),
    METHOD("take_lines", take_lines, "Copy lines of a compressed sparse row matrix in another order."),
    METHOD("logistic", logistic, "Log loss of a minibatch and its mean gradient."),
    METHOD("crc32", checksum, "The CRC-32 of a buffer, as zlib's, beginning with a value."),
    METHOD("read_step", read_step, "Read a STEP frame about one table; None where it is another frame, or broken."),
    METHOD("write_step", write_step, "The bytes of a STEP frame about one table."),
    METHOD("read_answer", read_answer, "Read a ROWS frame about one table; None where it is another, or broken."),
    {NULL, NULL, 0, NULL},
};

static PyObject *add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return type;
}

static int fill(PyObject *module)
{
    PyObject *part = add_type(module, "part", &part_spec), *marks = add_type(module, "marks", &marks_spec);
    PyObject *span = add_type(module, "span", &span_spec);
    int good = part && marks && span;
    span_type = (PyTypeObject *)span; /* kept for the life of the process */
    Py_XDECREF(part);
    Py_XDECREF(marks);
    prepare_crc32();
    return good ? 0 : -1;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "The loops that a training step spends its time in; their twins in Python are in cirrus.learn and wire.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
