/* nvidia-smi: its table, in the shape that the driver's release prints, and --query-gpu as CSV.
 *
 * It reads the keys of nvml.c, obeys nvidia-smi.do and nvidia-smi.error (exit code), and prints the messages of the real
 * one when nvmlInitWithFlags is to fail. Of the columns that envcheck does not read, some are left out.
 */
#include "standin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char value[TEXT];

static const char *gpu_fact(int gpu, const char *name, const char *otherwise)
{
    char key[96];
    snprintf(key, sizeof key, "gpu.%d.%s", gpu, name);
    return look_up(key, value, sizeof value) ? value : otherwise;
}

static int exists(int gpu)
{
    return gpu_fact(gpu, "name", NULL) != NULL;
}

static long long mib(int gpu, int place)
{
    unsigned long long total = 0, free = 0;
    const char *text = gpu_fact(gpu, "memory", NULL);
    if (!text || sscanf(text, "%llu %llu", &total, &free) != 2)
        return -1;
    return (long long)((place ? free : total) >> 20);
}

static const char *mode_of(int gpu)
{
    static const char *const names[] = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"};
    const char *text = gpu_fact(gpu, "mode", NULL);
    return text && atoi(text) >= 0 && atoi(text) < 4 ? names[atoi(text)] : "N/A";
}

static const char *state_of(int gpu, const char *name, const char *on, const char *off)
{
    const char *text = gpu_fact(gpu, name, NULL);
    return text ? atoi(text) ? on : off : "N/A";
}

static void cuda_text(char *target, size_t size)
{
    long long cuda = number("cuda", 0);
    if (cuda)
        snprintf(target, size, "%lld.%lld", cuda / 1000, cuda % 1000 / 10);
    else
        snprintf(target, size, "N/A"); /* as where no libcuda is found */
}

static void slices(int gpu)
{
    for (int place = 0; place < 7; place++) {
        char name[32];
        unsigned long long total = 0, free = 0;
        snprintf(name, sizeof name, "mig.%d", place);
        if (!gpu_fact(gpu, name, NULL))
            continue;
        snprintf(name, sizeof name, "mig.%d.memory", place);
        sscanf(gpu_fact(gpu, name, "0 0"), "%llu %llu", &total, &free);
        printf("|%3d  %3d   0  %2d  | %17lluMiB / %5lluMiB  | 14      0 |  1   0    0    0    0 |\n", gpu, place + 7, place,
               (total - free) >> 20, total >> 20);
    }
}

/* One line of the three columns: the first starts at the left, the others end at the right. */
static void row(int wide, const char *left, const char *middle, const char *right)
{
    printf("| %-*s| %*s | %20s |\n", wide ? 40 : 30, left, wide ? 22 : 20, middle, right);
}

static int table(int major, const char *driver)
{
    int wide = major >= 510, room = wide ? 27 : 18, gpu;
    char cuda[48], name[TEXT], left[2 * TEXT], middle[64], right[64];
    const char *bar = wide ? "+-----------------------------------------+------------------------+----------------------+"
                           : "+-------------------------------+----------------------+----------------------+";
    cuda_text(cuda, sizeof cuda);
    puts("Sat Nov 21 06:00:00 2026");
    puts(bar);
    if (major >= 610)
        printf("| NVIDIA-SMI %-22s KMD Version: %-13s CUDA UMD Version: %-7s  |\n", driver, driver, cuda);
    else if (major >= 410)
        printf("| NVIDIA-SMI %-*s Driver Version: %-12s CUDA Version: %-8s |\n", wide ? 22 : 12, driver, driver, cuda);
    else
        printf("| NVIDIA-SMI %-23s Driver Version: %-24s |\n", driver, driver);
    puts(bar);
    if (!exists(0)) {
        puts("No devices were found");
        return 0;
    }
    for (gpu = 0; exists(gpu); gpu++) {
        snprintf(name, sizeof name, "%s", gpu_fact(gpu, "name", ""));
        if ((int)strlen(name) > room)
            strcpy(name + room - 3, "...");
        snprintf(left, sizeof left, "%3d  %-*s %-4s", gpu, room + 3, name, state_of(gpu, "persistence", "On", "Off"));
        snprintf(middle, sizeof middle, "%.16s Off", gpu_fact(gpu, "bus", "N/A"));
        row(wide, left, middle, state_of(gpu, "ecc", "0", "Off"));
        snprintf(middle, sizeof middle, "Not Supported");
        if (mib(gpu, 0) >= 0)
            snprintf(middle, sizeof middle, "%lldMiB / %lldMiB", mib(gpu, 0) - mib(gpu, 1), mib(gpu, 0));
        snprintf(right, sizeof right, "0%%   %s", strcmp(mode_of(gpu), "Exclusive_Process") ? mode_of(gpu) : "E. Process");
        row(wide, "N/A   41C    P0    38W / 300W", middle, right);
        if (major >= 450)
            row(wide, "", "", state_of(gpu, "mig", "Enabled", "Disabled"));
        puts(bar);
    }
    puts("| MIG devices:                                                                          |");
    for (gpu = 0; exists(gpu); gpu++)
        slices(gpu);
    puts("| Processes:                                                                            |");
    return 0;
}

