/* A packed record -> features: onlinesvm.text.records in C, in the same order. It only notices that
 * a record is faulty; Python then says where and why.
 */
#ifndef ONLINESVM_TEXT_RECORDS_H
#define ONLINESVM_TEXT_RECORDS_H

#include "codec/decode.h"
#include "text/crosses.h"
#include "text/dates.h"
#include "text/numbers.h"
#include "text/text.h"
#include "text/vectors.h"

/* Text or bytes; 0 for anything else, and then nothing is stepped over but the head. */
static inline int record_text(reader *r, uint8_t first, span *out)
{
    uint64_t length;
    if ((first & 0xE0) == 0xA0)
        length = first & 0x1F;
    else if (first >= 0xD9 && first <= 0xDB) {
        if (!read_bytes(r, 1 << (first - 0xD9), &length))
            return 0;
    } else if (first >= 0xC4 && first <= 0xC6) {
        if (!read_bytes(r, 1 << (first - 0xC4), &length))
            return 0;
    } else {
        return 0;
    }
    if (length > remaining(r))
        return 0;
    out->at = r->at;
    out->length = (size_t)length;
    r->at += length;
    return 1;
}

static inline int is_text(uint8_t first)
{
    return (first & 0xE0) == 0xA0 || (first >= 0xD9 && first <= 0xDB)
        || (first >= 0xC4 && first <= 0xC6);
}

static inline int is_array(uint8_t first)
{
    return (first & 0xF0) == 0x90 || first == 0xDC || first == 0xDD;
}

/* A name: text, bytes or an integer, whose digits come to `digits`. 0 for a fault. */
static int record_name(const extraction *x, reader *r, uint8_t *digits, span *out)
{
    uint64_t magnitude;
    uint8_t first;
    int negative;
    if (r->at == r->end)
        return 0;
    first = *r->at++;
    if (is_text(first))
        return record_text(r, first, out) && out->length <= x->options->most_name;
    if (!read_integer(r, first, &magnitude, &negative))
        return 0;
    out->at = digits;
    out->length = decimal(digits, magnitude, negative);
    return out->length <= x->options->most_name;
}

/* field, then `join` of one byte, then the rest. */
static int record_add(extraction *x, span field, uint8_t join, span rest, int view)
{
    uint8_t *name, *end;
    if (x->checks)
        return EXTRACTED;
    if (!extraction_reserve(x, 1))
        return EXTRACT_NO_MEMORY;
    name = extraction_name(x, field.length + 1 + rest.length);
    if (!name)
        return EXTRACT_NO_MEMORY;
    end = put(name, field.at, field.length);
    *end++ = join;
    end = put(end, rest.at, rest.length);
    extraction_add(x, (size_t)(end - name), 1.0, view);
    return EXTRACTED;
}

/* The longest prefix of whole characters of at most CATEGORY_BYTES bytes. */
static span record_bounded(span value)
{
    const uint8_t *const end = value.at + value.length;
    const uint8_t *p;
    size_t back;
    uint32_t code;
    if (value.length <= CATEGORY_BYTES)
        return value;
    for (back = 3; back >= 1; back--) {
        p = value.at + CATEGORY_BYTES - back;
        if (read_character(p, end, &code) > back) {
            value.length = CATEGORY_BYTES - back;
            return value;
        }
    }
    value.length = CATEGORY_BYTES;
    return value;
}

static int record_add_category(extraction *x, span field, span value)
{
    if (x->checks)
        return EXTRACTED;
    if (x->category_count == x->category_room) {
        const size_t room = 2 * x->category_room + 16;
        text_category *made = realloc(x->categories, room * sizeof *made);
        if (!made)
            return EXTRACT_NO_MEMORY;
        x->categories = made;
        x->category_room = room;
    }
    x->categories[x->category_count].field = field.length;
    x->categories[x->category_count++].feature = x->batch->count;
    return record_add(x, field, '=', record_bounded(value), VIEW_WORDS);
}

