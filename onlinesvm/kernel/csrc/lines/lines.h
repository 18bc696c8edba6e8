/* Lines of text -> batch: svmlight, VW text, labelled text, fastText.
 *
 * The parsers of onlinesvm.readers say what each line means. A line that is faulty, or good in an
 * uncommon way, is left unread and called ODD: the Python parser then reads it, or names its fault.
 */
#ifndef ONLINESVM_LINES_H
#define ONLINESVM_LINES_H

#include "codec/batch.h"
#include "codec/decode.h"
#include "codec/number.h"
#include "codec/scan.h"
#include "memory/hash.h"
#include "memory/seen.h"
#include "text/decode.h"

enum { OTHER_LINES = 0, SVMLIGHT_LINES, VW_LINES, TEXT_LINES, FASTTEXT_LINES };
enum { LINE_READ = 0, BLANK, ODD, LINES_NO_MEMORY };


typedef struct {
    int format;
    int labelled;         /* a label that is missing or unreadable is a fault, else -1 */
    int numeric;          /* labels are numbers */
    int sets;             /* labels are sets, with commas between */
    size_t features, name_bytes; /* the limits of a sample */
    double value, importance;    /* larger ones, in magnitude, are refused or clipped: ODD */
    int fields; /* VW: a named namespace may be a text, ODD */
    int only_labels; /* the features are passed over, whatever they are */
    /* A batch that holds so much takes no further sample. */
    size_t batch_samples, batch_features, batch_name_bytes;
} line_rules;

typedef struct {
    const uint8_t *at, *end; /* whole lines */
    size_t lines;            /* read so far */
    const line_rules *rules;
    batch *batch;
    seen tokens; /* tokens of the line at hand */
    scan scan;
    int32_t label; /* of the line at hand, -1 without one */
    double importance;
    const uint8_t *tag, *tag_end;
    int64_t *ids; /* of the samples: offsets in the body, from and to; NULL if not asked for */
    extraction *records; /* texts are read by it; NULL where a text is its words */
    int numbers;         /* svmlight, VW: numbers have further features, which it makes */
} lines;

static int is_blank(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p))
        p++;
    return p == end;
}

static inline int is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* True for a label p ... end that Python reads as it stands, or as an integer. */
static inline int label_is_plain(const uint8_t *p, const uint8_t *end, int numeric)
{
    const uint8_t *q = p;
    if (p == end || end - p > MAX_LABEL_BYTES)
        return 0;
    if (!(numeric || is_digit(*p) || *p == '-' || *p == '+' || *p == '.'))
        return 1;
    /* Plain integers, as 1 and 1.0; other numbers may be no label. */
    q += *p == '-' || *p == '+';
    if (q == end || !is_digit(*q) || (*q == '0' && q + 1 < end && is_digit(q[1])))
        return 0;
    while (q < end && is_digit(*q))
        q++;
    if (q < end && *q == '.')
        for (q++; q < end && *q == '0'; q++)
            ;
    return q == end;
}

/* True for a set of labels, with commas between, that Python reads as it stands. */
static inline int label_set_is_plain(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *comma;
    int n;
    for (n = 1; (comma = memchr(p, ',', (size_t)(end - p))) != NULL; p = comma + 1, n++)
        if (n == MOST_IN_SET || is_space(*p) || !label_is_plain(p, comma, 0))
            return 0;
    return p < end && !is_space(*p) && label_is_plain(p, end, 0);
}

/* The label p ... end, not empty; 0 where Python has to read it, which decides. */
static inline int read_label_text(lines *l, const uint8_t *p, const uint8_t *end)
{
    const size_t length = (size_t)(end - p);
    batch *b = l->batch;
    label_spans *const known = &b->labels;
    if (LIKELY(known->count > 0)) {
        int i;
        for (i = 0; i < 2; i++) {
            if (label_is(known->spans + known->recent[i], b->body, p, length)) {
                l->label = known->recent[i];
                return 1;
            }
        }
    }
    if (UNLIKELY(l->rules->sets) ? !label_set_is_plain(p, end)
                                 : !label_is_plain(p, end, l->rules->numeric))
        return 0;
    l->label = label_spans_find(known, b->body, p, length);
    return l->label >= 0;
}

/* What may stand as a value of at most `most`; 0 for what may not, or where Python has to look. */
static inline int read_value(const uint8_t *p, const uint8_t *end, double most, double *value)
{
    if (UNLIKELY(read_decimal(p, end, value) != NUMBER)
        || UNLIKELY(!(*value >= -most && *value <= most)))
        return 0;
    if (UNLIKELY(*value > -MIN_MAGNITUDE && *value < MIN_MAGNITUDE))
        *value = 0.0;
    return 1;
}

