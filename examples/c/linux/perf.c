// What a stretch of work cost the processor and the kernel.
#include "wrt_platform/linux/perf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "perf: %s\n", sentence);
    exit(1);
}

static void work(void)
{
    const size_t size = 4 << 20; // a thousand pages that nobody has touched yet
    volatile char *area = malloc(size);

    if (area == NULL) exit(1);
    for (size_t i = 0; i < size; i += 4096) area[i] = 1;
    free((char *)area);
}

static void print_row(const wrt_perf_row *row)
{
    const char *name = wrt_perf_counter_name(row->counter);
    char sentence[300];

    if (row->error.status != WRT_OK) {
        wrt_error_format(&row->error, sentence, sizeof sentence);
        printf("%s: %s\n", name, sentence);
    } else {
        const bool scaled = row->reading.state == WRT_PERF_SCALED;
        printf("%s: %llu%s\n", name, (unsigned long long)row->reading.value,
               scaled ? ", scaled up" : "");
    }
}

int main(void)
{
    static wrt_perf_profile profile;
    wrt_perf_profile_config config = {0};
    wrt_perf_row rows[WRT_PERF_ROWS];
    double ratio = 0;

    config.struct_size = sizeof config;
    config.include_kernel = true;
    must(wrt_perf_profile_start(&profile, &config));
    work();
    must(wrt_perf_profile_stop(&profile, rows));
    for (int i = 0; i < WRT_PERF_ROWS; i++) print_row(&rows[i]);
    if (wrt_perf_instructions_per_cycle(rows, WRT_PERF_ROWS, &ratio) == WRT_OK) {
        printf("instructions per cycle: %.2f\n", ratio);
    }
    return 0;
}