/* field.part=number */
static int record_add_date_part(extraction *x, span field, const char *part, int number)
{
    uint8_t digits[DIGITS_MOST];
    const span value = {digits, decimal(digits, (uint64_t)number, 0)};
    const span whole = extraction_head(x, field, part);
    return whole.at ? record_add_category(x, whole, value) : EXTRACT_NO_MEMORY;
}

static int record_add_date(extraction *x, span field, span value)
{
    date_parts parts;
    int problem = EXTRACTED;
    if (!value.length)
        return EXTRACTED;
    if (!date_read(value.at, value.length, &parts))
        return NO_RECORD;
    if (parts.hour >= 0)
        problem = record_add_date_part(x, field, ".hour", parts.hour);
    if (!problem)
        problem = record_add_date_part(x, field, ".dow", parts.dow);
    if (!problem)
        problem = record_add_date_part(x, field, ".month", parts.month);
    return problem;
}

/* A text in a field; with an empty field, a bare one. */
static int record_add_text(extraction *x, span field, span value)
{
    const size_t most = x->left;
    span head, prefix;
    size_t count;
    int problem;
    if (x->checks && !x->options->dim) { /* numbers of vectors are checked as any others */
        x->cut += value.length > most;
        x->left -= value.length < most ? value.length : most;
        return EXTRACTED;
    }
    head = extraction_head(x, field, "^");
    prefix.at = head.at;
    prefix.length = head.length > 1 ? head.length : 0;
    if (!head.at)
        return EXTRACT_NO_MEMORY;
    count = text_read(x, value);
    problem = count == SIZE_MAX ? EXTRACT_NO_MEMORY : text_add(x, head, count);
    return problem || !x->options->dim ? problem : vectors_add(x, prefix, value, most);
}

/* A record that is one text. */
static int record_add_bare_text(extraction *x, span text)
{
    const span bare = {text.at, 0};
    x->is_text = 1;
    return record_add_text(x, bare, text);
}

static int record_add_text_value(extraction *x, span field, span value, int kind)
{
    if (kind == FIELD_DATE)
        return record_add_date(x, field, value);
    if (kind == FIELD_CATEGORY)
        return record_add_category(x, field, value);
    if (kind == FIELD_ANY
        && (!value.length || x->options->text == TEXT_OFF || text_is_one_word(value)))
        return record_add_category(x, field, value);
    return record_add_text(x, field, value);
}

static int record_add_number(extraction *x, span field, double value, int kind)
{
    const size_t most = field.length + 4 + NUMBER_TEXT;
    batch *b = x->batch;
    unsigned level;
    uint8_t *name, *end;
    if (!(value >= -MAX_MAGNITUDE && value <= MAX_MAGNITUDE))
        return NO_RECORD;
    if (kind == FIELD_CATEGORY) {
        uint8_t digits[DIGITS_MOST];
        span text = {digits, 0};
        if (!(value > -9007199254740992.0 && value < 9007199254740992.0)
            || value != (double)(int64_t)value)
            return NO_RECORD;
        text.length = decimal(digits, (uint64_t)(value < 0 ? -value : value), value < 0);
        return record_add_category(x, field, text);
    }
    if (value > -MIN_MAGNITUDE && value < MIN_MAGNITUDE)
        value = 0.0;
    if (!extraction_reserve(x, 1 + NUMBER_LEVELS)
        || !batch_reserve_side(b, field.length + NUMBER_LEVELS * most))
        return EXTRACT_NO_MEMORY;
    if (value != 0.0) {
        put(extraction_name(x, field.length), field.at, field.length);
        extraction_add(x, field.length, value, VIEW_WORDS);
    }
    if (!x->options->prefixes || x->checks)
        return EXTRACTED;
    for (level = 0; level < (value != 0.0 ? NUMBER_LEVELS : 1u); level++) {
        name = extraction_name(x, most);
        end = put(name, field.at, field.length);
        *end++ = '@';
        *end++ = (uint8_t)('0' + level);
        *end++ = ':';
        if (value != 0.0) {
            const number_text *text = number_lower(value, level);
            if (value < 0)
                *end++ = '-';
            end = put(end, text->text, text->length);
        } else {
            *end++ = '0';
        }
        extraction_add(x, (size_t)(end - name), 1.0, VIEW_NUMBERS);
    }
    return EXTRACTED;
}

