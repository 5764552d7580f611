/* Signs of containers, each with its weight.
 *
 * What is taken for certain only the runtime itself makes, and for this process: what it has
 * mounted into the container, what it wrote to /run, which is fresh in each container, and what the
 * first process was told. /.dockerenv is part of the image's layer: it stays when an image is
 * unpacked elsewhere, and is missing while one is built; so it is a hint, and needs a second one,
 * such as a root that is made of layers. Variables are hints, for what is started from a container
 * inherits them. */
#include "cgroups.h"

#include "../core/fail.h"

#include "wrt_platform/linux/container.h"

static const char *const names[] = {"none",   "docker",    "podman",  "kubernetes", "lxc",
                                    "nspawn", "container", "systemd", "wsl"};

enum { RUNTIMES = sizeof names / sizeof names[0], AGREE = 2 };

const char *wrt_linux_runtime_name(uint32_t runtime)
{
    return names[runtime < RUNTIMES ? runtime : 0];
}

static void note(wrt_linux_environment *found, uint32_t runtime, uint32_t confidence,
                 const char *text)
{
    for (uint32_t i = 0; i < found->evidence_count; i++) {
        if (found->evidence[i].text == text && found->evidence[i].runtime == runtime) return;
    }
    if (found->evidence_count == WRT_LINUX_EVIDENCE_MAX) return;
    found->evidence[found->evidence_count++] =
        (wrt_linux_evidence){.text = text, .runtime = runtime, .confidence = confidence};
}

static void hint(wrt_linux_environment *found, uint32_t runtime, const char *text)
{
    note(found, runtime, WRT_LINUX_CONFIDENCE_HINT, text);
}

static void certain(wrt_linux_environment *found, uint32_t runtime, const char *text)
{
    note(found, runtime, WRT_LINUX_CONFIDENCE_CERTAIN, text);
}

/* ---- Files ---- */

static bool path_below(const char *root, const char *path, char path_out[])
{
    return wrt__join(path_out, WRT_LINUX_CGROUP_PATH_SIZE, root, path);
}

static bool is_there(const char *root, const char *path)
{
    char full[WRT_LINUX_CGROUP_PATH_SIZE];

    if (!path_below(root, path, full)) return false;
    const int descriptor = wrt__sys_openat(AT_FDCWD, full, O_PATH);
    if (descriptor >= 0) close(descriptor);
    return descriptor >= 0;
}

/* The text of a file; empty if it is not there. */
static ssize_t text_below(const char *root, const char *path, char text_out[], size_t size)
{
    char full[WRT_LINUX_CGROUP_PATH_SIZE];

    text_out[0] = '\0';
    return path_below(root, path, full) ? wrt__file_read(AT_FDCWD, full, text_out, size) : -1;
}

/* ---- What the manager of the container calls itself ---- */

static uint32_t runtime_called(const char *name)
{
    static const struct {
        const char *name;
        uint32_t runtime;
    } known[] = {{"docker", WRT_LINUX_RUNTIME_DOCKER},
                 {"podman", WRT_LINUX_RUNTIME_PODMAN},
                 {"lxc", WRT_LINUX_RUNTIME_LXC},
                 {"systemd-nspawn", WRT_LINUX_RUNTIME_NSPAWN},
                 {"wsl", WRT_LINUX_RUNTIME_WSL}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const size_t length = strlen(known[i].name);
        if (strncmp(name, known[i].name, length) == 0) return known[i].runtime;
    }
    return WRT_LINUX_RUNTIME_OTHER_CONTAINER;
}

static void look_at_names(wrt_linux_environment *found, const char *root)
{
    char text[256];

    if (text_below(root, "/run/systemd/container", text, sizeof text) > 0) {
        certain(found, runtime_called(text), "/run/systemd/container names it");
    }
    if (text_below(root, "/run/host/container-manager", text, sizeof text) > 0) {
        certain(found, runtime_called(text), "/run/host/container-manager names it");
    }
}

/* ---- Variables ---- */

/* Texts that are closed by a NUL each; the value of one, or NULL. */
static const char *variable(const char *text, ssize_t length, const char *name)
{
    const size_t size = strlen(name);

    for (const char *at = text; length > 0 && at < text + length; at += strlen(at) + 1) {
        if (strncmp(at, name, size) == 0 && at[size] == '=') return at + size + 1;
    }
    return NULL;
}

static void look_at_variables(wrt_linux_environment *found, const char *root, char text[])
{
    const ssize_t first = text_below(root, "/proc/1/environ", text, WRT__TEXT_SIZE);
    const char *manager = variable(text, first, "container");

    if (manager != NULL && *manager != '\0') {
        certain(found, runtime_called(manager), "the first process has the variable container");
    }
    const ssize_t own = text_below(root, "/proc/self/environ", text, WRT__TEXT_SIZE);
    manager = variable(text, own, "container");
    if (manager != NULL && *manager != '\0') {
        hint(found, runtime_called(manager), "the variable container names it");
    }
    if (variable(text, own, "KUBERNETES_SERVICE_HOST") != NULL) {
        hint(found, WRT_LINUX_RUNTIME_KUBERNETES, "the variable KUBERNETES_SERVICE_HOST is set");
    }
    if (variable(text, own, "INVOCATION_ID") != NULL) {
        hint(found, WRT_LINUX_RUNTIME_SYSTEMD, "the variable INVOCATION_ID is set");
    }
}

/* ---- Files that runtimes make ---- */

