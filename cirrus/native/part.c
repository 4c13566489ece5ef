/* The type Part: a shard's part of a table, whose arrays are numpy's, and what may be done to its rows. */
#include "rules.h"
#include <math.h>

#define ARRAYS 5
#define SETTINGS 7
#define LEAST_KEPT 1e-30

typedef struct {
    PyObject_HEAD
    Table table;
    View held[ARRAYS];
    int holds;
    float *scratch; /* three lists of `room` numbers */
    size_t room;
} Part;

static void free_part(PyObject *self)
{
    Part *part = (Part *)self;
    while (part->holds)
        leave(&part->held[--part->holds]);
    PyMem_Free(part->scratch);
    PyMem_Free(part->table.known);
    release_object(self);
}

/* Hold the memory of an array with `width` numbers of 4 bytes for each row; NULL with an exception. */
static View *hold(Part *part, PyObject *array, size_t width)
{
    View *view = &part->held[part->holds];
    if (take(array, view, 4, WRITING) < 0)
        return NULL;
    part->holds++;
    if (part->holds == 1)
        part->table.limit = view->count / width;
    if (view->count == part->table.limit * width)
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
    part->table.weights = part->held[0].start;
    part->table.state[0] = part->held[1].start;
    part->table.state[1] = part->held[2].start;
    part->table.count = part->held[3].start;
    if (touched == Py_None)
        return 0;
    View *view = hold(part, touched, 1);
    part->table.touched = view ? view->start : NULL;
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
    if (kind == ADAM) {
        part->table.known = PyMem_Calloc(2, sizeof(*part->table.known));
        if (!part->table.known) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
        know(&part->table);
    }
    if (hold_all(part, arrays, touched) == 0)
        return self;
    Py_DECREF(self);
    return NULL;
}

static int in_range(const Table *table, const Rows *rows, const View *list)
{
    if (list->count != rows->count * table->width) {
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
    View local, list;
    Rows rows;
    if (!counted(count, 3))
        return NULL;
    long long clock = PyLong_AsLongLong(args[2]);
    if ((clock == -1 && PyErr_Occurred()) || take_rows(args[0], &local, &rows) < 0)
        return NULL;
    if (take(args[1], &list, 4, WRITING) < 0) {
        leave(&local);
        return NULL;
    }
    int good = in_range(table, &rows, &list);
    if (good) {
        values(table, &rows, 0, rows.count, clock, list.start);
        if (pays && table->touched) {
            store(table, table->weights, &rows, 0, rows.count, list.start);
            paid(table, &rows, 0, rows.count, clock);
        }
    }
    leave(&list);
    leave(&local);
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

enum { FITS, SHAPE, INSANE, DISORDER, TOO_MANY };

/* fit(gradient or None, rows it is for, keys or None, most, room) -> 0, or what is wrong with a step for this part */
static PyObject *fit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Table *table = &((Part *)self)->table;
    View gradient, keys;
    if (!counted(count, 5))
        return NULL;
    uint64_t owed = whole(args[1], UINT32_MAX), room = whole(args[4], UINT32_MAX);
    float most = (float)PyFloat_AsDouble(args[3]);
    if (PyErr_Occurred() || take_or_none(args[0], &gradient, 4, READING) < 0)
        return NULL;
    if (take_or_none(args[2], &keys, 4, READING) < 0) {
        leave(&gradient);
        return NULL;
    }
    int wrong = FITS;
    if (gradient.start && !is_matrix(args[0], owed, table->width))
        wrong = SHAPE;
    else if (gradient.start && !is_sane(&gradient, most))
        wrong = INSANE;
    else if (keys.start && !is_ascending(&keys, table->limit))
        wrong = DISORDER;
    else if (keys.start && ROWS_HEAD + 32 + 4 * keys.count * table->width > room)
        wrong = TOO_MANY;
    leave(&keys);
    leave(&gradient);
    return PyLong_FromLong(wrong);
}

static PyObject *answered(Table *table, const Rows *rows, const uint64_t *fields)
{
    uint64_t number = fields[0], status = fields[1], step = fields[2], clock = fields[3];
    uint8_t *frame;
    size_t length;
    PyObject *message = new_answer(number, table->width, rows->count, &frame, &length);
    if (!message)
        return NULL;
    float *list = (float *)(frame + ROWS_HEAD);
    values(table, rows, 0, rows->count, (int64_t)clock, list);
    if (table->touched) {
        store(table, table->weights, rows, 0, rows->count, list);
        paid(table, rows, 0, rows->count, (int64_t)clock);
    }
    seal(frame, length, status, step, clock);
    PyObject *span = new_span(message, list, rows->count, table->width, "f", READING);
    PyObject *both = span ? PyTuple_Pack(2, message, span) : NULL;
    Py_XDECREF(span);
    Py_DECREF(message);
    return both;
}

/* answer(keys, table, status, step, clock) -> (a ROWS frame with the rows, and these as a span) */
static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Table *table = &((Part *)self)->table;
    View local;
    Rows rows;
    if (!counted(count, 5))
        return NULL;
    uint64_t fields[] = {
        whole(args[1], 0xFFFF), whole(args[2], LAST_STATUS), whole(args[3], MOST_STEP), whole(args[4], INT64_MAX),
    };
    if (PyErr_Occurred() || take_rows(args[0], &local, &rows) < 0)
        return NULL;
    PyObject *both = NULL;
    if (!rows.count || largest_row(&rows) < table->limit)
        both = answered(table, &rows, fields);
    else
        PyErr_SetString(PyExc_IndexError, "a row beyond the table");
    leave(&local);
    return both;
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

/* The lists of a push are here: check that they fit each other, and apply it. */
static int pushed(Part *part, const Rows *rows, const View *gradient, const View *then, int64_t clock)
{
    Push push = {.gradient = gradient->start, .pulled = then->start};
    if (!in_range(&part->table, rows, gradient) || (then->start && !in_range(&part->table, rows, then)))
        return 0;
    if (!scratch_for(part, gradient->count, &push))
        return 0;
    apply(&part->table, rows, clock, &push);
    return 1;
}

static PyObject *push_rows(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    View local, gradient, then;
    Rows rows;
    int good = 0;
    if (!counted(count, 4))
        return NULL;
    long long clock = PyLong_AsLongLong(args[3]);
    if ((clock == -1 && PyErr_Occurred()) || take_rows(args[0], &local, &rows) < 0)
        return NULL;
    if (take(args[1], &gradient, 4, READING) == 0) {
        if (take_or_none(args[2], &then, 4, READING) == 0) {
            good = pushed((Part *)self, &rows, &gradient, &then, clock);
            leave(&then);
        }
        leave(&gradient);
    }
    leave(&local);
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef methods[] = {
    METHOD("pull", pull_rows, "Write the rows' values to a list, after settling what they owe in penalties."),
    METHOD("read", read_rows, "Write the rows' values to a list, and nothing else."),
    METHOD("fit", fit, "What is wrong with a step for this part: 0 for nothing."),
    METHOD("answer", answer, "Pull rows into a frame."),
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