static inline int read_importance(const uint8_t *p, const uint8_t *end, double most,
                                  double *importance)
{
    return read_value(p, end, most, importance) && *importance >= 0.0;
}

/* Add a feature, for which there must be room, unless its value is 0. */
static inline void add_feature(batch *b, const uint8_t *name, size_t offset, uint32_t where,
                               size_t length, double value)
{
    feature *f = b->features + b->count;
    f->offset = (uint32_t)offset;
    f->length = (uint32_t)length | where;
    f->hash = hash_bytes(name, length);
    f->value = value;
    if (LIKELY(value != 0.0)) {
        b->count++;
        b->name_bytes += length;
    }
}

/* Pass over the rest of a line, from p on; `other` as for the scan. */
static int pass_over(lines *l, const uint8_t *p, uint8_t other)
{
    l->at = (const uint8_t *)memchr(p, '\n', (size_t)(l->end - p)) + 1;
    if (l->at < l->end)
        scan_from(&l->scan, l->at, other);
    return LINE_READ;
}

/* label id:value id:value ...  # comment      (qid:N is passed over) */
static inline __attribute__((always_inline)) int svmlight_line(lines *l, batch *b)
{
    const line_rules *rules = l->rules;
    const uint8_t *p = l->at, *d, *e;
    size_t features = 0;
    int labelled = 0;
    double value;
    l->importance = 1.0;
    for (;; p = d + 1) {
        d = scan_next(&l->scan, '#');
        if (LIKELY(*d == ':')) {
            e = d;
            d = scan_next(&l->scan, '#');
            if (UNLIKELY(e - p == 3 && !memcmp(p, "qid", 3))) {
                while (*d == ':')
                    d = scan_next(&l->scan, '#');
            } else {
                if (UNLIKELY(!labelled)) {
                    if (rules->labelled)
                        return ODD;
                    l->label = -1;
                    labelled = 1;
                    if (UNLIKELY(rules->only_labels))
                        return pass_over(l, d, '#');
                }
                if (UNLIKELY(*d == ':' || e == p || (size_t)(e - p) > rules->name_bytes
                             || features == rules->features))
                    return ODD;
                if (UNLIKELY(!read_value(e + 1, d, rules->value, &value)))
                    return ODD;
                if (UNLIKELY(!batch_reserve(b, 1)))
                    return LINES_NO_MEMORY;
                add_feature(b, p, (size_t)(p - b->body), 0, (size_t)(e - p), value);
                features++;
            }
        } else if (d > p) {
            if (labelled || !read_label_text(l, p, d))
                return ODD;
            labelled = 1;
            if (UNLIKELY(rules->only_labels))
                return pass_over(l, d, '#');
        }
        if (*d == '\n')
            break;
        if (UNLIKELY(*d == '#')) {
            d = memchr(d, '\n', (size_t)(l->end - d));
            if (d + 1 < l->end)
                scan_from(&l->scan, d + 1, '#');
            break;
        }
    }
    l->at = d + 1;
    return LIKELY(labelled) ? LINE_READ : BLANK;
}

/* `n` bytes; up to COPIED may be written, and are read where `end` allows it. */
#define COPIED 32
static inline void copy_name(uint8_t *to, const uint8_t *from, size_t n, const uint8_t *end)
{
    if (LIKELY(n <= COPIED && (size_t)(end - from) >= COPIED))
        memcpy(to, from, COPIED);
    else
        memcpy(to, from, n);
}

/* What stands before the first bar of a VW line: label, importance, tag. The bar goes to `bar`. */
static inline __attribute__((always_inline)) int vw_head(lines *l, const uint8_t **bar)
{
    const line_rules *rules = l->rules;
    const uint8_t *p = l->at, *d, *begins[3], *ends[3];
    int n = 0;
    for (;; p = d + 1) {
        do
            d = scan_next(&l->scan, '|');
        while (*d == ':');
        if (d > p) {
            if (UNLIKELY(n == 3))
                return ODD;
            begins[n] = p;
            ends[n++] = d;
        }
        if (*d == '|')
            break;
        if (UNLIKELY(*d == '\n')) {
            l->at = d + 1;
            return n ? ODD : BLANK;
        }
    }
    *bar = d;
    l->tag = l->tag_end = d;
    if (n && (ends[n - 1] == d || *begins[n - 1] == '\'')) {
        n--;
        l->tag = begins[n] + (*begins[n] == '\'');
        l->tag_end = ends[n];
    }
    l->importance = 1.0;
    l->label = -1;
    if (UNLIKELY(n == 3) || (n == 0 && rules->labelled)
        || (n && !read_label_text(l, begins[0], ends[0]))
        || (n == 2 && !read_importance(begins[1], ends[1], rules->importance, &l->importance)))
        return ODD;
    return LINE_READ;
}

