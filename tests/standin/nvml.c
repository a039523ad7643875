/* libnvidia-ml.so.1: the answers of NVML.
 *
 *   driver 550.54.15              nvml 12.550.54.15             cuda 12040
 *   gpu.0.name NVIDIA A100        gpu.0.uuid GPU-...            gpu.0.bus 00000000:07:00.0    gpu.0.pci 20B010DE
 *   gpu.0.cc 8 0                  gpu.0.memory TOTAL FREE       gpu.0.mode 0                  gpu.0.mig 1
 *   gpu.0.ecc 1                   gpu.0.persistence 1           gpu.0.throttle 4              gpu.0.model 0
 *   gpu.0.virtual 1               gpu.0.fabric STATE STATUS     gpu.0.pcie GEN MAX WIDTH MAX
 *   gpu.0.process.0 PID BYTES     (BYTES -1: not available)     process.size 16 | 24 | 32   (of its structure)
 *   gpu.0.mig.0 MIG-...           gpu.0.mig.0.name NVIDIA A100 MIG 1g.5gb       gpu.0.mig.0.memory TOTAL FREE
 *   gpu.0.mig.0.slices GPU COMPUTE MIB
 *
 * A GPU exists when it has a name. A fact without a line is NVML_ERROR_NOT_SUPPORTED. Signatures and structures: the
 * public header nvml.h, as the bindings of nvidia-ml-py have them too.
 */
#include "standin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PLACES = 7, MAX_GPUS = 64 };

__attribute__((constructor)) static void loaded(void)
{
    enter("libnvidia-ml.load");
}

/* A handle is the number of the GPU + 1, for a MIG instance also 1000 x (its place + 1). */
static int fact(void *handle, const char *name, char *value)
{
    char key[96];
    int gpu = (int)((size_t)handle % 1000) - 1, place = (int)((size_t)handle / 1000) - 1;
    if (place >= 0 && !strcmp(name, "uuid"))
        snprintf(key, sizeof key, "gpu.%d.mig.%d", gpu, place);
    else if (place >= 0)
        snprintf(key, sizeof key, "gpu.%d.mig.%d.%s", gpu, place, name);
    else
        snprintf(key, sizeof key, "gpu.%d.%s", gpu, name);
    return look_up(key, value, TEXT);
}

static int tell_text(void *handle, const char *name, char *buffer, size_t size)
{
    char value[TEXT];
    return fact(handle, name, value) ? put_text(buffer, size, value) : NOT_SUPPORTED;
}

/* The number at a place (from 0) of a fact's value. */
static int tell_number(void *handle, const char *name, int place, unsigned *target)
{
    char value[TEXT], *rest = value;
    unsigned long long found = 0;
    if (!fact(handle, name, value))
        return NOT_SUPPORTED;
    for (int i = 0; i <= place; i++)
        found = strtoull(rest, &rest, 0);
    PUT(target, found);
    return OK;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    ENTER;
    return OK;
}

int nvmlInit_v2(void)
{
    ENTER;
    return OK;
}

int nvmlShutdown(void)
{
    ENTER;
    return OK;
}

const char *nvmlErrorString(int code)
{
    static const char *const texts[] = {
        "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
        "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded",
        "Timeout", "Interrupt Request Issue", "NVML Shared Library Not Found", "Function Not Found",
        "Corrupted infoROM", "GPU is lost", "GPU requires reset", "GPU access blocked by the operating system",
        "Driver/library version mismatch", "In use by another client", "Insufficient Memory", "No data",
        "The requested vgpu operation is not available on target device, becasue ECC is enabled",
        "Ran out of critical resources, other than memory", "Frequency is not supported", "Argument version mismatch",
        "Deprecated", "System is not ready for the request", "No GPUs found", "Resource not in correct state"};
    static char text[64];
    int wanted = enter(__func__);
    if (wanted || garbage) {
        put_text(text, sizeof text - 1, "?");
        return text;
    }
    if (code >= 0 && code < (int)(sizeof texts / sizeof *texts))
        return texts[code];
    return code == 999 ? "Unknown Error" : "Error of a newer driver";
}

static int tell_system(const char *key, char *buffer, unsigned size)
{
    char value[TEXT];
    return look_up(key, value, sizeof value) ? put_text(buffer, size, value) : NOT_SUPPORTED;
}

int nvmlSystemGetDriverVersion(char *buffer, unsigned size)
{
    ENTER;
    return tell_system("driver", buffer, size);
}

int nvmlSystemGetNVMLVersion(char *buffer, unsigned size)
{
    ENTER;
    return tell_system("nvml", buffer, size);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER;
    PUT(version, number("cuda", 0));
    return OK;
}

static unsigned described(void)
{
    char value[TEXT];
    unsigned count = 0;
    while (count < MAX_GPUS && fact((void *)(size_t)(count + 1), "name", value))
        count++;
    return count;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER;
    PUT(count, described());
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    ENTER;
    if (index >= described())
        return INVALID_ARGUMENT;
    *handle = (void *)(size_t)(index + 1); /* a handle is the driver's own: a wrong one would only crash the next call */
    return OK;
}

int nvmlDeviceGetName(void *handle, char *buffer, unsigned size)
{
    ENTER;
    return tell_text(handle, "name", buffer, size);
}

int nvmlDeviceGetUUID(void *handle, char *buffer, unsigned size)
{
    ENTER;
    return tell_text(handle, "uuid", buffer, size);
}

struct pci {
    char legacy[16];
    unsigned domain, bus, device, ids, subsystem;
    char bus_id[32];
};

