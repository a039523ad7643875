/* libcuda.so.1: the version, cuInit, and the devices that CUDA_VISIBLE_DEVICES leaves (by the description).
 *
 *   cuda 12040            cuInit 803            cuda.devices 2    (without it: the GPUs that are described)
 *   cuda.bus.0 0000:01:00.0                     the address of CUDA's device 0 (without it: that of gpu.0)
 */
#include "standin.h"
#include <stdio.h>
#include <string.h>

__attribute__((constructor)) static void loaded(void)
{
    enter("libcuda.load");
}

static int devices(void)
{
    char key[64], value[TEXT];
    int count = 0;
    do
        snprintf(key, sizeof key, "gpu.%d.name", count);
    while (look_up(key, value, sizeof value) && ++count);
    return (int)number("cuda.devices", count);
}

int cuInit(unsigned flags)
{
    (void)flags;
    ENTER;
    return (int)number("cuInit", devices() ? 0 : 100);
}

int cuDriverGetVersion(int *version)
{
    ENTER;
    PUT(version, number("cuda", 0));
    return OK;
}

int cuDeviceGetCount(int *count)
{
    ENTER;
    PUT(count, devices());
    return OK;
}

int cuDeviceGet(int *device, int ordinal)
{
    ENTER;
    if (ordinal < 0 || ordinal >= devices())
        return 101;
    PUT(device, ordinal);
    return OK;
}

int cuDeviceGetPCIBusId(char *buffer, int size, int device)
{
    char key[64], value[TEXT];
    ENTER;
    snprintf(key, sizeof key, "cuda.bus.%d", device);
    if (!look_up(key, value, sizeof value)) {
        snprintf(key, sizeof key, "gpu.%d.bus", device);
        if (!look_up(key, value, sizeof value))
            return 101;
    }
    return put_text(buffer, (size_t)size, value) ? 1 : OK;
}

int cuGetErrorName(int code, const char **name)
{
    static char text[64];
    char key[64], value[TEXT];
    ENTER;
    snprintf(key, sizeof key, "cuda.error.%d", code);
    if (!look_up(key, value, sizeof value))
        return 1; /* CUDA_ERROR_INVALID_VALUE: a code that this driver does not know */
    /* A string of the library's own: it always ends, and under garbage it is no UTF-8. */
    put_text(text, sizeof text - 1, value);
    *name = text;
    return OK;
}
