// Heats one edge of a metal plate and waits until the temperatures settle.
//
//     plate [SIDE [STEPS]]     64 and 2000 if not given
//
// The heat equation on a square grid: in each step a point takes the mean of its four neighbours.
// The upper edge is held at 100 degrees, the others at 0. Where it settles, the middle has exactly
// a quarter of the edge's temperature, since four such plates, turned, add up to one that is all at
// 100. Single precision is used, as a small controller would.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const float EDGE = 100.0f;

static float *new_grid(int width)
{
    float *grid = calloc((size_t)width * (size_t)width, sizeof *grid);
    if (grid == NULL) {
        fprintf(stderr, "plate: out of memory\n");
        exit(1);
    }
    for (int x = 0; x < width; x++) grid[x] = EDGE;
    return grid;
}

// One step. Returns the largest change of any point.
static float relax(const float *from, float *to, int width)
{
    float largest = 0;
    for (int y = 1; y < width - 1; y++) {
        for (int x = 1; x < width - 1; x++) {
            int at = y * width + x;
            float mean =
                (from[at - width] + from[at + width] + from[at - 1] + from[at + 1]) * 0.25f;
            float change = fabsf(mean - from[at]);
            if (change > largest) largest = change;
            to[at] = mean;
        }
    }
    return largest;
}

static void print_profile(const float *grid, int width)
{
    for (int i = 0; i <= 8; i++) {
        int y = i * (width - 1) / 8;
        printf("depth %d/8  %8.4f\n", i, (double)grid[y * width + width / 2]);
    }
}

int main(int argument_count, char **arguments)
{
    int side = argument_count > 1 ? (int)strtol(arguments[1], NULL, 10) : 64;
    long steps = argument_count > 2 ? strtol(arguments[2], NULL, 10) : 2000;
    if (side < 8 || side > 4096) {
        fprintf(stderr, "plate: the side is 8 to 4096 points\n");
        return 1;
    }
    int width = side + 1; // an odd number of points has a middle
    float *now = new_grid(width);
    float *next = new_grid(width);
    float change = 0;
    for (long step = 0; step < steps; step++) {
        change = relax(now, next, width);
        float *other = now;
        now = next;
        next = other;
    }
    printf("%d by %d points, %ld steps, last change %.6f\n", width, width, steps, (double)change);
    print_profile(now, width);
    free(now);
    free(next);
    return 0;
}
