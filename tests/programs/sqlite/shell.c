// A small shell round SQLite, to be compiled for WASI.
//
//     shell DATABASE SQL...
//     shell DATABASE --file FILE
//
// runs the statements on the database and prints each row on a line, its values parted by '|' and
// NULL for what is null. Without arguments it ends at once, which is for measuring how long the
// module takes to load.
#include "sqlite3.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *doing, const char *reason)
{
    fprintf(stderr, "shell: %s: %s\n", doing, reason);
    exit(1);
}

static void print_row(sqlite3_stmt *statement)
{
    int count = sqlite3_column_count(statement);
    for (int i = 0; i < count; i++) {
        const unsigned char *text = sqlite3_column_text(statement, i);
        printf("%s%s", i > 0 ? "|" : "", text != NULL ? (const char *)text : "NULL");
    }
    putchar('\n');
}

static void run(sqlite3 *database, const char *sql)
{
    while (*sql != 0) {
        sqlite3_stmt *statement;
        const char *rest;
        if (sqlite3_prepare_v2(database, sql, -1, &statement, &rest) != SQLITE_OK)
            fail("prepare", sqlite3_errmsg(database));
        int step = SQLITE_DONE;
        while (statement != NULL && (step = sqlite3_step(statement)) == SQLITE_ROW)
            print_row(statement);
        if (step != SQLITE_DONE) fail("step", sqlite3_errmsg(database));
        sqlite3_finalize(statement);
        sql = rest;
    }
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail(path, "cannot be opened");
    size_t size = 0;
    size_t room = 4096;
    char *text = malloc(room);
    while (text != NULL) {
        size_t got = fread(text + size, 1, room - size - 1, file);
        if (got == 0) break;
        size += got;
        if (size + 1 == room) text = realloc(text, room *= 2);
    }
    if (text == NULL) fail(path, "does not fit into memory");
    text[size] = 0;
    fclose(file);
    return text;
}

int main(int argument_count, char **arguments)
{
    sqlite3 *database;
    if (argument_count < 3) return 0;
    // WASI has no file locks: one guest uses the database at a time.
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(arguments[1], &database, flags, "unix-none") != SQLITE_OK)
        fail(arguments[1], sqlite3_errmsg(database));
    if (argument_count == 4 && strcmp(arguments[2], "--file") == 0) {
        char *text = read_text(arguments[3]);
        run(database, text);
        free(text);
    } else {
        for (int i = 2; i < argument_count; i++) run(database, arguments[i]);
    }
    if (sqlite3_close(database) != SQLITE_OK) fail("close", sqlite3_errmsg(database));
    return 0;
}