int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *info)
{
    char value[TEXT];
    ENTER;
    memset(info, 0, sizeof *info);
    if (!fact(handle, "pci", value))
        return NOT_SUPPORTED;
    PUT(&info->ids, strtoul(value, NULL, 16));
    return tell_text(handle, "bus", info->bus_id, sizeof info->bus_id);
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor)
{
    int code;
    ENTER;
    code = tell_number(handle, "cc", 0, (unsigned *)major);
    return code ? code : tell_number(handle, "cc", 1, (unsigned *)minor);
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory /* total, free, used */)
{
    unsigned long long total, free;
    char value[TEXT];
    ENTER;
    if (!fact(handle, "memory", value) || sscanf(value, "%llu %llu", &total, &free) != 2)
        return NOT_SUPPORTED;
    PUT(memory, total);
    PUT(memory + 1, free);
    PUT(memory + 2, total - free);
    return OK;
}

int nvmlDeviceGetComputeMode(void *handle, unsigned *mode)
{
    ENTER;
    return tell_number(handle, "mode", 0, mode);
}

int nvmlDeviceGetEccMode(void *handle, unsigned *current, unsigned *pending)
{
    int code;
    ENTER;
    code = tell_number(handle, "ecc", 0, current);
    return code ? code : tell_number(handle, "ecc", 0, pending);
}

int nvmlDeviceGetPersistenceMode(void *handle, unsigned *mode)
{
    ENTER;
    return tell_number(handle, "persistence", 0, mode);
}

int nvmlDeviceGetCurrPcieLinkGeneration(void *handle, unsigned *generation)
{
    ENTER;
    return tell_number(handle, "pcie", 0, generation);
}

int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned *generation)
{
    ENTER;
    return tell_number(handle, "pcie", 1, generation);
}

int nvmlDeviceGetCurrPcieLinkWidth(void *handle, unsigned *width)
{
    ENTER;
    return tell_number(handle, "pcie", 2, width);
}

int nvmlDeviceGetMaxPcieLinkWidth(void *handle, unsigned *width)
{
    ENTER;
    return tell_number(handle, "pcie", 3, width);
}

static int tell_reasons(void *handle, unsigned long long *reasons)
{
    char value[TEXT];
    if (!fact(handle, "throttle", value))
        return NOT_SUPPORTED;
    PUT(reasons, strtoull(value, NULL, 0));
    return OK;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons)
{
    ENTER;
    return tell_reasons(handle, reasons);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons)
{
    ENTER;
    return tell_reasons(handle, reasons);
}

int nvmlDeviceGetDriverModel_v2(void *handle, unsigned *current, unsigned *pending)
{
    int code;
    ENTER;
    code = tell_number(handle, "model", 0, current);
    return code ? code : tell_number(handle, "model", 0, pending);
}

int nvmlDeviceGetVirtualizationMode(void *handle, unsigned *mode)
{
    ENTER;
    return tell_number(handle, "virtual", 0, mode);
}

struct process {
    unsigned pid;
    unsigned long long memory;
    unsigned instance, compute_instance;
    unsigned long long protected_memory; /* R535 before 535.98 */
};

static int tell_processes(void *handle, unsigned *count, void *processes)
{
    char name[32], value[TEXT];
    unsigned found = 0, room = *count, size = (unsigned)number("process.size", 24);
    if (!fact(handle, "process.0", value) && !fact(handle, "process", value))
        return NOT_SUPPORTED; /* "gpu.0.process none": nobody uses it */
    for (;; found++) {
        long long pid = 0, bytes = 0;
        snprintf(name, sizeof name, "process.%u", found);
        if (!fact(handle, name, value))
            break;
        sscanf(value, "%lld %lld", &pid, &bytes);
        if (found < room && processes) {
            struct process one = {0, 0, 0xffffffff, 0xffffffff, 0};
            PUT(&one.pid, pid);
            PUT(&one.memory, bytes);
            memcpy((char *)processes + found * size, &one, size);
        }
    }
    PUT(count, found);
    return found > room ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, void *processes)
{
    ENTER;
    return tell_processes(handle, count, processes);
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, void *processes)
{
    ENTER;
    return tell_processes(handle, count, processes);
}

struct fabric {
    unsigned version;
    unsigned char cluster[16];
    int status;
    unsigned clique;
    unsigned char state;
    unsigned health;
};

int nvmlDeviceGetGpuFabricInfoV(void *handle, struct fabric *info)
{
    char value[TEXT];
    int state = 0, status = 0;
    ENTER;
    if (!fact(handle, "fabric", value))
        return NOT_SUPPORTED;
    sscanf(value, "%d %d", &state, &status);
    PUT(&info->status, status);
    PUT(&info->state, state);
    PUT(&info->health, 0);
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    int code;
    ENTER;
    code = tell_number(handle, "mig", 0, current);
    return code ? code : tell_number(handle, "mig", 0, pending);
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count)
{
    (void)handle;
    ENTER;
    PUT(count, MAX_PLACES);
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance)
{
    char value[TEXT];
    void *wanted = (void *)((size_t)handle + 1000 * (size_t)(index + 1));
    ENTER;
    if (index >= MAX_PLACES || !fact(wanted, "uuid", value))
        return NOT_FOUND;
    *instance = wanted;
    return OK;
}

struct attributes {
    unsigned multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices;
    unsigned long long memory_mib;
};

int nvmlDeviceGetAttributes_v2(void *handle, struct attributes *attributes)
{
    char value[TEXT];
    unsigned gpu = 0, compute = 0;
    unsigned long long mib = 0;
    ENTER;
    if (!fact(handle, "slices", value) || sscanf(value, "%u %u %llu", &gpu, &compute, &mib) != 3)
        return NOT_SUPPORTED;
    memset(attributes, 0, sizeof *attributes);
    PUT(&attributes->gpu_slices, gpu);
    PUT(&attributes->compute_slices, compute);
    PUT(&attributes->memory_mib, mib);
    return OK;
}
