// Counts the ways to put queens on a board so that none attacks another.
//
//     queens [SIZE]            8 if not given
//
// A search by recursion: one call per row, going back where no square is left. The known numbers of
// ways are at hand, so that the program judges itself.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE_MAX_KNOWN = 14 };

static const uint32_t known[SIZE_MAX_KNOWN + 1] = {
    0, 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2680, 14200, 73712, 365596,
};

typedef struct search {
    uint32_t board; // a bit for each column
    uint32_t ways;
    uint64_t calls;
    uint8_t first[SIZE_MAX_KNOWN]; // column of each row's queen in the first way
    uint8_t row[SIZE_MAX_KNOWN];
} search;

static uint8_t column_of(uint32_t bit)
{
    uint8_t column = 0;
    while (bit >>= 1) column++;
    return column;
}

static void keep_first(search *self)
{
    for (int i = 0; i < SIZE_MAX_KNOWN; i++) self->first[i] = self->row[i];
}

// The diagonals that earlier queens attack move by one square from row to row.
static void place(search *self, int row, uint32_t columns, uint32_t falling, uint32_t rising)
{
    self->calls++;
    if (columns == self->board) {
        if (self->ways++ == 0) keep_first(self);
        return;
    }
    uint32_t free_squares = self->board & ~(columns | falling | rising);
    while (free_squares != 0) {
        uint32_t square = free_squares & (0u - free_squares);
        free_squares ^= square;
        self->row[row] = column_of(square);
        place(self, row + 1, columns | square, (falling | square) >> 1, (rising | square) << 1);
    }
}

static void print_board(const search *self, int size)
{
    for (int row = 0; row < size; row++) {
        for (int column = 0; column < size; column++)
            fputs(self->first[row] == column ? " Q" : " .", stdout);
        putchar('\n');
    }
}

int main(int argument_count, char **arguments)
{
    long size = argument_count > 1 ? strtol(arguments[1], NULL, 10) : 8;
    if (size < 1 || size > SIZE_MAX_KNOWN) {
        fprintf(stderr, "queens: the size is 1 to %d\n", SIZE_MAX_KNOWN);
        return 1;
    }
    search all = {.board = (1u << size) - 1};
    place(&all, 0, 0, 0, 0);
    printf("%ld queens: %u ways, %llu calls\n", size, (unsigned)all.ways,
           (unsigned long long)all.calls);
    if (all.ways > 0) print_board(&all, (int)size);
    if (all.ways != known[size]) {
        fprintf(stderr, "queens: %u ways are known\n", (unsigned)known[size]);
        return 1;
    }
    return 0;
}
