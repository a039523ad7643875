/* What the parts of the stand-in driver share: the description, and the faults that it asks for.
 *
 * ENVCHECK_STANDIN names the description; each line is a key, one blank and a value. The keys of the answers are in
 * nvml.c, cuda.c and smi.c; every function NAME of them also obeys
 *
 *   NAME.error 18      gives back this code
 *   NAME.do VERB       hang | ignore-term-and-hang | block-every-signal-and-hang | abort | segv | exit | exit-1 | noise |
 *                      garbage | garbage-text | silent
 *   NAME.on 2          only at its third call (and later ones); without it at every call
 *
 * "trace PATH" writes the name of every function that is called to a file.
 * A NAME that ends in ".load" is obeyed when that library is loaded: libcuda.load, libnvidia-ml.load.
 */
#ifndef STANDIN_H
#define STANDIN_H
#include <stddef.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TEXT = 512 };

/* 0: answer truthfully; else the kind of garbage that the function now running is to give. */
enum garbage { TRUTH = 0, BITS, CONTROLS, SILENT };
extern enum garbage garbage;

/* The value of a key; 0 when the description has none. */
int look_up(const char *key, char *value, size_t size);
long long number(const char *key, long long otherwise);

/* Does what the description wants of this function instead of an answer; gives back the code it wants, else OK. */
int enter(const char *function);

/* Store an answer, or the garbage that is wanted: the only ways out of a function. */
int put_text(char *buffer, size_t size, const char *text);
void put_number(void *target, size_t size, unsigned long long value);

#define PUT(target, value) put_number(target, sizeof *(target), (unsigned long long)(value))

#define ENTER                         \
    do {                              \
        int wanted = enter(__func__); \
        if (wanted)                   \
            return wanted;            \
    } while (0)

#endif
