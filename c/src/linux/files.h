/* Internal: small files of /proc and /sys, which are read and written as a whole, and files of
 * many lines, which are read line by line. */
#ifndef WRT_LINUX_FILES_H
#define WRT_LINUX_FILES_H

#include "sys_files.h"

/* A text, as large as the largest small file that we read (memory.stat). */
enum { WRT__TEXT_SIZE = 8192, WRT__LINE_SIZE = 8192 };

/* Reads what is in a file, at most size - 1 bytes, and closes it with a NUL. Its length, or -1
 * and errno. */
ssize_t wrt__file_read(int directory, const char *path, char *text_out, size_t size);

/* Writes a text in one call, as such files want it. 0, or -1 and errno. */
int wrt__file_write(int directory, const char *path, const char *text);

/* Joins two texts; false if they do not fit, the NUL included. */
bool wrt__join(char *text_out, size_t size, const char *first, const char *second);

/* The number after `key` and a blank, at the beginning of a line; `otherwise` if there is none.
 * "max" is UINT64_MAX. */
uint64_t wrt__number_of(const char *text, const char *key, uint64_t otherwise);

/* Reads a number, or "max", which is UINT64_MAX; NULL if there is none, else what follows. */
const char *wrt__read_number(const char *text, uint64_t *number_out);

/* Whether `word` stands in a list, between separators. */
bool wrt__list_has(const char *list, const char *word, char separator);

typedef struct wrt__lines {
    int descriptor; /* -1: none is open */
    int code;       /* error number of a read that failed; 0 */
    off_t offset;
    size_t start, end; /* of what is in `bytes` and was not given out */
    bool is_over;
    bool is_skipping; /* the rest of a line that was too long */
    char bytes[WRT__LINE_SIZE];
} wrt__lines;

/* Opens a file; 0, or -1 and errno. */
int wrt__lines_open(wrt__lines *lines, const char *path);
/* The next line without its end, valid until the next call; what is longer than WRT__LINE_SIZE - 1
 * is cut off. NULL: there is none, or `code` is set. */
char *wrt__lines_next(wrt__lines *lines);
void wrt__lines_close(wrt__lines *lines);

#endif
