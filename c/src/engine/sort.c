/* Heap sort: in place, without recursion, and as fast on input made to hurt as on any other. */
#include "loader.h"

/* Lets the number at `parent` sink until none below it is greater. */
static void sink(uint32_t *numbers, uint32_t parent, uint32_t count, wrt__is_less is_less,
                 const void *context)
{
    const uint32_t sinking = numbers[parent];

    for (uint64_t child = 2 * (uint64_t)parent + 1; child < count;
         child = 2 * (uint64_t)parent + 1) {
        if (child + 1 < count && is_less(context, numbers[child], numbers[child + 1])) child++;
        if (!is_less(context, sinking, numbers[child])) break;
        numbers[parent] = numbers[child];
        parent = (uint32_t)child;
    }
    numbers[parent] = sinking;
}

void wrt__sort(uint32_t *numbers, uint32_t count, wrt__is_less is_less, const void *context)
{
    for (uint32_t i = count / 2; i > 0; i--) sink(numbers, i - 1, count, is_less, context);
    for (uint32_t last = count; last > 1; last--) {
        const uint32_t greatest = numbers[0];
        numbers[0] = numbers[last - 1];
        numbers[last - 1] = greatest;
        sink(numbers, 0, last - 1, is_less, context);
    }
}
