/* Frames of a step about one table, read and written in one go. cirrus/wire/frames.py says what they look like, reads
   and writes all others, and says what is wrong with those that this file returns None for. */
#include "native.h"
#include <string.h>

#define MAGIC 0xC1AA
#define VERSION 1
#define STEP 2
#define ROWS 66
#define PUSHES 1
#define PULLS 2
#define STEP_HEAD 36 /* bytes up to the gradients, with one section */
#define MOST_NUMBERS ((uint64_t)1 << 30)

static uint64_t get(const uint8_t *bytes, int size)
{
    uint64_t number = 0;
    for (int at = 0; at < size; at++)
        number |= (uint64_t)bytes[at] << 8 * at;
    return number;
}

static uint8_t *put(uint8_t *bytes, int size, uint64_t number)
{
    for (int at = 0; at < size; at++)
        bytes[at] = (uint8_t)(number >> 8 * at);
    return bytes + size;
}

/* The frame of that kind at `begin`, with `sections` fields at `at`: its length, or 0 where it is not one, whole. */
static size_t frame_of(const uint8_t *frame, size_t room, uint64_t kind, size_t head)
{
    if (room < head)
        return 0;
    uint64_t length = get(frame + 4, 4);
    if (get(frame + 8, 4) != (MAGIC | VERSION << 16 | kind << 24) || length < head || length & 7 || length > room)
        return 0;
    return crc32_of(frame + 4, length - 4, 0) == get(frame, 4) ? length : 0;
}

/* The bytes of a message from `begin` on; NULL where there are none, with an exception if an argument is wrong. */
static uint8_t *from(PyObject *message, PyObject *begin, size_t *room)
{
    uint64_t at = whole(begin, PY_SSIZE_T_MAX);
    Py_ssize_t size = PyErr_Occurred() ? -1 : PyBytes_Size(message);
    if (size < 0 || at > (uint64_t)size)
        return NULL;
    *room = (size_t)size - at;
    return (uint8_t *)PyBytes_AsString(message) + at;
}

