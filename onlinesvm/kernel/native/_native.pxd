# The C of csrc/ that _native.pyx uses.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "constants.h" nogil:
    const size_t CONSTANTS
    void constants_read(double *values)

cdef extern from "memory/hash.h" nogil:
    const size_t HASH_KEY_BYTES
    void hash_seed(const uint8_t *random)

cdef extern from "memory/rows.h" nogil:
    ctypedef struct rows:
        int64_t *indptr
        int32_t *indices
        double *data
    const uint32_t MOST_IDS
    bint indptr_holds(const int64_t *indptr, size_t samples, size_t stored)
    uint32_t rows_largest_id(const rows *r, size_t samples, int32_t least)

cdef extern from "rules/score.h" nogil:
    bint score_flat(const rows *x, size_t samples, const double *weights, uint64_t end_id,
                    double bias, double *margins)

cdef extern from "codec/labels.h" nogil:
    ctypedef struct label_span:
        uint32_t offset, length
    ctypedef struct label_spans:
        label_span *spans
        size_t count

cdef extern from "codec/decode.h" nogil:
    ctypedef struct feature:
        double value
    ctypedef struct mark:
        size_t feature
        uint32_t field, other_at, other
    ctypedef struct batch:
        const uint8_t *body
        feature *features
        uint8_t *tags
        mark *marks
        size_t mark_count
        uint8_t *side
        size_t count, room, name_bytes, longest, samples, good, cut, texts, side_used, tagged
        int64_t *indptr
        label_spans labels
        int32_t *label_ids
        double *importances
    ctypedef struct reader:
        const uint8_t *at
        const uint8_t *end
    ctypedef struct decode_limits:
        size_t samples, features, name_bytes
        double value, importance
        bint clips
        void *records
        int (*read_record)(void *records, batch *b, reader *r) noexcept nogil
        size_t most_made
        bint checks
        bint reads_maps
        bint pairs
        size_t most_read
    const int DECODED, FAULTY, NO_MEMORY, FULL, PAUSED
    const size_t PIECE_FEATURES
    void batch_init(batch *b)
    void batch_clear(batch *b)
    void batch_expect(batch *b, size_t size, size_t most)
    void batch_ended(const batch *b, size_t size)
    bint batch_copy_marks(batch *b, const batch *all, size_t start, size_t end)
    void *spare_take(size_t wanted, size_t *size)
    void spare_give(void *at, size_t size)
    uint32_t feature_length(const feature *f)
    const uint8_t *batch_name(const batch *b, const feature *f)
    int decode_head(const uint8_t *body, size_t size, const decode_limits *limits,
                    size_t *samples, size_t *head)
    int decode_body(batch *b, reader *r, size_t samples, const decode_limits *limits)
    int read_fields(batch *b, reader *r, const decode_limits *limits)

cdef extern from "codec/columns.h" nogil:
    ctypedef struct column_rows:
        const int64_t *indptr
        const int32_t *narrow
        const int64_t *wide
        const double *data
        size_t samples
    bint batch_of_columns(batch *b, const column_rows *x)

cdef extern from "codec/number.h" nogil:
    const int POWER_LEAST, POWER_MOST
    void number_set_power(int q, uint64_t high, uint64_t low)

cdef extern from "memory/seen.h" nogil:
    ctypedef struct seen:
        pass
    void seen_init(seen *m)
    void seen_clear(seen *m)

cdef extern from "codec/encode.h" nogil:
    ctypedef struct packed_bytes:
        const uint8_t *at
        size_t length
    size_t encode_most(const batch *b, size_t label_bytes)
    size_t encode_batch(uint8_t *out, const batch *b, const packed_bytes *labels,
                        const packed_bytes *records)

