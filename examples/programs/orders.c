// Answers questions about a table of orders in a CSV file.
//
//     orders FILE GROUP VALUE [TIMES]
//
// groups the rows by column GROUP and prints, for each group, how many rows it has and sum, mean,
// median and extremes of column VALUE. TIMES reads the file again and again, to have more work.
// Fields follow RFC 4180: a quoted field may hold commas, line ends and doubled quotes.
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_MAX = 32, GROUP_MAX = 64, FIELD_SIZE = 256 };

typedef struct group {
    char name[FIELD_SIZE];
    double *values;
    size_t count;
    size_t room;
} group;

typedef struct table {
    char columns[COLUMN_MAX][FIELD_SIZE];
    char row[COLUMN_MAX][FIELD_SIZE];
    int column_count;
    group groups[GROUP_MAX];
    int group_count;
    size_t row_count;
} table;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "orders: %s: %s\n", what, detail);
    exit(1);
}

// Reading

// What ended a field.
typedef enum { FIELD_COMMA, FIELD_LINE, FIELD_FILE } field_end;

static int next_byte(FILE *file)
{
    int byte = getc(file);
    return byte == '\r' ? getc(file) : byte;
}

static void put(char *field, size_t *size, int byte)
{
    if (*size + 1 == FIELD_SIZE) fail("a field is longer than 255 bytes", field);
    field[(*size)++] = (char)byte;
    field[*size] = 0;
}

static field_end read_field(FILE *file, char *field)
{
    size_t size = 0;
    bool quoted = false;
    field[0] = 0;
    for (;;) {
        int byte = next_byte(file);
        if (byte == EOF) {
            if (quoted) fail("the file ends inside of a quoted field", field);
            return FIELD_FILE;
        }
        if (byte == '"') {
            int following = quoted ? next_byte(file) : 0;
            if (following == '"') {
                put(field, &size, '"');
                continue;
            }
            if (quoted) ungetc(following, file);
            quoted = !quoted;
            continue;
        }
        if (!quoted && byte == ',') return FIELD_COMMA;
        if (!quoted && byte == '\n') return FIELD_LINE;
        put(field, &size, byte);
    }
}

// Reads one row; false at the end of the file.
static bool read_row(FILE *file, char row[COLUMN_MAX][FIELD_SIZE], int *count_out)
{
    int count = 0;
    for (;;) {
        if (count == COLUMN_MAX) fail("a row has more than 32 columns", row[0]);
        field_end end = read_field(file, row[count]);
        if (end == FIELD_FILE && count == 0 && row[0][0] == 0) return false;
        count++;
        if (end == FIELD_COMMA) continue;
        *count_out = count;
        return true;
    }
}

static int find_column(const table *self, const char *name)
{
    for (int i = 0; i < self->column_count; i++)
        if (strcmp(self->columns[i], name) == 0) return i;
    fail("no such column", name);
    return -1;
}

// Grouping

static group *find_group(table *self, const char *name)
{
    for (int i = 0; i < self->group_count; i++)
        if (strcmp(self->groups[i].name, name) == 0) return &self->groups[i];
    if (self->group_count == GROUP_MAX) fail("more than 64 groups", name);
    group *made = &self->groups[self->group_count++];
    strcpy(made->name, name);
    return made;
}

static void add_value(group *to, double value)
{
    if (to->count == to->room) {
        to->room = to->room > 0 ? to->room * 2 : 16;
        to->values = realloc(to->values, to->room * sizeof *to->values);
        if (to->values == NULL) fail("out of memory", to->name);
    }
    to->values[to->count++] = value;
}

static double parse_number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0) fail("not a number", text);
    return value;
}

static void read_table(table *self, const char *path, const char *group_by, const char *value)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    if (!read_row(file, self->columns, &self->column_count)) fail("the file is empty", path);
    int group_column = find_column(self, group_by);
    int value_column = find_column(self, value);
    int count;
    while (read_row(file, self->row, &count)) {
        if (count != self->column_count) fail("a row has too few or too many fields", self->row[0]);
        add_value(find_group(self, self->row[group_column]), parse_number(self->row[value_column]));
        self->row_count++;
    }
    fclose(file);
}

// Answers

static int compare_numbers(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static int compare_groups(const void *left, const void *right)
{
    return strcmp(((const group *)left)->name, ((const group *)right)->name);
}

static void print_group(group *one)
{
    qsort(one->values, one->count, sizeof *one->values, compare_numbers);
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < one->count; i++) sum += one->values[i];
    double mean = sum / (double)one->count;
    for (size_t i = 0; i < one->count; i++)
        squares += (one->values[i] - mean) * (one->values[i] - mean);
    double middle = (one->values[(one->count - 1) / 2] + one->values[one->count / 2]) / 2;
    printf("%-14s %8zu %14.2f %10.2f %10.2f %10.2f %10.2f %10.2f\n", one->name, one->count, sum,
           mean, sqrt(squares / (double)one->count), middle, one->values[0],
           one->values[one->count - 1]);
}

int main(int argument_count, char **arguments)
{
    static table orders; // too large for the stack
    if (argument_count < 4) fail("usage", "orders FILE GROUP VALUE [TIMES]");
    long times = argument_count > 4 ? strtol(arguments[4], NULL, 10) : 1;
    for (long i = 0; i < times; i++) read_table(&orders, arguments[1], arguments[2], arguments[3]);
    printf("%zu rows, %d groups by %s\n", orders.row_count, orders.group_count, arguments[2]);
    printf("%-14s %8s %14s %10s %10s %10s %10s %10s\n", arguments[2], "rows", "sum", "mean",
           "deviation", "median", "least", "most");
    qsort(orders.groups, (size_t)orders.group_count, sizeof(group), compare_groups);
    for (int i = 0; i < orders.group_count; i++) {
        print_group(&orders.groups[i]);
        free(orders.groups[i].values);
    }
    return 0;
}
