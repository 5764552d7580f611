/* The texts of a row. They hold numbers and names that are known only when it was tried, so they
 * are written into the row itself. */
#include "doctor.h"

#include "../core/fail.h"

/* ---- Writing ---- */

typedef struct writer {
    char *text;
    size_t length;
} writer;

static void put(writer *to, char character)
{
    if (to->length < WRT_DOCTOR_TEXT_SIZE - 1) to->text[to->length++] = character;
}

static void put_word(writer *to, const char *word)
{
    for (; word != NULL && *word != '\0'; word++) {
        put(to, *word >= ' ' && *word <= '~' ? *word : '?'); /* a path may hold anything */
    }
}

static void put_number(writer *to, uint64_t number)
{
    char digits[20];
    uint32_t count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) put(to, digits[--count]);
}

void wrt__doctor_write(char *text_out, const char *format, const wrt__words *words)
{
    writer to = {text_out, 0};

    while (*format != '\0') {
        const bool is_place = format[0] == '{' && format[1] != '\0' && format[2] == '}';
        if (!is_place) {
            put(&to, *format++);
            continue;
        }
        if (format[1] == 'w') put_word(&to, words->word);
        if (format[1] == '0' || format[1] == '1') put_number(&to, words->numbers[format[1] - '0']);
        format += 3;
    }
    to.text[to.length] = '\0';
}

/* ---- Findings ---- */

wrt_status wrt__found_numbers(wrt_doctor_row *row, uint32_t state, const char *reason,
                              uint64_t first, uint64_t second)
{
    const wrt__words words = {{first, second}, NULL};

    row->state = state;
    wrt__doctor_write(row->reason, reason, &words);
    return WRT_OK;
}

wrt_status wrt__found(wrt_doctor_row *row, uint32_t state, const char *reason)
{
    return wrt__found_numbers(row, state, reason, 0, 0);
}

wrt_status wrt__found_word(wrt_doctor_row *row, uint32_t state, const char *reason,
                           const char *word)
{
    const wrt__words words = {{0, 0}, word};

    row->state = state;
    wrt__doctor_write(row->reason, reason, &words);
    return WRT_OK;
}

void wrt__remedy_word(wrt_doctor_row *row, const char *remedy, const char *word)
{
    const wrt__words words = {{0, 0}, word};

    wrt__doctor_write(row->remedy, remedy, &words);
}

void wrt__remedy(wrt_doctor_row *row, const char *remedy)
{
    wrt__remedy_word(row, remedy, NULL);
}

wrt_status wrt__refused(const char *call)
{
    const int code = errno;
    const wrt_status status = code == EPERM || code == EACCES    ? WRT_ERR_PERMISSION
                              : code == ENOSYS || code == EINVAL ? WRT_ERR_UNSUPPORTED
                              : code == ENOMEM                   ? WRT_ERR_NO_MEMORY
                                                                 : WRT_ERR_SYSTEM;

    return wrt_fail_system(status, call, "refused", code, 0, 0);
}

uint64_t wrt__setting(const char *path, uint64_t otherwise)
{
    char text[64];
    uint64_t number = 0;

    if (wrt__read_text(path, text, sizeof text) <= 0) return otherwise;
    return wrt__read_number(text, &number) != NULL ? number : otherwise;
}
