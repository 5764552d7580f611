/* Small files of /proc and /sys. The kernel makes up their contents at the moment of the read, so
 * a text is read in one call, and a write says one thing. */
#include "files.h"

static void close_keeping_errno(int descriptor)
{
    const int code = errno;

    close(descriptor);
    errno = code;
}

ssize_t wrt__file_read(int directory, const char *path, char *text_out, size_t size)
{
    const int descriptor = wrt__sys_openat(directory, path, O_RDONLY);
    size_t length = 0;
    ssize_t count = 1;

    if (descriptor < 0) return -1;
    while (count > 0 && length < size - 1) {
        count = wrt__sys_pread(descriptor, text_out + length, size - 1 - length, (off_t)length);
        if (count > 0) length += (size_t)count;
    }
    close_keeping_errno(descriptor);
    text_out[length] = '\0';
    return count < 0 ? -1 : (ssize_t)length;
}

int wrt__file_write(int directory, const char *path, const char *text)
{
    const size_t length = strlen(text);
    const int descriptor = wrt__sys_openat(directory, path, O_WRONLY);

    if (descriptor < 0) return -1;
    const ssize_t count = wrt__sys_write(descriptor, text, length);
    if (count >= 0 && (size_t)count != length) errno = EIO;
    close_keeping_errno(descriptor);
    return count >= 0 && (size_t)count == length ? 0 : -1;
}

bool wrt__join(char *text_out, size_t size, const char *first, const char *second)
{
    const size_t front = strlen(first), back = strlen(second);

    if (front + back >= size) return false;
    memmove(text_out, first, front);
    memcpy(text_out + front, second, back + 1);
    return true;
}

/* ---- Words and numbers ---- */

const char *wrt__read_number(const char *text, uint64_t *number_out)
{
    uint64_t number = 0;

    if (strncmp(text, "max", 3) == 0) {
        *number_out = UINT64_MAX;
        return text + 3;
    }
    if (*text < '0' || *text > '9') return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        const uint64_t digit = (uint64_t)(*text - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    *number_out = number;
    return text;
}

uint64_t wrt__number_of(const char *text, const char *key, uint64_t otherwise)
{
    const size_t length = strlen(key);
    uint64_t number = 0;

    while (text != NULL && *text != '\0') {
        if (strncmp(text, key, length) == 0 && (text[length] == ' ' || text[length] == ':')) {
            text += length + 1;
            while (*text == ' ' || *text == '\t') text++;
            return wrt__read_number(text, &number) == NULL ? otherwise : number;
        }
        text = strchr(text, '\n');
        if (text != NULL) text++;
    }
    return otherwise;
}

bool wrt__list_has(const char *list, const char *word, char separator)
{
    const size_t length = strlen(word);

    for (const char *at = list; at != NULL;) {
        const char *end = strchr(at, separator);
        const size_t size = end == NULL ? strcspn(at, "\n") : (size_t)(end - at);
        if (size == length && strncmp(at, word, length) == 0) return true;
        at = end == NULL ? NULL : end + 1;
    }
    return false;
}

/* ---- Lines ---- */

int wrt__lines_open(wrt__lines *lines, const char *path)
{
    lines->code = 0;
    lines->offset = 0;
    lines->start = lines->end = 0;
    lines->is_over = lines->is_skipping = false;
    lines->descriptor = wrt__sys_openat(AT_FDCWD, path, O_RDONLY);
    return lines->descriptor < 0 ? -1 : 0;
}

/* Moves what is left to the front, and reads behind it. */
static void refill(wrt__lines *lines)
{
    const size_t left = lines->end - lines->start;

    memmove(lines->bytes, lines->bytes + lines->start, left);
    lines->start = 0;
    lines->end = left;
    const ssize_t count = wrt__sys_pread(lines->descriptor, lines->bytes + left,
                                         sizeof lines->bytes - 1 - left, lines->offset);
    if (count < 0) lines->code = errno;
    if (count <= 0) {
        lines->is_over = true;
        return;
    }
    lines->end += (size_t)count;
    lines->offset += count;
}

/* Takes `size` bytes and the line's end, or what is there. */
static char *take(wrt__lines *lines, size_t size, bool with_end)
{
    char *line = lines->bytes + lines->start;

    lines->start += size + (with_end ? 1 : 0);
    line[size] = '\0';
    return line;
}

/* The next piece: a line, or as much of it as there is room for. NULL: nothing is left. */
static char *next_piece(wrt__lines *lines, bool *is_whole_out)
{
    for (;;) {
        const size_t left = lines->end - lines->start;
        char *end = memchr(lines->bytes + lines->start, '\n', left);
        *is_whole_out = end != NULL || lines->is_over;
        if (end != NULL) {
            return take(lines, (size_t)(end - lines->bytes) - lines->start, true);
        }
        if (left == sizeof lines->bytes - 1) return take(lines, left, false);
        if (lines->is_over) return left == 0 ? NULL : take(lines, left, false);
        refill(lines);
    }
}

char *wrt__lines_next(wrt__lines *lines)
{
    for (;;) {
        bool is_whole = false;
        char *piece = next_piece(lines, &is_whole);
        const bool is_rest = lines->is_skipping;

        if (piece == NULL || lines->code != 0) return NULL;
        lines->is_skipping = !is_whole;
        if (!is_rest) return piece;
    }
}

void wrt__lines_close(wrt__lines *lines)
{
    if (lines->descriptor >= 0) close(lines->descriptor);
    lines->descriptor = -1;
}