static int record_add_list(extraction *x, reader *r, span field)
{
    uint8_t digits[DIGITS_MOST];
    size_t i, count;
    int map, problem;
    span name;
    if (!read_container(r, &map, &count) || count > x->options->most_features
        || count > remaining(r))
        return NO_RECORD;
    for (i = 0; i < count; i++) {
        if (!record_name(x, r, digits, &name))
            return NO_RECORD;
        problem = record_add(x, field, '=', record_bounded(name), VIEW_WORDS);
        if (problem)
            return problem;
    }
    return EXTRACTED;
}

static int record_kind(const text_options *o, span name)
{
    size_t low = 0, high = o->field_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = span_order(name, o->fields[middle].name);
        if (!order)
            return o->fields[middle].kind;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return FIELD_ANY;
}

static int record_add_value(extraction *x, reader *r, span field)
{
    static const uint8_t yes[] = "true", no[] = "false";
    const int kind = record_kind(x->options, field);
    span text = {field.at, 0};
    double value;
    uint8_t first;
    if (r->at == r->end)
        return NO_RECORD;
    first = *r->at;
    if (field.length > FIELD_BYTES && (kind == FIELD_CATEGORY || !begins_number(first)))
        return NO_RECORD;
    if (is_text(first)) {
        r->at++;
        return record_text(r, first, &text) ? record_add_text_value(x, field, text, kind)
                                            : NO_RECORD;
    }
    if (first == 0xC0) {
        r->at++;
        return kind == FIELD_ANY || kind == FIELD_CATEGORY ? record_add_category(x, field, text)
                                                           : EXTRACTED;
    }
    if (kind == FIELD_TEXT || kind == FIELD_DATE)
        return NO_RECORD;
    if (first == 0xC2 || first == 0xC3) {
        r->at++;
        text.at = first == 0xC3 ? yes : no;
        text.length = first == 0xC3 ? 4 : 5;
        return record_add_category(x, field, text);
    }
    if (is_array(first))
        return record_add_list(x, r, field);
    return read_number(r, &value) ? record_add_number(x, field, value, kind) : NO_RECORD;
}

static int record_add_fields(extraction *x, reader *r, size_t count)
{
    uint8_t digits[DIGITS_MOST];
    size_t i;
    span field;
    int problem;
    for (i = 0; i < count; i++) {
        if (!record_name(x, r, digits, &field))
            return NO_RECORD;
        problem = record_add_value(x, r, field);
        if (problem)
            return problem;
    }
    return crosses_add(x);
}

static int record_add_names(extraction *x, reader *r, size_t count)
{
    uint8_t digits[DIGITS_MOST];
    size_t i;
    span name;
    if (!extraction_reserve(x, count))
        return EXTRACT_NO_MEMORY;
    for (i = 0; i < count; i++) {
        uint8_t *at;
        if (!record_name(x, r, digits, &name))
            return NO_RECORD;
        if (x->checks)
            continue;
        at = extraction_name(x, name.length);
        if (!at)
            return EXTRACT_NO_MEMORY;
        put(at, name.at, name.length);
        extraction_add(x, name.length, 1.0, VIEW_WORDS);
    }
    return EXTRACTED;
}

/* The record at `r`, which is stepped over, into x->batch, after extraction_begin. */
static int record_read(extraction *x, reader *r)
{
    size_t count;
    span text = {r->at, 0};
    uint8_t first;
    int map;
    if (r->at == r->end)
        return NO_RECORD;
    first = *r->at;
    if (is_text(first)) {
        r->at++;
        if (!record_text(r, first, &text) || x->options->text == TEXT_OFF)
            return NO_RECORD;
        return record_add_bare_text(x, text);
    }
    if (!read_container(r, &map, &count) || count > x->options->most_features
        || count > remaining(r) >> map)
        return NO_RECORD;
    return map ? record_add_fields(x, r, count) : record_add_names(x, r, count);
}

#endif
