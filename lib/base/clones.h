// One function body, compiled for several instruction sets: the loader picks the best one that the machine has, when
// the program starts.
//
// Rule: this and questions asked at run time (crc32c.cc) are the only ways to instructions that not every machine has.
// Nothing is compiled for the machine that compiles.
#pragma once

// PACKHORSE_CLONES("avx2", "arch=x86-64-v4") before a function, which passes no vectors by value: clang refuses that. A
// clang before 19 compiles such a function for the first set alone, so with it there is only the compiler's default.
#if defined(__x86_64__) && defined(__linux__) && (!defined(__clang__) || __clang_major__ >= 19)
#define PACKHORSE_HAS_CLONES 1
#define PACKHORSE_CLONES(...) __attribute__((target_clones(__VA_ARGS__, "default")))
#else
#define PACKHORSE_HAS_CLONES 0
#define PACKHORSE_CLONES(...)
#endif
