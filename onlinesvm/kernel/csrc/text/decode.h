/* The records of a message, among samples of names and numbers, into its batch. */
#ifndef ONLINESVM_TEXT_DECODE_H
#define ONLINESVM_TEXT_DECODE_H

#include "text/records.h"

/* Features that no record has made lie in view 0. */
static int records_tag(extraction *x, batch *b)
{
    x->batch = b;
    if (!extraction_reserve(x, 0))
        return 0;
    if (b->count > b->tagged)
        memset(b->tags + b->tagged, 0, b->count - b->tagged);
    b->tagged = b->count;
    return 1;
}

/* Count the record that was read. */
static void records_added(extraction *x)
{
    x->batch->tagged = x->batch->count;
    x->batch->cut += x->cut;
    x->batch->texts += (size_t)x->is_text;
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
    records_added(x);
    return DECODED;
}

/* End the records of a batch: without tags where all are 0. 0 without memory. */
static int records_end(extraction *x, batch *b)
{
    size_t i;
    if (!b->tags)
        return 1;
    if (!records_tag(x, b))
        return 0;
    for (i = 0; i < b->count && !b->tags[i]; i++)
        ;
    if (i == b->count) {
        free(b->tags);
        b->tags = NULL;
        b->tags_room = 0;
    }
    return 1;
}

#endif