cdef extern from "lookup/lookup.h" nogil:
    ctypedef struct arena:
        uint64_t bytes
    ctypedef struct counted_field:
        size_t at, length
        uint64_t values
    ctypedef struct counted_fields:
        counted_field *fields
        size_t count
        uint8_t *names
        uint8_t *out
    int fields_reserve(counted_fields *f, size_t marks, size_t bytes)
    void fields_add(counted_fields *f, const uint8_t *name, size_t length, uint64_t values)
    void fields_decide(counted_fields *f, const batch *b, size_t k, size_t end)
    ctypedef struct lookup:
        arena arena
        uint32_t count, last
        bint is_sweeping
        uint32_t low, next
        arena moved
        uint64_t refused
        uint8_t *tags
        size_t tagged
        counted_fields *fields
    void lookup_init(lookup *l)
    void lookup_clear(lookup *l)
    size_t lookup_room(const lookup *l, size_t limit)
    bint lookup_reserve(lookup *l, size_t names, size_t bytes)
    bint lookup_reserve_tags(lookup *l, size_t names)
    bint lookup_reserve_marks(lookup *l, const batch *b)
    bint lookup_begin(lookup *l, size_t longest)
    void lookup_end(lookup *l)
    uint32_t lookup_id(const lookup *l, const uint8_t *name, size_t length)
    ctypedef struct growth:
        size_t first, stop, limit
    size_t lookup_grow(lookup *l, const batch *b, const growth *how, const uint8_t *tags, rows *out)
    size_t lookup_find(lookup *l, const batch *b, const uint8_t *tags, rows *out)
    int lookup_restore(lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count,
                       uint32_t low, uint32_t next)
    void lookup_join(
        lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count, size_t limit,
        int32_t *ids)
cdef extern from "lookup/names_view.h" nogil:
    ctypedef struct names_view:
        names_view *next
        size_t n
        uint32_t *lengths
        uint8_t *bytes
        bint busy
    const size_t NAMES_SLICE
    void names_open(names_view *v, names_view **views, const lookup *l)
    size_t names_copy(names_view *v, size_t limit)
    void names_leave(const names_view *v, names_view **views)

cdef extern from "rules/sgd.h" nogil:
    ctypedef struct blocks:
        size_t stride
    ctypedef struct sgd:
        blocks state
        double alpha, bias, mantissa
        int64_t t, exponent
    bint blocks_reserve(blocks *b, uint32_t id)
    void blocks_init(blocks *b, size_t stride)
    void blocks_clear(blocks *b)
    void sgd_init(sgd *r, double eta0, double alpha, bint inverse, bint has_bias)
    void sgd_learn(sgd *r, const rows *x, size_t samples, const double *labels,
                   const double *importances, double *margins)
    bint sgd_score(const sgd *r, const rows *x, size_t samples, double *margins)
    void sgd_weights(const sgd *r, uint32_t first, size_t n, double *weights)
    void sgd_unpack(const sgd *r, const double *records, size_t n, double **columns, size_t at)
    void sgd_restore(sgd *r, size_t n, const double *weights, const double *mantissas,
                     const int64_t *exponents)

cdef extern from "memory/pages.h" nogil:
    const size_t REGION_HUGE
    uint8_t *pages_map(size_t size)
    void pages_unmap_slowly(uint8_t *base, size_t size)

cdef extern from "memory/view.h" nogil:
    ctypedef struct region:
        pass
    ctypedef struct view:
        view *next
        size_t n, copied
        int failed
        double **columns
    ctypedef struct view_walk:
        pass
    const size_t VIEW_COLUMNS, VIEW_SLICE_BYTES
    bint view_open(view *v, view **views, size_t n)
    void view_leave(const view *v, view **views)
    void view_clear(view *v)
    void view_pause()
    region *view_spare(const view *v)
    void views_keep(view *views, const blocks *b, const rows *x, size_t samples,
                    const double *importances)
    size_t view_step(view *v, const blocks *b, size_t limit, const double **records)
    size_t view_slice(view *v, const blocks *b, size_t limit, double *slice, region *spare)
    const double *view_next(const view *v, view_walk *walk, size_t stride, size_t *id)

cdef extern from "lookup/prune.h" nogil:
    bint lookup_reserve_sweep(lookup *l, size_t n)
    void lookup_sweep(lookup *l, size_t n, const uint8_t *kept, bint is_viewed)
    void blocks_move(blocks *b, view *views, uint32_t to, uint32_t first, size_t n,
                     const uint8_t *kept)
    void blocks_raise(blocks *b, uint32_t first, size_t n, uint32_t gap)