/* label [importance] ['tag]|namespace[:weight] name[:value] ... |... */
static inline __attribute__((always_inline)) int vw_line(lines *l, batch *b)
{
    const line_rules *rules = l->rules;
    const uint8_t *p, *d, *e, *section, *prefix = NULL;
    size_t features = 0, prefixed = 0; /* bytes of the namespace and its "^", 0 without */
    double weight = 1.0, value;
    const int head = vw_head(l, &d);
    if (UNLIKELY(head != LINE_READ))
        return head;
    if (UNLIKELY(rules->only_labels))
        return pass_over(l, d, '|');
    section = p = d + 1;
    for (;; p = d + 1) {
        e = d = scan_next(&l->scan, '|');
        value = 1.0;
        if (*d == ':') {
            d = scan_next(&l->scan, '|');
            if (UNLIKELY(*d == ':' || e == p || !read_value(e + 1, d, MAX_MAGNITUDE, &value)))
                return ODD;
        }
        if (UNLIKELY(p == section && e > p)) {
            if (UNLIKELY(rules->fields))
                return ODD;
            prefix = p;
            prefixed = (size_t)(e - p) + 1;
            weight = value;
        } else if (LIKELY(e > p)) {
            const size_t length = (size_t)(e - p);
            value *= weight;
            if (UNLIKELY(prefixed + length > rules->name_bytes || features == rules->features
                         || !(value >= -rules->value && value <= rules->value)))
                return ODD;
            if (UNLIKELY(value > -MIN_MAGNITUDE && value < MIN_MAGNITUDE))
                value = 0.0;
            if (UNLIKELY(!batch_reserve(b, 1)))
                return LINES_NO_MEMORY;
            features++;
            if (!prefixed) {
                add_feature(b, p, (size_t)(p - b->body), 0, length, value);
            } else {
                uint8_t *name;
                if (UNLIKELY(!batch_reserve_side(b, prefixed + length + COPIED)))
                    return LINES_NO_MEMORY;
                name = b->side + b->side_used;
                copy_name(name, prefix, prefixed - 1, l->end);
                name[prefixed - 1] = '^';
                copy_name(name + prefixed, p, length, l->end);
                add_feature(b, name, b->side_used, IN_SIDE, prefixed + length, value);
                b->side_used += prefixed + length;
            }
        }
        if (UNLIKELY(*d == '\n'))
            break;
        if (UNLIKELY(*d == '|')) {
            section = d + 1;
            prefixed = 0;
            weight = 1.0;
        }
    }
    l->at = d + 1;
    return LINE_READ;
}

/* Letters, digits and "_", small; 0 for separators, 1 for bytes outside ASCII. */
static uint8_t folded[256];

static void lines_init(void)
{
    int c;
    for (c = 0; c < 256; c++)
        folded[c] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20)
            : (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ? (uint8_t)c
            : c >= 0x80;
}

/* The label of a line of labelled text, label \t text; where the text begins goes to `text`. */
static inline int text_label(lines *l, const uint8_t *end, const uint8_t **text)
{
    const line_rules *rules = l->rules;
    const uint8_t *tab = memchr(l->at, '\t', (size_t)(end - l->at)), *p, *q;
    if (!tab) {
        *text = l->at;
        return rules->labelled ? ODD : LINE_READ;
    }
    for (p = l->at; p < tab && is_space(*p); p++)
        ;
    for (q = tab; q > p && is_space(q[-1]); q--)
        ;
    *text = tab + 1;
    if (q == p)
        return rules->labelled ? ODD : LINE_READ;
    return read_label_text(l, p, q) ? LINE_READ : ODD;
}

#define PREFIX "__label__"
#define PREFIX_LENGTH 9
static inline int has_prefix(const uint8_t *p, const uint8_t *end)
{
    return end - p >= PREFIX_LENGTH && !memcmp(p, PREFIX, PREFIX_LENGTH);
}

