/* Files, folders and their errors through the C library. Run natively in a folder and as a guest
 * that has the same folder, it must print the same. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(const char *what, long answer)
{
    if (answer < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %ld\n", what, answer);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void list(const char *path)
{
    char *names[2000];
    int count = 0;
    DIR *folder = opendir(path);

    if (folder == NULL) {
        tell(path, -1);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        names[count++] = strdup(entry->d_name);
    }
    closedir(folder);
    qsort(names, (size_t)count, sizeof names[0], by_name);
    printf("%s holds %d:", path, count);
    for (int i = 0; i < count; i++) {
        if (i < 5 || i > count - 3) printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static void many_files(void)
{
    char name[64];

    tell("mkdir many", mkdir("many", 0777));
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "many/a-rather-long-name-of-file-%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0666));
    }
    list("many");
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "many/a-rather-long-name-of-file-%d", i);
        if (unlink(name) != 0) tell(name, -1);
    }
    tell("rmdir many", rmdir("many"));
}

static void write_and_read(void)
{
    char line[100];
    FILE *file = fopen("text", "w+");

    for (int i = 0; i < 1000; i++) fprintf(file, "line %d\n", i);
    tell("ftell", ftell(file));
    tell("fseek", fseek(file, -9, SEEK_END));
    printf("last: %s", fgets(line, sizeof line, file));
    rewind(file);
    printf("first: %s", fgets(line, sizeof line, file));
    fclose(file);
    file = fopen("text", "a");
    fputs("more\n", file);
    fclose(file);
    struct stat status;
    tell("stat", stat("text", &status));
    printf("size %ld, file %d, links %d\n", (long)status.st_size, S_ISREG(status.st_mode),
           (int)status.st_nlink);
    tell("truncate", truncate("text", 10));
    int fd = open("text", O_RDWR);
    tell("pread", pread(fd, line, 4, 5));
    tell("pwrite", pwrite(fd, "XY", 2, 20));
    tell("lseek end", lseek(fd, 0, SEEK_END));
    tell("lseek before the start", lseek(fd, -100, SEEK_SET));
    tell("ftruncate", ftruncate(fd, 3));
    tell("read nothing", read(fd, line, 10));
    tell("write to it", write(fd, "abc", 3));
    tell("fsync", fsync(fd));
    tell("close", close(fd));
    tell("close again", close(fd));
}

static void errors(void)
{
    tell("open what is not there", open("nothing", O_RDONLY));
    tell("open below a file", open("text/x", O_RDONLY));
    tell("create what is there", open("text", O_CREAT | O_EXCL | O_WRONLY, 0666));
    tell("open a folder to write", open(".", O_RDWR));
    tell("open a file as a folder", open("text", O_RDONLY | O_DIRECTORY));
    tell("mkdir again", mkdir("folder", 0777) + mkdir("folder", 0777));
    tell("rmdir a file", rmdir("text"));
    tell("unlink what is not there", unlink("nothing"));
    tell("rename onto a folder", rename("text", "folder"));
    int fd = open("text", O_RDONLY);
    tell("write to a reader", write(fd, "x", 1));
    close(fd);
    fd = open("text", O_WRONLY);
    char byte;
    tell("read from a writer", read(fd, &byte, 1));
    close(fd);
    list("nothing");
    list("text");
}

static void links(void)
{
    char target[100] = "";
    struct stat status;

    tell("symlink", symlink("text", "link"));
    tell("symlink again", symlink("text", "link"));
    tell("readlink", readlink("link", target, sizeof target));
    printf("to %s\n", target);
    tell("readlink of a file", readlink("text", target, sizeof target));
    tell("lstat", lstat("link", &status));
    printf("link %d\n", S_ISLNK(status.st_mode));
    tell("no follow", open("link", O_RDONLY | O_NOFOLLOW));
    tell("link", link("text", "hard"));
    tell("stat", stat("hard", &status));
    printf("links %d\n", (int)status.st_nlink);
    tell("rename", rename("hard", "folder/moved"));
    tell("loop", symlink("loop", "loop"));
    tell("open a loop", open("loop", O_RDONLY));
    list(".");
    list("folder");
    tell("unlink", unlink("folder/moved") + unlink("link") + unlink("loop") + unlink("text"));
    tell("rmdir", rmdir("folder"));
    list(".");
}

int main(void)
{
    write_and_read();
    many_files();
    errors();
    links();
    return 0;
}
