/* The records of a message, among samples of names and numbers, into its batch. */
#ifndef ONLINESVM_TEXT_DECODE_H
#define ONLINESVM_TEXT_DECODE_H

#include "text/records.h"

static void records_begin(extraction *x)
{
    x->tagged = 0;
    x->of_text = 0;
}

/* Features that no record has made lie in view 0. */
static int records_tag(extraction *x, batch *b)
{
    x->batch = b;
    if (!extraction_reserve(x, 0))
        return 0;
    if (b->count > x->tagged)
        memset(x->views + x->tagged, 0, b->count - x->tagged);
    x->tagged = b->count;
    return 1;
}

/* A read_record of decode.h. */
static int records_decode(void *records, batch *b, reader *r)
{
    extraction *x = records;
    int problem;
    extraction_begin(x, b);
    if (!records_tag(x, b))
        return NO_MEMORY;
    problem = record_read(x, r);
    if (problem)
        return problem == NO_RECORD ? FAULTY : NO_MEMORY;
    x->tagged = b->count;
    x->of_text += x->options->most_bytes - x->left;
    return DECODED;
}

/* Give the batch the tags of its features, if any is not 0. 0 without memory. */
static int records_end(extraction *x, batch *b)
{
    size_t i;
    if (!x->tagged)
        return 1;
    if (!records_tag(x, b))
        return 0;
    for (i = 0; i < b->count && !x->views[i]; i++)
        ;
    if (i == b->count)
        return 1;
    b->tags = malloc(b->count);
    if (!b->tags)
        return 0;
    memcpy(b->tags, x->views, b->count);
    return 1;
}

#endif