/* The label of a line of fastText, __label__x text; where the text begins goes to `text`. */
static inline int fasttext_label(lines *l, const uint8_t *end, const uint8_t **text)
{
    const line_rules *rules = l->rules;
    const uint8_t *p = l->at, *q;
    while (p < end && is_space(*p))
        p++;
    *text = p;
    if (has_prefix(p, end)) {
        p += PREFIX_LENGTH;
        for (q = p; q < end && !is_space(*q); q++)
            ;
        if (q == p || !read_label_text(l, p, q))
            return ODD;
        *text = p = q;
    } else if (rules->labelled) {
        return ODD;
    }
    /* A second label, perhaps. */
    for (; p < end && (p = memchr(p, '_', (size_t)(end - p))) != NULL; p++)
        if (has_prefix(p, end))
            return ODD;
    return LINE_READ;
}

/* The text from p to `end`, the line's, as a record. */
static int text_record(lines *l, const uint8_t *p, const uint8_t *end, int format)
{
    extraction *x = l->records;
    batch *b = l->batch;
    span text;
    if (end > p && end[-1] == '\r')
        end--;
    while (format == FASTTEXT_LINES && p < end && is_space(*p))
        p++;
    text.at = p;
    text.length = (size_t)(end - p);
    extraction_begin(x, b);
    if (!records_tag(x, b) || record_add_bare_text(x, text) != EXTRACTED)
        return LINES_NO_MEMORY;
    records_added(x);
    return LINE_READ;
}

/* A label and a text: its record, or the distinct words of it, small, each of value 1 */
static inline __attribute__((always_inline)) int text_line(lines *l, batch *b, int format)
{
    const line_rules *rules = l->rules;
    const uint8_t *const end = memchr(l->at, '\n', (size_t)(l->end - l->at));
    const uint8_t *words, *p; /* p stays in a register: nothing takes its address */
    const size_t start = b->count;
    size_t limit;
    seen *m = &l->tokens;
    l->importance = 1.0;
    l->label = -1;
    if (is_blank(l->at, end)) {
        l->at = end + 1;
        return BLANK;
    }
    if ((format == TEXT_LINES ? text_label : fasttext_label)(l, end, &words) != LINE_READ)
        return ODD;
    if (UNLIKELY(rules->only_labels)) {
        l->at = end + 1;
        return LINE_READ;
    }
    if (LIKELY(l->records != NULL)) {
        const int what = text_record(l, words, end, format);
        l->at = end + 1;
        return what;
    }
    p = words;
    /* Words take a byte and one between; one more than a sample may have is refused. */
    limit = (size_t)(end - p) / 2 + 1;
    limit = limit < rules->features ? limit : rules->features + 1;
    if (!batch_reserve(b, limit) || !batch_reserve_side(b, (size_t)(end - p) + 1)
        || !seen_reserve(m, limit))
        return LINES_NO_MEMORY;
    seen_begin(m, limit);
    for (;; p++) { /* the newline ends the last word */
        uint8_t *const name = b->side + b->side_used, *to = name, c;
        while ((c = folded[*p]) > 1)
            *to++ = c, p++;
        if (UNLIKELY(c == 1))
            return ODD;
        if (to > name) {
            const size_t length = (size_t)(to - name);
            const feature *f = b->features + b->count;
            uint32_t place;
            if (UNLIKELY(length > rules->name_bytes || b->count - start == limit))
                return ODD;
            add_feature(b, name, b->side_used, IN_SIDE, length, 1.0);
            place = seen_place(m, f->hash);
            for (; seen_taken(m, place); place = seen_after(m, place)) {
                const feature *other = b->features + start + seen_number(m, place);
                if (other->hash == f->hash && other->length == f->length
                    && same_bytes(batch_name(b, other), name, length))
                    break;
            }
            if (seen_taken(m, place)) {
                b->count--;
                b->name_bytes -= length;
            } else {
                seen_put(m, place, 0, b->count - 1 - start);
                b->side_used += length;
            }
        }
        if (p == end)
            break;
    }
    if (UNLIKELY(b->count - start > rules->features))
        return ODD;
    l->at = end + 1;
    return LINE_READ;
}