static void look_at_files(wrt_linux_environment *found, const char *root)
{
    char text[512];

    if (is_there(root, "/run/.containerenv")) {
        certain(found, WRT_LINUX_RUNTIME_PODMAN, "/run/.containerenv is there");
    }
    if (is_there(root, "/.dockerenv")) {
        hint(found, WRT_LINUX_RUNTIME_DOCKER, "/.dockerenv is there");
    }
    if (is_there(root, "/var/run/secrets/kubernetes.io/serviceaccount") ||
        is_there(root, "/run/secrets/kubernetes.io/serviceaccount")) {
        hint(found, WRT_LINUX_RUNTIME_KUBERNETES, "a service account of Kubernetes is mounted");
    }
    (void)text_below(root, "/proc/sys/kernel/osrelease", text, sizeof text);
    if (strstr(text, "icrosoft") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_WSL, "the kernel is Microsoft's");
    }
}

/* ---- Mounts ---- */

/* One line of mountinfo. What a runtime mounts into a container shows where it lies outside. */
static void look_at_mount(wrt_linux_environment *found, const char *line)
{
    if (strstr(line, "/docker/containers/") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_DOCKER, "Docker has mounted files of the container");
    }
    if (strstr(line, "/kubelet/pods/") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_KUBERNETES, "the kubelet has mounted files of the pod");
    }
    if (strstr(line, "/overlay-containers/") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_PODMAN, "Podman has mounted files of the container");
    }
    if (strstr(line, " / / ") != NULL && strstr(line, " - overlay ") != NULL) {
        hint(found, WRT_LINUX_RUNTIME_DOCKER, "the root is made of layers");
    }
}

static wrt_status fail_to_look(const char *operation, int code)
{
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "/proc/self can't be read: is proc mounted?",
                           code, 0, 0);
}

static wrt_status each_line(const char *operation, const char *root, const char *file,
                            wrt_linux_environment *found,
                            void (*look)(wrt_linux_environment *found, const char *line))
{
    wrt__lines lines;
    char full[WRT_LINUX_CGROUP_PATH_SIZE];

    if (!path_below(root, file, full)) {
        return wrt_fail(WRT_ERR_LIMIT, operation, "root is too long");
    }
    if (wrt__lines_open(&lines, full) != 0) return fail_to_look(operation, errno);
    for (char *line = wrt__lines_next(&lines); line != NULL; line = wrt__lines_next(&lines)) {
        look(found, line);
    }
    wrt__lines_close(&lines);
    return lines.code == 0 ? WRT_OK : fail_to_look(operation, lines.code);
}

/* ---- Control groups: paths that are not hidden by a namespace ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), size = strlen(end);

    return length >= size && strcmp(text + length - size, end) == 0;
}

static void look_at_group(wrt_linux_environment *found, const char *line)
{
    if (strstr(line, "/kubepods") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_KUBERNETES, "own control group is a pod's");
    }
    if (strstr(line, ":/docker/") != NULL || strstr(line, "/docker-") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_DOCKER, "own control group is a container's of Docker");
    }
    if (strstr(line, "/libpod-") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_PODMAN, "own control group is a container's of Podman");
    }
    if (strstr(line, ":/lxc/") != NULL || strstr(line, "/lxc.payload") != NULL) {
        certain(found, WRT_LINUX_RUNTIME_LXC, "own control group is a container's of LXC");
    }
    if (ends_with(line, ".service") && strstr(line, "/user@") == NULL) {
        hint(found, WRT_LINUX_RUNTIME_SYSTEMD, "own control group is a service's");
    }
}

/* ---- The verdict ---- */

static uint32_t weight_of(const wrt_linux_environment *found, uint32_t runtime)
{
    uint32_t weight = 0;

    for (uint32_t i = 0; i < found->evidence_count; i++) {
        if (found->evidence[i].runtime != runtime) continue;
        if (found->evidence[i].confidence == WRT_LINUX_CONFIDENCE_CERTAIN) return AGREE;
        weight++;
    }
    return weight;
}

static bool has_certain(const wrt_linux_environment *found, uint32_t runtime)
{
    for (uint32_t i = 0; i < found->evidence_count; i++) {
        if (found->evidence[i].runtime == runtime &&
            found->evidence[i].confidence == WRT_LINUX_CONFIDENCE_CERTAIN) {
            return true;
        }
    }
    return false;
}

static void decide(wrt_linux_environment *found)
{
    static const uint32_t order[] = {
        WRT_LINUX_RUNTIME_KUBERNETES, WRT_LINUX_RUNTIME_PODMAN, WRT_LINUX_RUNTIME_DOCKER,
        WRT_LINUX_RUNTIME_LXC,        WRT_LINUX_RUNTIME_NSPAWN, WRT_LINUX_RUNTIME_OTHER_CONTAINER,
        WRT_LINUX_RUNTIME_SYSTEMD,    WRT_LINUX_RUNTIME_WSL};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (weight_of(found, order[i]) < AGREE) continue;
        found->layers |= 1u << order[i];
        if (found->environment != WRT_LINUX_RUNTIME_NONE) continue;
        found->environment = order[i];
        found->confidence =
            has_certain(found, order[i]) ? WRT_LINUX_CONFIDENCE_CERTAIN : WRT_LINUX_CONFIDENCE_HINT;
    }
}

wrt_status wrt_linux_environment_detect(const char *root, wrt_linux_environment *environment_out)
{
    wrt_linux_environment found = {0};
    char text[WRT__TEXT_SIZE];

    if (root == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "root is NULL");
    if (environment_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "environment_out is NULL");
    }
    *environment_out = found;
    look_at_names(&found, root);
    look_at_variables(&found, root, text);
    look_at_files(&found, root);
    wrt_status status = each_line(__func__, root, "/proc/self/mountinfo", &found, look_at_mount);
    if (status == WRT_OK) {
        status = each_line(__func__, root, "/proc/self/cgroup", &found, look_at_group);
    }
    if (status != WRT_OK) return status;
    decide(&found);
    *environment_out = found;
    return WRT_OK;
}
