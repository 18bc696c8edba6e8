/* Names as bytes: read, copied and compared without a branch on most lengths. */
#ifndef ONLINESVM_BYTES_H
#define ONLINESVM_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "memory/pages.h"

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static inline uint64_t load32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

/* Four words of 8 bytes cover 8 to 32 bytes: the first and the last, and those that begin here;
 * for one length always the same bytes. */
static inline size_t words_second(size_t n) { return n < 16 ? n - 8 : 8; }
static inline size_t words_third(size_t n) { return n < 16 ? 0 : n - 16; }

/* Copy a name of `n` bytes. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, size_t n)
{
    if (LIKELY(n - 8 <= 24)) {
        const size_t second = words_second(n), third = words_third(n);
        const uint64_t a = load64(from), b = load64(from + second);
        const uint64_t c = load64(from + third), d = load64(from + n - 8);
        memcpy(to, &a, 8);
        memcpy(to + second, &b, 8);
        memcpy(to + third, &c, 8);
        memcpy(to + n - 8, &d, 8);
    } else {
        memcpy(to, from, n);
    }
}

/* Whether two names of `n` bytes are equal. */
static inline int same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (LIKELY(n - 8 <= 24)) {
        const size_t second = words_second(n), third = words_third(n);
        return !((load64(a) ^ load64(b)) | (load64(a + second) ^ load64(b + second))
                 | (load64(a + third) ^ load64(b + third))
                 | (load64(a + n - 8) ^ load64(b + n - 8)));
    }
    if (n > 32)
        return memcmp(a, b, n) == 0;
    if (n >= 4)
        return !((load32(a) ^ load32(b)) | (load32(a + n - 4) ^ load32(b + n - 4)));
    if (n)
        return a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1];
    return 1;
}

#endif
