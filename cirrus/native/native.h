/* What the files of the compiled kernels share. Python's limited API of 3.11, so that one build serves all later ones. */
#ifndef CIRRUS_NATIVE_H
#define CIRRUS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stddef.h>
#include <stdint.h>

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

/* A C-contiguous buffer of items of `itemsize` bytes; -1 with an exception otherwise. Release it with PyBuffer_Release. */
int take_buffer(PyObject *object, Py_buffer *view, size_t itemsize, int flags);

/* The same of row numbers, which `rows` then describes. */
int take_rows(PyObject *object, Py_buffer *view, Rows *rows);

static inline size_t items(const Py_buffer *view)
{
    return (size_t)(view->len / view->itemsize);
}

#define READ PyBUF_SIMPLE
#define WRITE PyBUF_WRITABLE

/* Whether `given` arguments are `wanted`; an exception where they are not. */
int counted(Py_ssize_t given, Py_ssize_t wanted);

/* part.c */
extern PyType_Spec part_spec;

/* sparse.c */
extern PyType_Spec marks_spec;
PyObject *take_lines(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *logistic(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* checks.c */
PyObject *ascends(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *sane(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* crc32.c */
int has_crc32(void);
PyObject *checksum(PyObject *self, PyObject *const *args, Py_ssize_t count);

#endif
