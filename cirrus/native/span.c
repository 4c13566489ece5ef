/* A span: numbers that lie in another object's memory, as numpy and the kernels here see them, at a tenth of the price
   of an array. Frames are read into spans. */
#include "native.h"

typedef struct {
    PyObject_HEAD
    PyObject *owner;
    void *start;
    const char *format;
    Py_ssize_t shape[2], strides[2];
    int columns, purpose;
} Span;

PyTypeObject *span_type;

PyObject *new_span(PyObject *owner, void *start, size_t rows, size_t width, const char *format, int purpose)
{
    Span *span = PyObject_New(Span, span_type);
    if (!span)
        return NULL;
    span->owner = Py_NewRef(owner);
    span->start = start;
    span->format = format;
    span->columns = width > 0;
    span->purpose = purpose;
    span->shape[0] = (Py_ssize_t)rows, span->shape[1] = (Py_ssize_t)width;
    span->strides[0] = (Py_ssize_t)(width ? 4 * width : 4), span->strides[1] = 4;
    return (PyObject *)span;
}

int is_matrix(PyObject *object, size_t rows, size_t width)
{
    Span *span = (Span *)object;
    return Py_TYPE(object) == span_type && span->columns && (size_t)span->shape[0] == rows &&
           (size_t)span->shape[1] == width;
}

static void free_span(PyObject *self)
{
    Py_DECREF(((Span *)self)->owner);
    release_object(self);
}

static size_t numbers(const Span *span)
{
    return (size_t)(span->columns ? span->shape[0] * span->shape[1] : span->shape[0]);
}

static int export(PyObject *self, Py_buffer *view, int flags)
{
    Span *span = (Span *)self;
    if ((flags & PyBUF_WRITABLE) && span->purpose != WRITING) {
        PyErr_SetString(PyExc_BufferError, "a span of what was received");
        return -1;
    }
    *view = (Py_buffer){
        .buf = span->start,
        .obj = Py_NewRef(self),
        .len = (Py_ssize_t)(4 * numbers(span)),
        .itemsize = 4,
        .readonly = span->purpose != WRITING,
        .ndim = span->columns ? 2 : 1,
        .format = flags & PyBUF_FORMAT ? (char *)span->format : NULL,
        .shape = flags & PyBUF_ND ? span->shape : NULL,
        .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? span->strides : NULL,
    };
    return 0;
}

static Py_ssize_t length(PyObject *self)
{
    return ((Span *)self)->shape[0];
}

static PyObject *shape(PyObject *self, void *nothing)
{
    Span *span = (Span *)self;
    (void)nothing;
    return span->columns ? Py_BuildValue("nn", span->shape[0], span->shape[1]) : Py_BuildValue("(n)", span->shape[0]);
}

static PyObject *nbytes(PyObject *self, void *nothing)
{
    (void)nothing;
    return PyLong_FromSize_t(4 * numbers((Span *)self));
}

int take_any(PyObject *object, View *view, int purpose)
{
    if (Py_TYPE(object) == span_type && ((Span *)object)->purpose >= purpose) {
        view->start = ((Span *)object)->start;
        view->count = numbers((Span *)object);
        view->size = 4;
        view->held = 0;
        return 0;
    }
    if (PyObject_GetBuffer(object, &view->buffer, PyBUF_ND | (purpose == WRITING ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    view->start = view->buffer.buf;
    view->size = (size_t)view->buffer.itemsize;
    view->count = (size_t)view->buffer.len / view->size;
    view->held = 1;
    return 0;
}

int take(PyObject *object, View *view, size_t size, int purpose)
{
    if (take_any(object, view, purpose) < 0)
        return -1;
    if (view->size == size)
        return 0;
    leave(view);
    PyErr_Format(PyExc_TypeError, "items of %zu bytes are wanted", size);
    return -1;
}

int take_or_none(PyObject *object, View *view, size_t size, int purpose)
{
    if (object != Py_None)
        return take(object, view, size, purpose);
    view->start = NULL;
    view->count = 0;
    view->held = 0;
    return 0;
}

void leave(View *view)
{
    if (view->held)
        PyBuffer_Release(&view->buffer);
    view->held = 0;
}

static PyGetSetDef members[] = {
    {"shape", shape, NULL, "Rows and columns, or the number of keys.", NULL},
    {"nbytes", nbytes, NULL, "The size in bytes.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Numbers in the memory of a message."},
    {Py_tp_dealloc, free_span},
    {Py_tp_getset, members},
    {Py_bf_getbuffer, export},
    {Py_sq_length, length},
    {0, NULL},
};

PyType_Spec span_spec = {
    .name = "cirrus.native._kernels.Span",
    .basicsize = sizeof(Span),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