cdef extern from "rules/records.h" nogil:
    const int RULE_AROW, RULE_NAG, RULE_AVERAGE, RULES_OF_RECORDS
    ctypedef struct records:
        blocks state
        double *bias
        double norms, importance
        int64_t t
    int records_kind(const char *name)
    void records_init(records *r, int kind, bint has_bias, bint inverse, double strength,
                      double forgetting)
    double records_bias(const records *r)
    void records_learn(records *r, const rows *x, size_t samples, const double *labels,
                       const double *importances, double *margins)
    bint records_score(const records *r, const rows *x, size_t samples, double *margins)
    void records_weights(const records *r, uint32_t first, size_t n, double *weights)
    void records_unpack(const records *r, const double *state, size_t n, double **columns,
                        size_t at)
    void records_restore(records *r, size_t n, size_t column, const double *numbers)

cdef extern from "rules/hedge.h" nogil:
    cdef enum:
        HEDGE_NUMBERS, HEDGE_SCALARS_MOST, VIEWS
    ctypedef struct hedge:
        blocks state
        bint plain
        int views
        int *slot
        int64_t *with_view "with"
        double *logs
        int64_t samples
    void hedge_init(hedge *r, bint has_bias)
    void hedge_clear(hedge *r)
    bint hedge_begin(hedge *r, size_t longest)
    void hedge_end(hedge *r)
    size_t rows_longest(const rows *r, size_t samples)
    double hedge_bias(const hedge *r)
    void hedge_learn(hedge *r, const rows *x, size_t samples, const double *labels,
                     const double *importances, double *margins)
    bint hedge_score(const hedge *r, const rows *x, size_t samples, double *margins)
    void hedge_weights(const hedge *r, uint32_t first, size_t n, double *weights)
    int64_t hedge_seen(const hedge *r, uint32_t id)
    void idf_set_logs()
    double idf_log(uint64_t n)
    void hedge_expect_views(hedge *r)
    bint hedge_widen(hedge *r)
    void hedge_enter(hedge *r, uint32_t first, const uint8_t *tags, size_t n)
    size_t hedge_copy(hedge *r, double *numbers, bint restores)
    void hedge_unpack(const double *records, size_t n, double **columns, size_t at)
    void hedge_restore(hedge *r, size_t n, const double *numbers, const int64_t *counts,
                       const uint8_t *tags)

cdef extern from "metrics/progressive.h" nogil:
    const size_t TOTALS
    void progressive_observe(double *totals, const double *margins, const double *labels,
                             const double *importances, double threshold, size_t samples)

cdef extern from "metrics/monitor.h" nogil:
    const size_t MONITOR_SIZE
    ctypedef struct monitor:
        pass
    void monitor_init(monitor *m)
    void monitor_learn(monitor *m, double threshold, double log_one, double log_two,
                       const double *margins, const double *labels, const double *importances,
                       size_t samples, double *probabilities)
    void monitor_probabilities(const monitor *m, const double *margins, size_t samples,
                               double *probabilities)

cdef extern from "text/characters.h" nogil:
    const int TEXT_CODE_POINTS
    void text_set_kind(int kind, int class_of, int32_t shift)
    void text_set_run(uint32_t first, uint32_t end, int kind)

cdef extern from "text/numbers.h" nogil:
    const int NUMBER_LEVELS, NUMBER_LEAST_EXPONENT, NUMBER_MOST_EXPONENT
    unsigned number_place(unsigned level, unsigned mantissa)
    void number_set_text(int exponent, unsigned place, const uint8_t *text, size_t length)

cdef extern from "text/extraction.h" nogil:
    const int EXTRACTED, EXTRACT_NO_MEMORY
    const int TEXT_OFF, TEXT_WORDS, TEXT_DEFAULT, FIELD_TEXT, FIELD_CATEGORY, FIELD_DATE
    ctypedef struct span:
        const uint8_t *at
        size_t length
    ctypedef struct text_field:
        span name
        int kind
    ctypedef struct text_options:
        int text, ngrams, prefixes, cross_all
        size_t *sizes
        size_t size_count, field_count, cross_field_count, cross_count
        const text_field *fields
        const span *cross_fields
        const span *crosses
        size_t most_bytes, most_features, most_name
        int (*vector_of)(void *vectors, const uint8_t *text, size_t length, size_t most,
                         double *out) noexcept nogil
        void *vectors
        size_t dim
    ctypedef struct extraction:
        const text_options *options
        size_t cut, crosses
        bint checks
    void extraction_init(extraction *x)
    void extraction_clear(extraction *x)
    void extraction_begin(extraction *x, batch *b)