/* The features from `start` on as a record: names where all values are 1, else fields. */
static int numbers_record(lines *l, size_t start)
{
    extraction *x = l->records;
    batch *b = l->batch;
    const size_t count = b->count - start;
    feature *given;
    size_t i, room = COPY_SLACK, names = 0;
    int problem = EXTRACTED;
    for (i = start; i < b->count && b->features[i].value == 1.0; i++)
        ;
    if (i == b->count)
        return LINE_READ;
    given = malloc(count * sizeof *given);
    if (!given)
        return LINES_NO_MEMORY;
    memcpy(given, b->features + start, count * sizeof *given);
    for (i = 0; i < count; i++) {
        const size_t length = feature_length(given + i);
        names += length;
        room += length + NUMBER_LEVELS * (length + 4 + NUMBER_TEXT);
    }
    b->count = start;
    b->name_bytes -= names;
    extraction_begin(x, b);
    /* With this room the side, where names may lie, stays where it is. */
    if (!records_tag(x, b) || !batch_reserve_side(b, room))
        problem = EXTRACT_NO_MEMORY;
    for (i = 0; i < count && !problem; i++) {
        const span name = {batch_name(b, given + i), feature_length(given + i)};
        const int kind = record_kind(x->options, name);
        problem = kind == FIELD_ANY ? record_add_number(x, name, given[i].value, kind) : NO_RECORD;
    }
    free(given);
    if (problem)
        return problem == NO_RECORD ? ODD : LINES_NO_MEMORY;
    records_added(x);
    return LINE_READ;
}

static inline int batch_is_full(const batch *b, const line_rules *rules)
{
    return b->samples >= rules->batch_samples || b->count >= rules->batch_features
        || b->name_bytes >= rules->batch_name_bytes;
}

/* End the sample whose features were added. */
static inline void end_sample(batch *b, int32_t label, double importance)
{
    const size_t start = (size_t)b->indptr[b->samples];
    b->label_ids[b->samples] = label;
    b->importances[b->samples] = importance;
    b->indptr[++b->samples] = (int64_t)b->count;
    if (b->count - start > b->longest)
        b->longest = b->count - start;
}

static inline __attribute__((always_inline)) int lines_walk(lines *l, int format)
{
    batch *b = l->batch;
    const uint8_t other = format == VW_LINES ? '|' : '#';
    l->scan.end = l->end;
    if (format == SVMLIGHT_LINES || format == VW_LINES)
        scan_from(&l->scan, l->at, other);
    while (l->at < l->end && !batch_is_full(b, l->rules)) {
        const uint8_t *const start = l->at;
        const size_t count = b->count, side_used = b->side_used, name_bytes = b->name_bytes;
        int what = format == VW_LINES  ? vw_line(l, b)
            : format == SVMLIGHT_LINES ? svmlight_line(l, b)
                                       : text_line(l, b, format);
        if (UNLIKELY(l->numbers) && what == LINE_READ)
            what = numbers_record(l, count);
        if (LIKELY(what == LINE_READ)) {
            if (UNLIKELY(l->ids != NULL)) {
                int64_t *const id = l->ids + 2 * b->samples;
                id[0] = format == VW_LINES ? l->tag - b->body : 0;
                id[1] = format == VW_LINES ? l->tag_end - b->body : 0;
            }
            end_sample(b, l->label, l->importance);
        } else if (what != BLANK) {
            l->at = start;
            b->count = count;
            b->side_used = side_used;
            b->name_bytes = name_bytes;
            return what;
        }
        l->lines++;
    }
    return LINE_READ;
}

/* A walk of its own for each format: the compiler allots registers to each by itself. */
static __attribute__((noinline)) int walk_svmlight(lines *l)
{
    return lines_walk(l, SVMLIGHT_LINES);
}

static __attribute__((noinline)) int walk_vw(lines *l) { return lines_walk(l, VW_LINES); }

static __attribute__((noinline)) int walk_text(lines *l) { return lines_walk(l, TEXT_LINES); }

static __attribute__((noinline)) int walk_fasttext(lines *l)
{
    return lines_walk(l, FASTTEXT_LINES);
}

/* Read lines until the batch is full, the lines are at their end, or one is ODD: LINE_READ in the
 * first two cases. The columns of the batch must have room. */
static int lines_read(lines *l)
{
    if (l->at >= l->end || batch_is_full(l->batch, l->rules))
        return LINE_READ;
    switch (l->rules->format) {
    case SVMLIGHT_LINES:
        return walk_svmlight(l);
    case VW_LINES:
        return walk_vw(l);
    case TEXT_LINES:
        return walk_text(l);
    case FASTTEXT_LINES:
        return walk_fasttext(l);
    default:
        return ODD;
    }
}

/* Add a feature that was read elsewhere; 0 without memory. */
static int lines_add(lines *l, const uint8_t *name, size_t length, double value)
{
    batch *b = l->batch;
    if (length > LENGTH_BITS || !batch_reserve(b, 1) || !batch_reserve_side(b, length))
        return 0;
    memcpy(b->side + b->side_used, name, length);
    add_feature(b, name, b->side_used, IN_SIDE, length, value);
    b->side_used += length;
    return 1;
}

#endif
