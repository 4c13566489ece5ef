/* The type Part: a shard's part of a table, whose arrays are numpy's, and what may be done to its rows. */
#include "rules.h"
#include <math.h>

#define ARRAYS 5
#define SETTINGS 7
#define LEAST_KEPT 1e-30

typedef struct {
    PyObject_HEAD
    Table table;
    Py_buffer held[ARRAYS];
    int holds;
    float *scratch; /* three lists of `room` numbers */
    size_t room;
} Part;

static void free_part(PyObject *self)
{
    Part *part = (Part *)self;
    PyTypeObject *type = Py_TYPE(self);
    while (part->holds)
        PyBuffer_Release(&part->held[--part->holds]);
    PyMem_Free(part->scratch);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* Hold the memory of an array with `width` numbers of 4 bytes for each row; NULL with an exception. */
static Py_buffer *hold(Part *part, PyObject *array, size_t width)
{
    Py_buffer *view = &part->held[part->holds];
    if (take_buffer(array, view, 4, WRITE) < 0)
        return NULL;
    part->holds++;
    if (part->holds == 1)
        part->table.limit = items(view) / width;
    if (items(view) == part->table.limit * width)
        return view;
    PyErr_SetString(PyExc_ValueError, "arrays of different numbers of rows");
    return NULL;
}

static int hold_all(Part *part, PyObject *arrays, PyObject *touched)
{
    static const Py_ssize_t wanted[KINDS] = {1, 2, 2, 2, 4, 2};
    Py_ssize_t count = PyTuple_Size(arrays);
    if (count != wanted[part->table.kind]) {
        PyErr_SetString(PyExc_ValueError, "another number of arrays than the rule has");
        return -1;
    }
    for (Py_ssize_t at = 0; at < count; at++)
        if (!hold(part, PyTuple_GetItem(arrays, at), at < 3 ? part->table.width : 1))
            return -1;
    part->table.weights = part->held[0].buf;
    part->table.state[0] = part->held[1].buf;
    part->table.state[1] = part->held[2].buf;
    part->table.count = part->held[3].buf;
    if (touched == Py_None)
        return 0;
    Py_buffer *view = hold(part, touched, 1);
    part->table.touched = view ? view->buf : NULL;
    return view ? 0 : -1;
}

static float log_or_nothing(double beta)
{
    return beta > 0.0 ? (float)log(beta) : -INFINITY;
}

static void settings_of(Table *table, const double *given)
{
    double rate = given[0], first = given[1], second = given[2];
    table->rate = (float)rate;
    table->total = (float)(rate / (1.0 - first));
    table->beta[0] = (float)first, table->beta[1] = (float)second;
    table->rest[0] = (float)(1.0 - first), table->rest[1] = (float)(1.0 - second);
    table->log_beta[0] = log_or_nothing(first), table->log_beta[1] = log_or_nothing(second);
    table->epsilon = (float)given[3];
    table->l2 = given[4], table->l1 = given[5];
    table->decay = (float)log(fmax(1.0 - rate * table->l2, LEAST_KEPT));
    table->free = (int64_t)given[6];
}

/* Part(kind, width, settings, arrays, touched); settings: rate, two betas, epsilon, l2, l1, the free row or -1 */
static PyObject *new_part(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    int kind;
    Py_ssize_t width;
    double given[SETTINGS];
    PyObject *arrays, *touched;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "in(ddddddd)O!O", &kind, &width, &given[0], &given[1], &given[2], &given[3], &given[4],
                          &given[5], &given[6], &PyTuple_Type, &arrays, &touched))
        return NULL;
    if (kind < 0 || kind >= KINDS || width < 1) {
        PyErr_SetString(PyExc_ValueError, "no such rule, or a table without columns");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *self = allocate(type, 0); /* all zeros */
    if (!self)
        return NULL;
    Part *part = (Part *)self;
    part->table.kind = kind;
    part->table.width = (size_t)width;
    settings_of(&part->table, given);
    if (hold_all(part, arrays, touched) == 0)
        return self;
    Py_DECREF(self);
    return NULL;
}