static PyObject *none_unless_error(void)
{
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *alone(PyObject *item)
{
    PyObject *tuple = item ? PyTuple_Pack(1, item) : NULL;
    Py_XDECREF(item);
    return tuple;
}

/* An instance of a named tuple with those fields, each of which is handed over; NULL with an exception. */
static PyObject *named(PyObject *type, PyObject **fields, int count)
{
    PyObject *plain = PyTuple_New(count);
    int good = plain != NULL;
    for (int at = 0; at < count; at++) {
        good = good && fields[at];
        if (plain)
            PyTuple_SetItem(plain, at, fields[at]);
        else
            Py_XDECREF(fields[at]);
    }
    newfunc make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *arguments = good ? PyTuple_Pack(1, plain) : NULL;
    PyObject *made = arguments ? make((PyTypeObject *)type, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    Py_XDECREF(plain);
    return made;
}

/* read_step(Step, message, begin) -> (end, Step(step, (table,), (gradient,) or None, (keys,) or None)), or None */
PyObject *read_step(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    size_t room, length;
    (void)self;
    PyObject *message = count == 3 ? args[1] : NULL;
    uint8_t *frame = counted(count, 3) ? from(message, args[2], &room) : NULL;
    if (!frame || !(length = frame_of(frame, room, STEP, STEP_HEAD)))
        return none_unless_error();
    uint64_t step = get(frame + 12, 4), flags = get(frame + 16, 2), width = get(frame + 26, 2);
    uint64_t pushed = get(frame + 28, 4), pulled = get(frame + 32, 4), size = 4 * (width * pushed + pulled);
    int pushes = flags & PUSHES, pulls = flags & PULLS;
    if (step > MOST_STEP || !flags || flags > (PUSHES | PULLS) || get(frame + 18, 2) != 1 || get(frame + 20, 4) ||
        (pushes ? !width : width || pushed) || (!pulls && pulled) || length - STEP_HEAD < size ||
        length - STEP_HEAD - size > 7)
        return Py_NewRef(Py_None);
    uint8_t *gradient = frame + STEP_HEAD, *keys = gradient + 4 * width * pushed;
    PyObject *fields[] = {
        PyLong_FromUnsignedLongLong(step),
        alone(PyLong_FromUnsignedLongLong(get(frame + 24, 2))),
        pushes ? alone(new_span(message, gradient, pushed, width, "f", READING)) : Py_NewRef(Py_None),
        pulls ? alone(new_span(message, keys, pulled, 0, "I", READING)) : Py_NewRef(Py_None),
    };
    PyObject *found = named(args[0], fields, 4);
    size_t end = (size_t)(frame - (uint8_t *)PyBytes_AsString(message)) + length;
    PyObject *both[] = {PyLong_FromSize_t(end), found}, *pair = found && both[0] ? PyTuple_Pack(2, both[0], found) : NULL;
    Py_XDECREF(both[0]);
    Py_XDECREF(found);
    return pair;
}

static void begin_frame(uint8_t *frame, size_t length, uint64_t kind)
{
    put(put(frame + 4, 4, length), 4, MAGIC | VERSION << 16 | kind << 24);
}

static void end_frame(uint8_t *frame, size_t length)
{
    put(frame, 4, crc32_of(frame + 4, length - 4, 0));
}

static PyObject *step_of(const uint64_t *fields, const View *gradient, const View *keys)
{
    uint64_t step = fields[0], table = fields[1], width = gradient->start ? fields[2] : 0;
    if (gradient->start && (!width || gradient->count % width)) {
        PyErr_SetString(PyExc_ValueError, "a gradient of another width");
        return NULL;
    }
    size_t used = STEP_HEAD + 4 * (gradient->count + keys->count), length = (used + 7) & ~(size_t)7;
    PyObject *message = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (!message)
        return NULL;
    uint8_t *frame = (uint8_t *)PyBytes_AsString(message);
    begin_frame(frame, length, STEP);
    uint8_t *at = put(frame + 12, 4, step);
    at = put(at, 2, (gradient->start ? PUSHES : 0) | (keys->start ? PULLS : 0));
    at = put(put(put(at, 2, 1), 4, 0), 2, table);
    at = put(put(put(at, 2, width), 4, width ? gradient->count / width : 0), 4, keys->count);
    if (gradient->count)
        memcpy(at, gradient->start, 4 * gradient->count);
    if (keys->count)
        memcpy(at + 4 * gradient->count, keys->start, 4 * keys->count);
    memset(frame + used, 0, length - used);
    end_frame(frame, length);
    return message;
}

/* write_step(step, table, width, gradient or None, keys or None) -> bytes */
PyObject *write_step(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    View gradient, keys;
    PyObject *message = NULL;
    (void)self;
    if (!counted(count, 5))
        return NULL;
    uint64_t fields[] = {whole(args[0], MOST_STEP), whole(args[1], 0xFFFF), whole(args[2], 0xFFFF)};
    if (PyErr_Occurred() || take_or_none(args[3], &gradient, 4, READING) < 0)
        return NULL;
    if (take_or_none(args[4], &keys, 4, READING) == 0) {
        message = step_of(fields, &gradient, &keys);
        leave(&keys);
    }
    leave(&gradient);
    return message;
}

/* The bytes of an answer about one table, whose rows and seal are missing, and where they are. */
PyObject *new_answer(uint64_t table, uint64_t width, uint64_t rows, uint8_t **frame, size_t *length)
{
    size_t used = ROWS_HEAD + 4 * width * rows;
    *length = (used + 7) & ~(size_t)7;
    PyObject *message = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)*length);
    if (!message)
        return NULL;
    *frame = (uint8_t *)PyBytes_AsString(message);
    begin_frame(*frame, *length, ROWS);
    put(put(put(put(put(*frame + 26, 2, 1), 4, 0), 2, table), 2, width), 4, rows);
    memset(*frame + used, 0, *length - used);
    return message;
}

void seal(uint8_t *frame, size_t length, uint64_t status, uint64_t step, uint64_t clock)
{
    put(put(put(frame + 12, 4, step), 8, clock), 2, status);
    end_frame(frame, length);
}

/* read_answer(message, begin) -> (end, status, step, clock, rows, width, where they begin), or None */
PyObject *read_answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    size_t room, length;
    (void)self;
    uint8_t *frame = counted(count, 2) ? from(args[0], args[1], &room) : NULL;
    if (!frame || !(length = frame_of(frame, room, ROWS, ROWS_HEAD)))
        return none_unless_error();
    uint64_t step = get(frame + 12, 4), clock = get(frame + 16, 8), status = get(frame + 24, 2);
    uint64_t width = get(frame + 34, 2), rows = get(frame + 36, 4), size = 4 * width * rows;
    if (get(frame + 26, 2) != 1 || get(frame + 28, 4) || status > LAST_STATUS || length - ROWS_HEAD < size ||
        length - ROWS_HEAD - size > 7)
        return Py_NewRef(Py_None);
    unsigned long long begin = (unsigned long long)(frame - (uint8_t *)PyBytes_AsString(args[0]));
    return Py_BuildValue("KiKKKKK", begin + length, (int)status, (unsigned long long)step, (unsigned long long)clock,
                         (unsigned long long)rows, (unsigned long long)width, begin + ROWS_HEAD);
}
