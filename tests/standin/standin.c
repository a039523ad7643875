/* The description and its faults; see standin.h. */
#define _GNU_SOURCE
#include "standin.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum garbage garbage = TRUTH;

static char *description(void)
{
    static char *text;
    const char *path = getenv("ENVCHECK_STANDIN");
    FILE *file;
    size_t length;
    if (text)
        return text;
    text = calloc(1, 1 << 20);
    file = path && text ? fopen(path, "r") : NULL;
    if (file) {
        length = fread(text, 1, (1 << 20) - 1, file);
        text[length] = 0;
        fclose(file);
    }
    return text;
}

int look_up(const char *key, char *value, size_t size)
{
    size_t length = strlen(key), end;
    const char *line = description();
    while (line && *line) {
        end = strcspn(line, "\n");
        if (end > length && !strncmp(line, key, length) && line[length] == ' ') {
            snprintf(value, size, "%.*s", (int)(end - length - 1), line + length + 1);
            return 1;
        }
        line += end + (line[end] == '\n');
    }
    return 0;
}

long long number(const char *key, long long otherwise)
{
    char value[TEXT];
    return look_up(key, value, sizeof value) ? strtoll(value, NULL, 0) : otherwise;
}

/* How often each function was called: for NAME.on. */
static int calls_of(const char *function)
{
    enum { MOST = 128 };
    static struct { char name[64]; int calls; } seen[MOST];
    for (int i = 0; i < MOST; i++) {
        if (!seen[i].name[0])
            snprintf(seen[i].name, sizeof seen[i].name, "%s", function);
        if (!strcmp(seen[i].name, function))
            return seen[i].calls++;
    }
    return 0;
}

static void act(const char *verb)
{
    if (!strcmp(verb, "ignore-term-and-hang")) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
    }
    if (!strcmp(verb, "block-every-signal-and-hang")) {
        sigset_t every;
        sigfillset(&every);
        sigprocmask(SIG_BLOCK, &every, NULL);
    }
    if (strstr(verb, "hang"))
        for (;;)
            sleep(1);
    if (!strcmp(verb, "abort"))
        abort();
    if (!strcmp(verb, "segv")) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)0 = 1;
        raise(SIGSEGV);
    }
    if (!strcmp(verb, "exit"))
        _exit(0);
    if (!strcmp(verb, "exit-1"))
        _exit(1);
    if (!strcmp(verb, "noise")) {
        static const char text[] = "\xff\xfe{\"done\": \x1b[31m driver says hello\n{\"gpu 0\": 3}\n{\"nvml\":\n";
        for (int stream = 1; stream <= 2; stream++)
            if (write(stream, text, sizeof text - 1) < 0)
                continue;
    }
    garbage = !strcmp(verb, "garbage") ? BITS : !strcmp(verb, "garbage-text") ? CONTROLS : !strcmp(verb, "silent") ? SILENT : TRUTH;
}

int enter(const char *function)
{
    char key[128], value[TEXT];
    garbage = TRUTH;
    if (look_up("trace", value, sizeof value)) {
        FILE *trace = fopen(value, "a");
        if (trace) {
            fprintf(trace, "%s\n", function);
            fclose(trace);
        }
    }
    snprintf(key, sizeof key, "%s.on", function);
    if (look_up(key, value, sizeof value) && calls_of(function) < atoi(value))
        return OK;
    snprintf(key, sizeof key, "%s.do", function);
    if (look_up(key, value, sizeof value))
        act(value);
    snprintf(key, sizeof key, "%s.error", function);
    return (int)number(key, OK);
}

int put_text(char *buffer, size_t size, const char *text)
{
    static const char controls[] = "\x1b[2J\n\r\t\"\\ {\"done\": true} \xe2\x82";
    if (garbage == BITS)
        memset(buffer, 0xff, size); /* no end */
    else if (garbage == CONTROLS)
        snprintf(buffer, size, "%s", controls);
    else if (garbage == TRUTH) {
        if (strlen(text) >= size)
            return INSUFFICIENT_SIZE;
        strcpy(buffer, text);
    }
    return OK;
}

void put_number(void *target, size_t size, unsigned long long value)
{
    if (garbage == SILENT)
        return;
    if (garbage == BITS)
        value = ~0ull;
    if (garbage == CONTROLS)
        value = 0x7fffffff;
    memcpy(target, &value, size); /* little-endian, as every machine with such a driver */
}