static int in_range(const Table *table, const Rows *rows, const Py_buffer *list)
{
    if (items(list) != rows->count * table->width) {
        PyErr_SetString(PyExc_ValueError, "a list of another shape than its rows");
        return 0;
    }
    if (rows->count && largest_row(rows) >= table->limit) {
        PyErr_SetString(PyExc_IndexError, "a row beyond the table");
        return 0;
    }
    return 1;
}

static PyObject *fill(PyObject *self, PyObject *const *args, Py_ssize_t count, int pays)
{
    Table *table = &((Part *)self)->table;
    Py_buffer local, list;
    Rows rows;
    if (!counted(count, 3))
        return NULL;
    long long clock = PyLong_AsLongLong(args[2]);
    if ((clock == -1 && PyErr_Occurred()) || take_rows(args[0], &local, &rows) < 0)
        return NULL;
    if (take_buffer(args[1], &list, 4, WRITE) < 0) {
        PyBuffer_Release(&local);
        return NULL;
    }
    int good = in_range(table, &rows, &list);
    if (good) {
        values(table, &rows, 0, rows.count, clock, list.buf);
        if (pays && table->touched) {
            store(table, table->weights, &rows, 0, rows.count, list.buf);
            paid(table, &rows, 0, rows.count, clock);
        }
    }
    PyBuffer_Release(&list);
    PyBuffer_Release(&local);
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyObject *pull_rows(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return fill(self, args, count, 1);
}

static PyObject *read_rows(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return fill(self, args, count, 0);
}

static int scratch_for(Part *part, size_t wanted, Push *push)
{
    if (wanted > part->room) {
        PyMem_Free(part->scratch);
        part->room = 0;
        part->scratch = PyMem_Malloc(6 * wanted * sizeof(float));
        if (!part->scratch) {
            PyErr_NoMemory();
            return 0;
        }
        part->room = 2 * wanted;
    }
    push->weights = part->scratch;
    push->step = part->scratch + part->room;
    push->more = part->scratch + 2 * part->room;
    return 1;
}

/* The buffers of a push are here: check that they fit each other, and apply it. */
static int pushed(Part *part, const Rows *rows, const Py_buffer *gradient, const Py_buffer *then, int64_t clock)
{
    Push push = {.gradient = gradient->buf, .pulled = then ? then->buf : NULL};
    if (!in_range(&part->table, rows, gradient) || (then && !in_range(&part->table, rows, then)))
        return 0;
    if (!scratch_for(part, items(gradient), &push))
        return 0;
    apply(&part->table, rows, clock, &push);
    return 1;
}

static PyObject *push_rows(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer local, gradient, then;
    Rows rows;
    int good = 0;
    if (!counted(count, 4))
        return NULL;
    long long clock = PyLong_AsLongLong(args[3]);
    if ((clock == -1 && PyErr_Occurred()) || take_rows(args[0], &local, &rows) < 0)
        return NULL;
    if (take_buffer(args[1], &gradient, 4, READ) == 0) {
        if (args[2] == Py_None) {
            good = pushed((Part *)self, &rows, &gradient, NULL, clock);
        } else if (take_buffer(args[2], &then, 4, READ) == 0) {
            good = pushed((Part *)self, &rows, &gradient, &then, clock);
            PyBuffer_Release(&then);
        }
        PyBuffer_Release(&gradient);
    }
    PyBuffer_Release(&local);
    return good ? Py_NewRef(Py_None) : NULL;
}

#define METHOD(name, function, text) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, text}

static PyMethodDef methods[] = {
    METHOD("pull", pull_rows, "Write the rows' values to a list, after settling what they owe in penalties."),
    METHOD("read", read_rows, "Write the rows' values to a list, and nothing else."),
    METHOD("push", push_rows, "Apply a gradient, damped by what has moved since the pull where that is given."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A shard's part of a table: its rows are pulled, read and pushed to."},
    {Py_tp_new, new_part},
    {Py_tp_dealloc, free_part},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec part_spec = {
    .name = "cirrus.native._kernels.Part",
    .basicsize = sizeof(Part),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