cdef extern from "text/records.h" nogil:
    int record_read(extraction *x, reader *r)

cdef extern from "text/decode.h" nogil:
    bint records_tag(extraction *x, batch *b)
    int records_decode(void *records, batch *b, reader *r)
    bint records_end(extraction *x, batch *b)

cdef extern from "lines/lines.h" nogil:
    ctypedef struct line_rules:
        int format
        bint labelled, numeric, sets
        size_t features, name_bytes
        double value, importance
        bint fields, only_labels
        size_t batch_samples, batch_features, batch_name_bytes
    ctypedef struct lines:
        const uint8_t *at
        const uint8_t *end
        int64_t *ids
        size_t lines
        const line_rules *rules
        batch *batch
        seen tokens
        extraction *records
        bint numbers
    const int OTHER_LINES, SVMLIGHT_LINES, VW_LINES, TEXT_LINES, FASTTEXT_LINES
    const int LINE_READ, ODD, LINES_NO_MEMORY
    void lines_init()
    int lines_read(lines *l)
    bint lines_add(lines *l, const uint8_t *name, size_t length, double value)
    bint batch_is_full(const batch *b, const line_rules *rules)
    void end_sample(batch *b, int32_t label, double importance)

cdef extern from "rules/multilabel.h" nogil:
    const size_t CLASS_EXPERTS, CLASS_JUDGED
    const int CLASS_LEAST_INDEX
    ctypedef struct pieces:
        size_t total
    ctypedef struct lanes:
        pass
    ctypedef struct class_mixture:
        double *coefficients
        double *losses
    ctypedef struct temperature:
        pass
    ctypedef struct class_feature:
        double scale2
        uint64_t counts
    ctypedef struct multiclass:
        blocks state
        pieces rows
        size_t labels, known, dropped
        bint has_bias, plain
        int64_t *with_view "with"
        double *logs
        uint8_t *states
        lanes *bias
        lanes bias_second
        uint32_t most
        class_mixture mixture
        temperature temperature
        double log_importance
        int64_t samples
        double *judged_weights
    ctypedef struct class_arrays:
        double *mean_squares
        int64_t *ages
        int64_t *runs
        int64_t *seen
        float *second_orders
        int32_t *row_lengths
        int32_t *row_labels
        float *row_weights
        uint8_t *tags
    void multiclass_init(multiclass *m, bint has_bias, uint32_t most)
    void multiclass_clear(multiclass *m)
    bint multiclass_reserve_labels(multiclass *m, size_t n)
    bint multiclass_reserve_row(multiclass *m, size_t longest)
    bint multiclass_reserve_entries(multiclass *m, const rows *x, size_t samples,
                                    const int64_t *sets)
    const size_t SET_MOST_PREDICTED
    const size_t SET_BINS
    ctypedef struct set_threshold:
        double value, gain
    void set_threshold_init(set_threshold *t)
    void multilabel_learn(multiclass *m, set_threshold *t, const rows *x, size_t samples,
                          const int64_t *starts, const int32_t *ids, const double *importances,
                          double *margins, int64_t *ends, int32_t *predicted)
    void multiclass_enter(multiclass *m, uint32_t first, const uint8_t *tags, size_t n)
    void multiclass_drop(multiclass *m, size_t label)
    void multiclass_score(multiclass *m, const rows *x, size_t samples, float *mixed)
    void multiclass_learn(multiclass *m, const rows *x, size_t samples, const int32_t *labels,
                          const double *importances, double *margins, int32_t *predicted,
                          double *confidences)
    void multiclass_coefficients(const multiclass *m, double *coefficients)
    void multiclass_strengths(const multiclass *m, uint32_t first, size_t n, double *strengths)
    void multiclass_release(multiclass *m, uint32_t first, size_t n, const uint8_t *kept)
    size_t multiclass_entries(const multiclass *m, size_t first, size_t n)
    void multiclass_dump(const multiclass *m, size_t first, size_t n, const class_arrays *to)
    double *multiclass_judged(multiclass *m)
    bint multiclass_take(multiclass *m, size_t n, size_t labels, const class_arrays *arrays,
                         const uint8_t *states, const float *bias)
