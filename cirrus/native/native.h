/* What the files of the compiled kernels share. Python's limited API of 3.11, so that one build serves all later ones. */
#ifndef CIRRUS_NATIVE_H
#define CIRRUS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stddef.h>
#include <stdint.h>

/* The memory of an array or a span, held until `leave`. */
typedef struct {
    void *start; /* NULL for None, where that is allowed */
    size_t count, size; /* items, and bytes of each */
    int held;
    Py_buffer buffer;
} View;

enum { READING, WRITING };

/* The memory of C-contiguous items; -1 with an exception where the object has none. */
int take_any(PyObject *object, View *view, int purpose);

/* The same of items of `size` bytes. */
int take(PyObject *object, View *view, size_t size, int purpose);

/* The same, or None. */
int take_or_none(PyObject *object, View *view, size_t size, int purpose);

void leave(View *view);

/* Row numbers as they come: uint32 from the wire, 64-bit from numpy. */
typedef struct {
    const uint32_t *narrow; /* or NULL */
    const int64_t *wide;
    size_t count;
} Rows;

static inline size_t row(const Rows *rows, size_t at)
{
    return rows->narrow ? rows->narrow[at] : (size_t)rows->wide[at];
}

/* The largest row number. A negative one is very large. */
size_t largest_row(const Rows *rows);

int take_rows(PyObject *object, View *view, Rows *rows);

/* Whether `given` arguments are `wanted`; an exception where they are not. */
int counted(Py_ssize_t given, Py_ssize_t wanted);

/* A whole number from 0 to `most`; an exception, and more than `most`, where it is none. */
uint64_t whole(PyObject *object, uint64_t most);

typedef PyObject *Function(PyObject *self, PyObject *const *args, Py_ssize_t count);

#define METHOD(name, function, text) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, text}

/* Hand an object of a type made from a spec back to where it came from. */
void release_object(PyObject *self);

/* span.c: `width` columns of 4-byte numbers, or 0 for a list, in the memory of `owner`. `format` is f or I. */
extern PyType_Spec span_spec;
extern PyTypeObject *span_type;
PyObject *new_span(PyObject *owner, void *start, size_t rows, size_t width, const char *format, int purpose);
int is_matrix(PyObject *object, size_t rows, size_t width); /* whether it is a span of that shape */

extern PyType_Spec part_spec;  /* part.c */
extern PyType_Spec marks_spec; /* marks.c */
Function take_lines, logistic; /* sparse.c */

/* checks.c */
int is_sane(const View *numbers, float most);
int is_ascending(const View *keys, uint64_t limit);
Function ascends, sane;

/* wire.c */
PyObject *new_answer(uint64_t table, uint64_t width, uint64_t rows, uint8_t **frame, size_t *length);
void seal(uint8_t *frame, size_t length, uint64_t status, uint64_t step, uint64_t clock);
#define ROWS_HEAD 40 /* bytes of an answer about one table, up to its rows */
#define MOST_STEP 0x7FFFFFFF
#define LAST_STATUS 3
Function read_step, write_step, read_answer;

/* crc32.c */
void prepare_crc32(void);
uint32_t crc32_of(const uint8_t *bytes, size_t length, uint32_t value);
Function checksum;

#endif
