/* Crosses of the categories of a record. _add_crosses of onlinesvm.text.records in C. */
#ifndef ONLINESVM_TEXT_CROSSES_H
#define ONLINESVM_TEXT_CROSSES_H

#include "text/extraction.h"

/* The name of a category's field: it begins the feature's name, before the =. */
static inline span category_field(const extraction *x, const text_category *c)
{
    const span field = {batch_name(x->batch, x->batch->features + c->feature), c->field};
    return field;
}

static inline span category_name(const extraction *x, const text_category *c)
{
    const feature *f = x->batch->features + c->feature;
    const span name = {batch_name(x->batch, f), feature_length(f)};
    return name;
}

/* By field, then by name. */
static int category_order(const extraction *x, const text_category *a, const text_category *b)
{
    const int order = span_order(category_field(x, a), category_field(x, b));
    return order ? order : span_order(category_name(x, a), category_name(x, b));
}

/* Shell's sort: qsort takes no context. */
static void categories_sort(extraction *x)
{
    text_category *c = x->categories;
    size_t gap, i, j;
    for (gap = x->category_count / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (i = gap; i < x->category_count; i++) {
            const text_category moved = c[i];
            for (j = i; j >= gap && category_order(x, &moved, c + j - gap) < 0; j -= gap)
                c[j] = c[j - gap];
            c[j] = moved;
        }
    }
}

/* Leave those categories whose fields have a cross. */
static void categories_choose(extraction *x)
{
    const text_options *o = x->options;
    size_t i, kept = 0;
    for (i = 0; i < x->category_count; i++) {
        const span field = category_field(x, x->categories + i);
        size_t low = 0, high = o->cross_field_count;
        int order = 1;
        while (low < high && order) {
            const size_t middle = (low + high) / 2;
            order = span_order(field, o->cross_fields[middle]);
            if (order < 0)
                high = middle;
            else
                low = middle + 1;
        }
        if (!order)
            x->categories[kept++] = x->categories[i];
    }
    x->category_count = kept;
}

static int is_crossed(const text_options *o, span a, span b)
{
    size_t low = 0, high = o->cross_count;
    if (o->cross_all)
        return 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        int order = span_order(a, o->crosses[2 * middle]);
        if (!order)
            order = span_order(b, o->crosses[2 * middle + 1]);
        if (!order)
            return 1;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* a=x&b=y for each pair of different fields, in the order of the fields' names. */
static int crosses_add(extraction *x)
{
    const size_t start = x->batch->count;
    size_t i, j, count;
    if (!x->options->cross_all && !x->options->cross_count)
        return EXTRACTED;
    if (!x->options->cross_all)
        categories_choose(x);
    for (i = 0; i < x->category_count; i++)
        if (!batch_mark(x->batch, x->categories[i].feature, x->categories[i].field, 0, 0))
            return EXTRACT_NO_MEMORY;
    categories_sort(x);
    count = x->category_count < CROSS_CATEGORIES ? x->category_count : CROSS_CATEGORIES;
    for (i = 0; i < count; i++) {
        for (j = i + 1; j < count; j++) {
            const text_category *a = x->categories + i, *b = x->categories + j;
            const span field = category_field(x, a), other = category_field(x, b);
            size_t bytes;
            uint8_t *name, *end;
            if (!span_order(field, other) || !is_crossed(x->options, field, other))
                continue;
            bytes = category_name(x, a).length + 1 + category_name(x, b).length;
            name = extraction_reserve(x, 1) ? extraction_name(x, bytes) : NULL;
            if (!name)
                return EXTRACT_NO_MEMORY;
            /* The names are looked for again: the side may have moved. */
            end = put(name, category_name(x, a).at, category_name(x, a).length);
            *end++ = '&';
            put(end, category_name(x, b).at, category_name(x, b).length);
            extraction_add(x, bytes, 1.0, VIEW_NGRAMS);
            if (!batch_mark(x->batch, x->batch->count - 1, a->field,
                            category_name(x, a).length + 1, b->field))
                return EXTRACT_NO_MEMORY;
        }
    }
    x->crosses += x->batch->count - start;
    return EXTRACTED;
}

#endif
