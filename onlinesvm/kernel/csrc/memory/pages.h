/* Regions of zeroed memory that never move.
 *
 * Data read at random places (names, slots, weights) is read about as fast as the
 * processor can translate its addresses, so regions from 2 MiB on are aligned to 2 MiB and asked
 * to be huge pages. Pages that nobody touched cost nothing: a reservation is only address space.
 */
#ifndef ONLINESVM_PAGES_H
#define ONLINESVM_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__GNUC__) && defined(__SIZEOF_INT128__)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#error "expected a compiler with GNU C's builtins and 128-bit integers"
#endif

#define REGION_SMALLEST ((size_t)1 << 10)
#define REGION_SMALL ((size_t)1 << 12) /* the largest that is not of pages of its own */
#define REGION_PAGES ((size_t)1 << 16) /* the smallest that is */
#define REGION_HUGE ((size_t)1 << 21)
#define REGION_LARGEST ((size_t)1 << 24) /* unless one thing alone is larger */

typedef struct region {
    struct region *next;
    uint8_t *base;
    size_t size;
    size_t used;
} region;

#if defined(__SANITIZE_ADDRESS__)
#define PAGES_WATCHED
#elif defined(__has_feature) /* clang's way to tell */
#if __has_feature(address_sanitizer)
#define PAGES_WATCHED
#endif
#endif

#ifdef PAGES_WATCHED
/* The sanitizer watches the borders of what malloc gives, not of what mmap gives. */
static uint8_t *pages_map(size_t size) { return calloc(1, size); }
static void pages_unmap(uint8_t *base, size_t size) { (void)size, free(base); }
static void pages_unmap_slowly(uint8_t *base, size_t size) { pages_unmap(base, size); }
#else
static uint8_t *pages_map(size_t size)
{
    size_t wanted = size < REGION_HUGE ? size : size + REGION_HUGE;
    uint8_t *base, *aligned;
    if (wanted < size)
        return NULL;
    base = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (wanted == size)
        return base;
    aligned = base + (-(uintptr_t)base & (REGION_HUGE - 1));
    if (aligned != base)
        munmap(base, (size_t)(aligned - base));
    munmap(aligned + size, (size_t)(base + wanted - (aligned + size)));
#ifdef MADV_HUGEPAGE
    madvise(aligned, size, MADV_HUGEPAGE);
#endif
    return aligned;
}
static void pages_unmap(uint8_t *base, size_t size) { munmap(base, size); }

/* In slices: who takes new memory meanwhile waits for one of them, not for all. */
static void pages_unmap_slowly(uint8_t *base, size_t size)
{
    while (size > REGION_HUGE) {
        size -= REGION_HUGE;
        munmap(base + size, REGION_HUGE);
    }
    munmap(base, size);
}
#endif

static uint8_t *region_take(size_t size)
{
    return size <= REGION_SMALL ? calloc(1, size) : pages_map(size);
}

static void region_free(region *r)
{
    if (r->size <= REGION_SMALL)
        free(r->base);
    else
        pages_unmap(r->base, r->size);
    free(r);
}

/* A region of at least `size` bytes where `total` bytes are taken already; NULL without memory.
 * Regions double, so that a small model stays small and a large one has few of them. */
static region *region_new(size_t size, size_t total)
{
    size_t wanted = REGION_SMALLEST;
    region *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    while (wanted < total && wanted < REGION_LARGEST)
        wanted *= 2;
    while (wanted < size && wanted <= REGION_SMALL)
        wanted *= 2;
    if (wanted > REGION_SMALL && wanted < REGION_PAGES)
        wanted = REGION_PAGES;
    if (wanted < size)
        wanted = (size + (REGION_PAGES - 1)) & ~(REGION_PAGES - 1);
    r->base = wanted < size ? NULL : region_take(wanted);
    if (!r->base) {
        free(r);
        return NULL;
    }
    r->next = NULL;
    r->size = wanted;
    r->used = 0;
    /* Slots keep addresses in 48 bits; a kernel gives higher ones only where asked. */
    if ((uint64_t)((uintptr_t)r->base + wanted) >> 48) {
        region_free(r);
        return NULL;
    }
    return r;
}

static void region_free_all(region *r)
{
    while (r) {
        region *next = r->next;
        region_free(r);
        r = next;
    }
}

#endif
