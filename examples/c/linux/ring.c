// Reads go on meanwhile: one, a batch in one system call, and one into a registered buffer.
#include "wrt_platform/linux/io_uring.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 4096, COUNT = 50 };

static uint8_t blocks[COUNT][BLOCK];

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "ring: %s\n", sentence);
    exit(1);
}

static void read_batch(wrt_io_uring *ring, int file)
{
    static wrt_io_uring_request requests[COUNT];
    static wrt_io_uring_completion done[COUNT];
    uint32_t accepted = 0;
    uint32_t count = 0;
    int bytes = 0;

    for (uint32_t i = 0; i < COUNT; i++) {
        requests[i].operation = WRT_IO_URING_READ;
        requests[i].descriptor = file;
        requests[i].buffer = blocks[i];
        requests[i].size = BLOCK;
        requests[i].offset = (uint64_t)i * BLOCK;
    }
    must(wrt_io_uring_submit(ring, requests, COUNT, &accepted));
    must(wrt_io_uring_wait(ring, done, COUNT, accepted, UINT64_MAX, &count));
    for (uint32_t i = 0; i < count; i++) bytes += done[i].result;
    printf("batch: %u reads, %d bytes\n", count, bytes);
}

static void read_registered(wrt_io_uring *ring, int file)
{
    const wrt_io_uring_buffer buffers[] = {{blocks[0], BLOCK}, {blocks[1], BLOCK}};
    wrt_io_uring_request request = {0};
    wrt_io_uring_completion completion;
    uint32_t accepted = 0;

    must(wrt_io_uring_register_buffers(ring, buffers, 2));
    request.operation = WRT_IO_URING_READ_FIXED;
    request.descriptor = file;
    request.buffer_index = 1;
    request.buffer = blocks[1];
    request.size = BLOCK;
    request.timeout_ns = 5000000000;
    must(wrt_io_uring_submit(ring, &request, 1, &accepted));
    must(wrt_io_uring_wait_completion(ring, &completion, UINT64_MAX));
    printf("registered: %d bytes\n", completion.result);
}

int main(void)
{
    FILE *stream = tmpfile();
    if (stream == NULL || ftruncate(fileno(stream), COUNT * BLOCK) != 0) return 1;
    const int file = fileno(stream);

    wrt_io_uring_config config = {0};
    config.struct_size = sizeof config;
    config.entries = 256;
    wrt_io_uring ring = {0};
    must(wrt_io_uring_init(&ring, &config));
    must(wrt_io_uring_submit_read(&ring, file, blocks[0], BLOCK, 0, 42));
    wrt_io_uring_completion completion;
    must(wrt_io_uring_wait_completion(&ring, &completion, UINT64_MAX));
    printf("request %llu: %d bytes\n", (unsigned long long)completion.user_data, completion.result);

    read_batch(&ring, file);
    read_registered(&ring, file);
    wrt_io_uring_report report;
    must(wrt_io_uring_query(&ring, &report));
    printf("by %s\n", wrt_io_uring_backend_name(report.backend));
    must(wrt_io_uring_deinit(&ring)); // waits until nothing writes to a buffer any more
    fclose(stream);
    return 0;
}
