/* What a program sees of its world: arguments, environment, streams, clocks, its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void at_end(void)
{
    printf("at exit\n");
}

int main(int argc, char **argv)
{
    char line[200];

    atexit(at_end);
    for (int i = 0; i < argc; i++) printf("argument %d: <%s>\n", i, i == 0 ? "" : argv[i]);
    for (char **variable = environ; *variable != NULL; variable++) printf("%s\n", *variable);
    while (fgets(line, sizeof line, stdin) != NULL) printf("read: %s", line);
    fprintf(stderr, "terminals: %d %d %d\n", isatty(0), isatty(1), isatty(2));
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    usleep(50000);
    clock_gettime(CLOCK_MONOTONIC, &end);
    const long passed =
        (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    printf("slept well: %d\n", passed >= 50 && passed < 500);
    printf("time is sane: %d\n", time(NULL) > 1600000000);
    exit(argc > 1 ? atoi(argv[1]) : 0);
}
