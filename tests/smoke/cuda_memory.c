/* libcuda.so.1 whose devices keep their memory on the host: what a backend asks of the driver, with the real signatures.
 *
 *   FAKE_CUDA_DEVICES 2        FAKE_CUDA_INIT 100        FAKE_CUDA_CAPABILITY 90
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 4096

static int current;
static struct { char *start; size_t size; int device; } blocks[BLOCKS];

static int told(const char *name, int otherwise)
{
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static int block_of(uint64_t address, size_t size)
{
    for (int index = 0; index < BLOCKS; index++) {
        uint64_t start = (uint64_t)(uintptr_t)blocks[index].start;
        if (start && address >= start && address + size <= start + blocks[index].size)
            return index;
    }
    return -1;
}

int cuInit(unsigned flags) { (void)flags; return told("FAKE_CUDA_INIT", 0); }

int cuGetErrorName(int code, const char **text)
{
    *text = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : "CUDA_ERROR";
    return 0;
}

int cuDeviceGetCount(int *count) { *count = told("FAKE_CUDA_DEVICES", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return index < told("FAKE_CUDA_DEVICES", 1) ? 0 : 101; }
int cuDeviceGetName(char *text, int size, int device) { snprintf(text, size, "Fake GPU %d", device); return 0; }

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    int capability = told("FAKE_CUDA_CAPABILITY", 90);
    (void)device;
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : -1;
    return attribute == 75 || attribute == 76 ? 0 : 1;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(uintptr_t)(device + 1); return 0; }
int cuCtxSetCurrent(void *context) { current = (int)(uintptr_t)context - 1; return current < 0 ? 201 : 0; }
int cuMemGetInfo_v2(size_t *left, size_t *all) { *left = 7u << 20; *all = 8u << 20; return 0; }

int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    for (int index = 0; index < BLOCKS; index++)
        if (!blocks[index].start) {
            blocks[index].start = malloc(size);
            blocks[index].size = size;
            blocks[index].device = current;
            *address = (uint64_t)(uintptr_t)blocks[index].start;
            return 0;
        }
    return 2;
}

int cuMemFree_v2(uint64_t address)
{
    int index = block_of(address, 0);
    if (index < 0)
        return 1;
    free(blocks[index].start);
    blocks[index].start = NULL;
    return 0;
}

int cuMemcpyHtoD_v2(uint64_t address, const void *data, size_t size)
{
    if (block_of(address, size) < 0)
        return 1;
    memcpy((void *)(uintptr_t)address, data, size);
    return 0;
}

int cuMemcpyDtoH_v2(void *data, uint64_t address, size_t size)
{
    if (block_of(address, size) < 0)
        return 1;
    memcpy(data, (void *)(uintptr_t)address, size);
    return 0;
}

int cuPointerGetAttribute(void *value, int attribute, uint64_t address)
{
    int index = block_of(address, 0);
    if (index < 0 || attribute != 9)
        return 1;
    *(int *)value = blocks[index].device;
    return 0;
}

int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x5000; return (int)flags; }
int cuStreamSynchronize(void *stream) { return stream == (void *)0x5000 ? 0 : 400; }
