/* ISO 8601 to hour, day of the week and month: onlinesvm.text.dates in C. */
#ifndef ONLINESVM_TEXT_DATES_H
#define ONLINESVM_TEXT_DATES_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int hour; /* -1 where there is no time */
    int dow, month;
} date_parts;

/* `count` digits at *p as a number, stepped over; -1 for anything else. */
static inline int date_digits(const uint8_t **p, const uint8_t *end, int count)
{
    int number = 0;
    if (end - *p < count)
        return -1;
    while (count--) {
        const uint8_t digit = *(*p)++;
        if (digit < '0' || digit > '9')
            return -1;
        number = 10 * number + digit - '0';
    }
    return number;
}

static inline int date_is(const uint8_t **p, const uint8_t *end, uint8_t byte)
{
    if (*p == end || **p != byte)
        return 0;
    ++*p;
    return 1;
}

/* Two digits from 0 to `most`. */
static inline int date_two(const uint8_t **p, const uint8_t *end, int most)
{
    const int number = date_digits(p, end, 2);
    return number >= 0 && number <= most;
}

/* :MM, then :SS, then a fraction of a second; as many as there are. 0 for a fault. */
static inline int date_rest_of_time(const uint8_t **p, const uint8_t *end)
{
    if (!date_is(p, end, ':'))
        return 1;
    if (!date_two(p, end, 59))
        return 0;
    if (!date_is(p, end, ':'))
        return 1;
    if (!date_two(p, end, 60))
        return 0;
    if (date_is(p, end, '.') || date_is(p, end, ',')) {
        const uint8_t *first = *p;
        while (*p < end && **p >= '0' && **p <= '9')
            ++*p;
        return *p > first;
    }
    return 1;
}

/* Z or ±HH[[:]MM], or nothing. 0 for a fault. */
static inline int date_zone(const uint8_t **p, const uint8_t *end)
{
    if (*p == end || date_is(p, end, 'Z') || date_is(p, end, 'z'))
        return 1;
    if (!date_is(p, end, '+') && !date_is(p, end, '-'))
        return 0;
    if (!date_two(p, end, 23))
        return 0;
    if (*p == end)
        return 1;
    date_is(p, end, ':');
    return date_two(p, end, 59);
}

/* 1 for a date, 0 for anything else. */
static int date_read(const uint8_t *p, size_t size, date_parts *parts)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const int shifts[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    const uint8_t *const end = p + size;
    const int year = date_digits(&p, end, 4);
    int month, day, y, leap;
    if (year < 0 || !date_is(&p, end, '-'))
        return 0;
    month = date_digits(&p, end, 2);
    if (month < 1 || month > 12 || !date_is(&p, end, '-'))
        return 0;
    day = date_digits(&p, end, 2);
    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || day > days[month - 1] + (month == 2 && leap))
        return 0;
    parts->hour = -1;
    if (p < end) {
        if (!date_is(&p, end, 'T') && !date_is(&p, end, 't') && !date_is(&p, end, ' '))
            return 0;
        parts->hour = date_digits(&p, end, 2);
        if (parts->hour < 0 || parts->hour > 23 || !date_rest_of_time(&p, end)
            || !date_zone(&p, end) || p != end)
            return 0;
    }
    y = year + 400 - (month < 3);
    parts->dow = (y + y / 4 - y / 100 + y / 400 + shifts[month - 1] + day) % 7;
    parts->dow = parts->dow ? parts->dow : 7;
    parts->month = month;
    return 1;
}

#endif
