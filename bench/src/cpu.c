/* No system calls: integer, floating-point and memory work. Each row first proves that its results are right. */
#include "micro.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = 16, ROUNDS = 64, MIB = 1 << 20, BLOCKS = 32 };

/* SHA-256 (FIPS 180-4). The constants are its definition: fractions of roots of the first primes. */
static uint32_t first_state[8], round_constant[ROUNDS];

static uint32_t fraction_of_root(int prime, int cubic)
{
    /* The largest r with r^2 (or r^3) <= prime * 2^64 (or 2^96), by bisection; its low 32 bits are the fraction. */
    uint64_t low = 0, high = UINT64_C(1) << 36;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        unsigned __int128 power = (unsigned __int128)middle * middle * (cubic ? middle : 1);
        if (power <= (unsigned __int128)prime << (cubic ? 96 : 64))
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void derive_constants(void)
{
    for (int found = 0, n = 2; found < ROUNDS; n++) {
        int divisor = 2;
        while (n % divisor)
            divisor++;
        if (divisor < n)
            continue;
        if (found < 8)
            first_state[found] = fraction_of_root(n, 0);
        round_constant[found++] = fraction_of_root(n, 1);
    }
}

static inline uint32_t rotate(uint32_t x, int right) { return x >> right | x << (32 - right); }

static void compress(uint32_t state[8], const unsigned char block[64])
{
    uint32_t schedule[ROUNDS];
    for (int t = 0; t < WORDS; t++, block += 4)
        schedule[t] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int t = WORDS; t < ROUNDS; t++) {
        uint32_t early = schedule[t - 15], late = schedule[t - 2];
        schedule[t] = schedule[t - 16] + schedule[t - 7] + (rotate(early, 7) ^ rotate(early, 18) ^ early >> 3) +
                      (rotate(late, 17) ^ rotate(late, 19) ^ late >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < ROUNDS; t++) {
        uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round_constant[t] +
                       schedule[t];
        uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + one;
        d = c, c = b, b = a, a = one + two;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint32_t state[8];

static void begin_sha256(void)
{
    static const uint32_t of_abc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                       0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    unsigned char block[64] = {'a', 'b', 'c', 0x80, [63] = 24};
    derive_constants();
    memcpy(state, first_state, sizeof state);
    compress(state, block);
    must(!memcmp(state, of_abc, sizeof state), "SHA-256 of abc");
}

/* One operation is 1 KiB. */
static void loop_sha256(long count)
{
    static unsigned char data[1024];
    while (count--)
        for (size_t at = 0; at < sizeof data; at += 64)
            compress(state, data + at);
}

static volatile double limit;

/* One operation is 1,000 dependent steps of a multiplication, an addition and a division. */
static void loop_double(long count)
{
    while (count--) {
        double x = limit;
        for (int i = 1; i <= 1000; i++)
            x = x * 0.5 + 1.0 / i;
        must(x > 0.002001 && x < 0.002005, "double arithmetic");
    }
}

static void begin_double(void) { limit = 1.0; }

static char *blocks;

static void begin_memcpy(void)
{
    blocks = malloc((size_t)2 * BLOCKS * MIB);
    must(blocks != NULL, "malloc");
    for (int i = 0; i < 2 * BLOCKS; i++)
        memset(blocks + (size_t)i * MIB, i, MIB);
}

/* One operation copies 1 MiB; together they go through more memory than the caches hold. */
static void loop_memcpy(long count)
{
    for (long i = 0; i < count; i++) {
        char *from = blocks + (size_t)(i % BLOCKS) * MIB, *to = from + (size_t)BLOCKS * MIB;
        memcpy(to, from, MIB);
        must(to[MIB - 1] == from[0], "memcpy");
    }
}

static void end_memcpy(void) { free(blocks); }

const struct row cpu_rows[] = {
    {"sha256_1k", begin_sha256, loop_sha256, 0},
    {"double_1k", begin_double, loop_double, 0},
    {"memcpy_1m", begin_memcpy, loop_memcpy, end_memcpy},
    {0},
};
