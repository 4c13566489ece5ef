/* CRC-32 as zlib's, 64 bytes at a time by carry-less multiplication: Gopal et al., "Fast CRC Computation for Generic
   Polynomials Using PCLMULQDQ Instruction", Intel, 2009. The constants are those for the reflected polynomial. */
#include "native.h"

#define SLICES 8

static uint32_t table[SLICES][256]; /* what a byte does that has so many behind it */
static int folds;

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define FOLDED 64 /* bytes from which on folding is possible */
#define TARGET __attribute__((target("pclmul,sse4.1")))

TARGET static inline __m128i load(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)bytes);
}

/* Move `sum` forward by the distance that `by` stands for, and add what is there. */
TARGET static inline __m128i fold(__m128i sum, __m128i by, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(sum, by, 0x00), high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* `length` is a multiple of 16 and at least FOLDED. */
TARGET static uint32_t folded(const uint8_t *bytes, size_t length, uint32_t value)
{
    const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i to_64 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i mask = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i a = load(bytes), b = load(bytes + 16), c = load(bytes + 32), d = load(bytes + 48);

    a = _mm_xor_si128(a, _mm_cvtsi32_si128((int)value));
    for (bytes += 64, length -= 64; length >= 64; bytes += 64, length -= 64) {
        a = fold(a, by_64, load(bytes));
        b = fold(b, by_64, load(bytes + 16));
        c = fold(c, by_64, load(bytes + 32));
        d = fold(d, by_64, load(bytes + 48));
    }
    a = fold(fold(fold(a, by_16, b), by_16, c), by_16, d);
    for (; length >= 16; bytes += 16, length -= 16)
        a = fold(a, by_16, load(bytes));

    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_16, 0x10));
    a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, mask), to_64, 0x00));
    b = _mm_clmulepi64_si128(_mm_and_si128(a, mask), barrett, 0x10);
    b = _mm_clmulepi64_si128(_mm_and_si128(b, mask), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, b), 1);
}

static int can_fold(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

#else

#define FOLDED 0

static int can_fold(void)
{
    return 0;
}

static uint32_t folded(const uint8_t *bytes, size_t length, uint32_t value)
{
    (void)bytes, (void)length;
    return value;
}

#endif

void prepare_crc32(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
        table[0][byte] = value;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (int byte = 0; byte < 256; byte++)
            table[slice][byte] = table[slice - 1][byte] >> 8 ^ table[0][table[slice - 1][byte] & 0xFF];
    folds = can_fold();
}

static uint32_t sliced(const uint8_t *bytes, size_t length, uint32_t value)
{
    for (; length >= SLICES; bytes += SLICES, length -= SLICES) {
        uint32_t next = 0;
        for (int at = 0; at < SLICES; at++)
            next ^= table[SLICES - 1 - at][bytes[at] ^ (at < 4 ? value >> 8 * at & 0xFF : 0)];
        value = next;
    }
    for (; length; bytes++, length--)
        value = value >> 8 ^ table[0][(value ^ *bytes) & 0xFF];
    return value;
}

uint32_t crc32_of(const uint8_t *bytes, size_t length, uint32_t value)
{
    size_t most = folds && length >= FOLDED ? length & ~(size_t)15 : 0;
    value = ~value;
    if (most)
        value = folded(bytes, most, value);
    return ~sliced(bytes + most, length - most, value);
}

/* crc32(buffer, value=0) -> int */
PyObject *checksum(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    (void)self;
    if (count != 1 && !counted(count, 2))
        return NULL;
    uint64_t value = count == 2 ? whole(args[1], UINT32_MAX) : 0;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    uint32_t sum = crc32_of(view.buf, (size_t)view.len, (uint32_t)value);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLong(sum);
}
