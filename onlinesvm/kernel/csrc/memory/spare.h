/* Buffers that are used again. Memory that was given back to the system comes again page by page,
 * each of them cleared: as much work as reading the request that it is for.
 *
 * The callers hold the interpreter's lock.
 */
#ifndef ONLINESVM_SPARE_H
#define ONLINESVM_SPARE_H

#include <stdlib.h>

#include "memory/pages.h"

#define SPARES 4
#define SPARE_LEAST ((size_t)1 << 16) /* malloc keeps smaller ones itself */
#define SPARE_MOST ((size_t)1 << 23)
#define SPARE_TIMES 4 /* as large as is wanted at most: a small request does not hold much memory */

static struct {
    void *at;
    size_t size;
} spares[SPARES];

static unsigned spare_next; /* to be replaced */

/* A buffer of `wanted` to SPARE_TIMES as many bytes, and its size; NULL if there is none. */
static void *spare_take(size_t wanted, size_t *size)
{
    int i;
    for (i = 0; i < SPARES; i++) {
        void *const at = spares[i].at;
        if (at && spares[i].size >= wanted && spares[i].size / SPARE_TIMES <= wanted) {
            *size = spares[i].size;
            spares[i].at = NULL;
            return at;
        }
    }
    return NULL;
}

/* Take back a buffer of malloc; where there are enough, another one is freed. */
static void spare_give(void *at, size_t size)
{
    int i;
#ifdef PAGES_WATCHED /* the sanitizer watches what was freed */
    size = 0;
#endif
    if (!at || size < SPARE_LEAST || size > SPARE_MOST) {
        free(at);
        return;
    }
    for (i = 0; i < SPARES && spares[i].at; i++)
        ;
    if (i == SPARES) {
        i = (int)(spare_next++ % SPARES);
        free(spares[i].at);
    }
    spares[i].at = at;
    spares[i].size = size;
}

#endif
