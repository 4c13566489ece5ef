/* The arithmetic of the optimisers on the rows of one push; cirrus/learn/optimizers.py says the same with numpy. */
#ifndef CIRRUS_RULES_H
#define CIRRUS_RULES_H

#include "native.h"

enum { SGD, MOMENTUM, NESTEROV, ADAGRAD, ADAM, FTRL, KINDS };

#define KNOWN 2048

/* A shard's part of a table. What `state` means depends on the rule; the weights of FTRL follow from its state. */
typedef struct {
    int kind;
    size_t width;
    size_t limit;     /* rows that there are */
    int64_t free;     /* the row that no penalty acts on, or -1 */
    float rate;
    float total;      /* what a gradient moves in the end, through the velocity too: rate / (1 - momentum) */
    float beta[2];    /* momentum, or beta; Adam's two */
    float rest[2];    /* 1 - beta */
    float log_beta[2];
    float epsilon;
    float (*known)[KNOWN]; /* Adam's two corrections for rows of up to so many updates */
    double l2, l1;
    float decay;      /* logarithm of what one step's L2 penalty leaves, where all weights have one rate */
    float *weights;   /* z, for FTRL */
    float *state[2];  /* velocity; squares; first and second moments; n */
    int32_t *count;   /* updates of each row, for Adam */
    int32_t *touched; /* the clock up to which each row has paid its penalties; NULL where there are none */
} Table;

/* One push: `step` is what the gradient alone would move, `more` what a rule keeps from `prepare` to `finish`. */
typedef struct {
    const float *gradient;
    const float *pulled; /* or NULL: the step is not damped */
    float *weights, *step, *more;
    double along, own;
    float scale;
} Push;

/* Work out Adam's corrections. */
void know(Table *table);

/* Write the current values of rows `from` up to `to` of the list to `out`, which begins with the list. */
void values(const Table *table, const Rows *rows, size_t from, size_t to, int64_t clock, float *out);

/* Apply a push to the rows of the list, none of which is beyond the table. */
void apply(Table *table, const Rows *rows, int64_t clock, Push *push);

/* Copy rows of a matrix from where they are to a list, and back. */
void fetch(const Table *table, const float *matrix, const Rows *rows, size_t from, size_t to, float *out);
void store(const Table *table, float *matrix, const Rows *rows, size_t from, size_t to, const float *list);

/* Note that the rows' penalties are paid. */
void paid(Table *table, const Rows *rows, size_t from, size_t to, int64_t clock);

#endif