static int cell(int gpu, const char *field)
{
    static const char *const simple[][2] = {{"name", "name"}, {"uuid", "uuid"}, {"pci.bus_id", "bus"}};
    static const char *const states[][2] = {
        {"ecc.mode.current", "ecc"}, {"mig.mode.current", "mig"}, {"persistence_mode", "persistence"}};
    static const char *const links[] = {
        "pcie.link.gen.current", "pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max"};
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        if (!strcmp(field, simple[i][0]))
            return printf("%s", gpu_fact(gpu, simple[i][1], "[N/A]"));
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (!strcmp(field, states[i][0])) {
            const char *state = state_of(gpu, states[i][1], "Enabled", "Disabled");
            return printf("%s", strcmp(state, "N/A") ? state : "[N/A]");
        }
    for (int i = 0; i < 4; i++)
        if (!strcmp(field, links[i])) {
            unsigned numbers[4] = {0};
            sscanf(gpu_fact(gpu, "pcie", "0 0 0 0"), "%u %u %u %u", numbers, numbers + 1, numbers + 2, numbers + 3);
            return numbers[i] ? printf("%u", numbers[i]) : printf("[N/A]");
        }
    if (!strcmp(field, "index"))
        return printf("%d", gpu);
    if (!strcmp(field, "driver_version"))
        return printf("%s", look_up("driver", value, sizeof value) ? value : "[N/A]");
    if (!strcmp(field, "memory.total") || !strcmp(field, "memory.free"))
        return mib(gpu, 0) < 0 ? printf("[N/A]") : printf("%lld", mib(gpu, field[7] == 'f'));
    if (!strcmp(field, "compute_mode"))
        return printf("%s", strcmp(mode_of(gpu), "N/A") ? mode_of(gpu) : "[N/A]");
    if (!strcmp(field, "compute_cap")) {
        int major = 0, minor = 0;
        sscanf(gpu_fact(gpu, "cc", "0 0"), "%d %d", &major, &minor);
        return printf("%d.%d", major, minor);
    }
    return -1;
}

static int query(const char *fields, int major)
{
    char copy[1024], *field, *rest;
    for (int gpu = 0; exists(gpu); gpu++) {
        snprintf(copy, sizeof copy, "%s", fields);
        for (field = strtok_r(copy, ",", &rest); field; field = strtok_r(NULL, ",", &rest)) {
            if (field != copy)
                printf(", ");
            if ((!strcmp(field, "compute_cap") && major < 510) || cell(gpu, field) < 0) {
                printf("Field \"%s\" is not a valid field to query.\n\n", field);
                return 2;
            }
        }
        putchar('\n');
    }
    if (!exists(0))
        puts("No devices were found");
    return exists(0) ? 0 : 6;
}

int main(int count, char **arguments)
{
    char driver[TEXT] = "", library[TEXT] = "", *cut;
    int code = enter("nvidia-smi"), broken = (int)number("nvmlInitWithFlags.error", 0);
    if (garbage) {
        char bytes[4096];
        put_text(bytes, sizeof bytes, "");
        fwrite(bytes, 1, garbage == SILENT ? 0 : sizeof bytes, stdout);
        return 0;
    }
    look_up("driver", driver, sizeof driver);
    look_up("nvml", library, sizeof library);
    if (broken == 18) {
        /* It prints its own library's version without the last part: 12.560.35.05 is 560.35. */
        if ((cut = strrchr(library, '.')))
            *cut = 0;
        cut = strchr(library, '.');
        printf("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: %s\n", cut ? cut + 1 : library);
    } else if (broken == 9) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.\n");
    } else if (broken) {
        puts("Failed to initialize NVML: Unknown Error");
    }
    if (broken || code) {
        fflush(stdout);
        return broken ? broken & 255 : code;
    }
    for (int i = 1; i < count; i++)
        if (!strncmp(arguments[i], "--query-gpu=", 12))
            return query(arguments[i] + 12, atoi(driver));
    return table(atoi(driver), driver);
}
